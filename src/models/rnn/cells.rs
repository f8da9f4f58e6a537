//! The cells: what becomes of the two products of a step.
//!
//! All gates of a layer are rows of one matrix, so a step reads its weights in
//! one pass; what is here are the few loops over the H numbers of each gate
//! that follow. `g` holds the input's product, `u` the state's, biases in both,
//! gate after gate; the sum is always `g + u`. What a bounded function gives
//! stays in its bounds through all of it, except an LSTM's cell state, which
//! grows by at most one a step.
#![forbid(unsafe_code)]

use crate::error::{Checked, Impossible};
use crate::lanes::{self, Lanes, Real};
use crate::slices;
use crate::tensor::{Activation, add};

/// The functions of a layer's gates.
#[derive(Clone, Copy)]
pub(super) struct Functions {
    /// Of the candidate (and of an LSTM's cell state).
    pub candidate: Activation,
    /// Of the other gates.
    pub recurrent: Activation,
}

/// Cuts a slice in two; the first part is `n` long.
fn cut(x: &mut [f32], n: usize) -> Checked<(&mut [f32], &mut [f32])> {
    x.split_at_mut_checked(n).ok_or(Impossible)
}

/// h = f(g + u)
pub(super) fn elman(f: Functions, g: &mut [f32], u: &[f32], h: &mut [f32]) {
    add(g, u);
    f.candidate.apply(g);
    slices::copy(h, g);
}

/// i, f, o = s(g + u), n = f(g + u); c = f c + i n; h = o f(c)
pub(super) fn lstm(
    fns: Functions,
    g: &mut [f32],
    u: &[f32],
    (h, c): (&mut [f32], &mut [f32]),
) -> Checked<()> {
    let n = h.len();
    add(g, u);
    let (input_forget, rest) = cut(g, 2 * n)?;
    let (candidate, output) = cut(rest, n)?;
    fns.recurrent.apply(input_forget);
    fns.candidate.apply(candidate);
    fns.recurrent.apply(output);
    let (input, forget) = cut(input_forget, n)?;
    lanes::update3(c, [forget, input, candidate], |c, [f, i, n]| f * c + i * n);
    slices::copy(candidate, c);
    fns.candidate.apply(candidate);
    lanes::update2(h, [output, candidate], |_, [o, bounded]| o * bounded);
    Ok(())
}

/// r, z = s(g + u), in `g`.
pub(super) fn gru_gates(fns: Functions, g: &mut [f32], u: &[f32], n: usize) -> Checked<()> {
    let (gates, _) = cut(g, 2 * n)?;
    add(gates, u);
    fns.recurrent.apply(gates);
    Ok(())
}

/// r h, of which a GRU that resets before makes its candidate.
pub(super) fn gru_reset(g: &[f32], h: &[f32], out: &mut [f32]) {
    lanes::update2(out, [g, h], |_, [r, h]| r * h);
}

/// h = (1 - z) n + z h, with n = f(g + r u), or n = f(g + u) if `u` was made of
/// r h already. After [`gru_gates`].
pub(super) fn gru(
    fns: Functions,
    reset_after: bool,
    g: &mut [f32],
    u: &[f32],
    h: &mut [f32],
) -> Checked<()> {
    let n = h.len();
    let (gates, candidate) = cut(g, 2 * n)?;
    let (reset, update) = cut(gates, n)?;
    let u = u.get(2 * n..).ok_or(Impossible)?;
    if reset_after {
        lanes::update2(candidate, [reset, u], |g, [r, u]| g + r * u);
    } else {
        add(candidate, u);
    }
    fns.candidate.apply(candidate);
    lanes::update2(h, [update, candidate], |h, [z, n]| (Lanes::splat(1.0) - z) * n + z * h);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Functions =
        Functions { candidate: Activation::Tanh, recurrent: Activation::Sigmoid };

    #[test]
    fn states_stay_in_their_range_whatever_comes() {
        let mut seed = 1u32;
        let mut wild = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            [1e30, -1e30, 40.0, -40.0, 0.5, -3.0, 9.0, 0.0][(seed >> 29) as usize]
        };
        let (mut h_gru, mut h, mut c) = ([0.0; 5], [0.0; 5], [0.0; 5]);
        for step in 1..500 {
            let (mut g, u) = ([0.0; 20].map(|_: f32| wild()), [0.0; 20].map(|_: f32| wild()));
            gru_gates(USUAL, &mut g[..15], &u[..15], 5).unwrap();
            gru(USUAL, true, &mut g[..15], &u[..15], &mut h_gru).unwrap();
            let mut g = u;
            lstm(USUAL, &mut g, &u, (&mut h, &mut c)).unwrap();
            for v in h_gru.iter().chain(&h) {
                assert!((-1.0..=1.0).contains(v), "{v}");
            }
            assert!(c.iter().all(|c| c.abs() <= step as f32));
        }
        assert!(h.iter().chain(&h_gru).any(|v| *v != 0.0));
    }

    #[test]
    fn an_open_update_gate_keeps_the_state() {
        let (mut g, u) = ([0.0, 90.0, 5.0], [0.0; 3]);
        let mut h = [0.25];
        gru_gates(USUAL, &mut g, &u, 1).unwrap();
        gru(USUAL, false, &mut g, &u, &mut h).unwrap();
        assert_eq!(h, [0.25]);
    }
}
