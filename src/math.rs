//! Elementary functions, one definition for all targets.
//!
//! Everything here is additions, multiplications, divisions, comparisons and
//! bit moves in a fixed order, without fused multiply-add, so every build
//! computes the same bits, one number at a time or a vector ([`crate::lanes`]).
//! No function branches on its argument.
//! The bounds stated are held by the tests below against `f64`.
#![forbid(unsafe_code)]

use crate::lanes::{self, Eight, Lanes, Real};
use crate::slices;

pub use crate::lanes::ROUND;

const LOG2_E: f32 = core::f32::consts::LOG2_E;
/// ln 2 in two parts: the first has zeros enough that a small integer times it is exact.
const LN2_HI: f32 = 0.693_359_4;
const LN2_LO: f32 = -2.121_944_4e-4;

/// Rounds to the nearest integer, ties to even, for |x| < 2^22.
#[inline(always)]
#[must_use]
pub fn round_even<V: Real>(x: V) -> V {
    (x + V::splat(ROUND)) - V::splat(ROUND)
}

/// As [`round_even`], as an integer, for |x| < 2^22.
#[inline(always)]
#[must_use]
pub fn round_to_int(x: f32) -> i32 {
    (x + ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as i32
}

/// x in lo..=hi.
#[inline(always)]
fn clamp<V: Real>(x: V, lo: f32, hi: f32) -> V {
    x.larger(V::splat(lo)).smaller(V::splat(hi))
}

/// c + x y
#[inline(always)]
fn step<V: Real>(x: V, y: V, c: f32) -> V {
    x * y + V::splat(c)
}

/// e^x - c, with x clamped to -87.3..=88.3; for c = 1 free of cancellation near 0.
///
/// With x = n ln 2 + r it is 2^n (e^r - 1) + (2^n - c). The series of e^r - 1 to
/// the seventh power is exact to a rounding for |r| <= ln 2 / 2.
#[inline(always)]
fn exp_less<V: Real>(x: V, c: V) -> V {
    let x = clamp(x, -87.3, 88.3);
    let n = round_even(x * V::splat(LOG2_E));
    let r = (x - n * V::splat(LN2_HI)) - n * V::splat(LN2_LO);
    let mut p = V::splat(1.0 / 5040.0);
    p = step(p, r, 1.0 / 720.0);
    p = step(p, r, 1.0 / 120.0);
    p = step(p, r, 1.0 / 24.0);
    p = step(p, r, 1.0 / 6.0);
    p = step(p, r, 0.5);
    p = p * (r * r) + r;
    let scale = n.exp2_whole();
    scale * p + (scale - c)
}

/// e^x, relative error below 2e-7. Arguments are clamped to -87.3..=88.3,
/// so the result is finite and positive.
#[inline(always)]
#[must_use]
pub fn exp<V: Real>(x: V) -> V {
    exp_less(x, V::splat(0.0))
}

/// tanh, absolute error below 1.5e-7 and relative below 5e-7; odd, and never beyond ±1.
#[inline(always)]
#[must_use]
pub fn tanh<V: Real>(x: V) -> V {
    // With t = e^(-2|x|) - 1 in (-1, 0]: tanh |x| = -t / (2 + t), free of cancellation.
    let t = exp_less(V::splat(-2.0) * x.abs(), V::splat(1.0));
    (-t / (V::splat(2.0) + t)).copysign(x)
}

/// 1 / (1 + e^-x), absolute error below 2e-7; always in 0..=1.
#[inline(always)]
#[must_use]
pub fn sigmoid<V: Real>(x: V) -> V {
    V::splat(1.0) / (V::splat(1.0) + exp(-x))
}

/// The Gauss error function, absolute error below 6e-7; odd, and never beyond ±1.
///
/// Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26.
#[inline(always)]
#[must_use]
pub fn erf<V: Real>(x: V) -> V {
    let a = x.abs().smaller(V::splat(4.0));
    let t = V::splat(1.0) / (V::splat(1.0) + V::splat(0.327_591_1) * a);
    let mut p = V::splat(1.061_405_4);
    p = step(p, t, -1.453_152_1);
    p = step(p, t, 1.421_413_8);
    p = step(p, t, -0.284_496_72);
    p = step(p, t, 0.254_829_6);
    clamp(V::splat(1.0) - p * t * exp(-a * a), 0.0, 1.0).copysign(x)
}

/// GELU by its tanh form: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
///
/// Hendrycks and Gimpel, <https://arxiv.org/abs/1606.08415>; GPT-2's `gelu_new`.
#[inline(always)]
#[must_use]
pub fn gelu_tanh<V: Real>(x: V) -> V {
    const SQRT_2_OVER_PI: f32 = 0.797_884_6;
    let inner = V::splat(SQRT_2_OVER_PI) * (x + V::splat(0.044_715) * (x * x * x));
    V::splat(0.5) * x * (V::splat(1.0) + tanh(inner))
}

/// GELU by its definition: x/2 (1 + erf(x / sqrt 2)).
#[inline(always)]
#[must_use]
pub fn gelu_erf<V: Real>(x: V) -> V {
    let inner = x * V::splat(core::f32::consts::FRAC_1_SQRT_2);
    V::splat(0.5) * x * (V::splat(1.0) + erf(inner))
}

/// max(x, 0).
#[inline(always)]
#[must_use]
pub fn relu<V: Real>(x: V) -> V {
    V::splat(0.0).larger(x)
}

/// The square root, correctly rounded.
#[must_use]
pub fn sqrt(x: f32) -> f32 {
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    {
        // One instruction there, where libm has a routine in integers.
        use core::arch::wasm32::{f32x4_extract_lane, f32x4_splat, f32x4_sqrt};
        f32x4_extract_lane::<0>(f32x4_sqrt(f32x4_splat(x)))
    }
    #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
    libm::sqrtf(x)
}

/// The natural logarithm.
#[must_use]
pub fn ln(x: f32) -> f32 {
    libm::logf(x)
}

/// x = e^((x factor - less) other), for each element.
///
/// One loop for softmax and for the sampler, of which each has one factor: a 1 changes no bit.
#[inline(never)]
pub fn exp_each(x: &mut [f32], factor: f32, less: f32, other: f32) {
    let (factor, less, other) = (Lanes::splat(factor), Lanes::splat(less), Lanes::splat(other));
    lanes::map(x, |v| exp((v * factor - less) * other));
}

/// How many partial sums a reduction over a vector keeps: element i goes to sum i mod 8.
const N_SUMS: usize = 8;

/// The stated fold of eight partial sums.
#[inline(always)]
fn fold(s: [f32; N_SUMS]) -> f32 {
    ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
}

/// Sums a slice in eight interleaved partial sums.
#[must_use]
pub fn sum(x: &[f32]) -> f32 {
    fold(add_up([0.0; N_SUMS], x))
}

/// The partial sums with a slice added.
#[inline(never)]
fn add_up(sums: [f32; N_SUMS], x: &[f32]) -> [f32; N_SUMS] {
    reduce(x, sums, |sum, v| sum + v)
}

/// Sums (x - mean)^2 likewise.
#[inline(never)]
#[must_use]
pub fn sum_squares(x: &[f32], mean: f32) -> f32 {
    let mean = Lanes::splat(mean);
    fold(reduce(x, [0.0; N_SUMS], |sum, v| sum + (v - mean) * (v - mean)))
}

/// Sums e^(x - max) likewise.
#[must_use]
pub fn sum_exp(x: &[f32], max: f32) -> f32 {
    let mut sums = [0.0; N_SUMS];
    // A multiple of eight, so that every element comes to its sum.
    for part in x.chunks(8 * N_SUMS) {
        let mut terms = [0.0; 8 * N_SUMS];
        slices::copy(&mut terms, part);
        let terms = terms.get_mut(..part.len()).unwrap_or_default();
        exp_each(terms, 1.0, max, 1.0);
        sums = add_up(sums, terms);
    }
    fold(sums)
}

/// The largest element; NaN never wins; `-inf` of nothing.
#[inline(never)]
#[must_use]
pub fn max(x: &[f32]) -> f32 {
    let best = reduce(x, [f32::NEG_INFINITY; N_SUMS], Lanes::larger);
    best.iter().fold(f32::NEG_INFINITY, |a, &b| a.larger(b))
}

/// Eight partial results of a slice: `f` takes one and an element, and gives the next.
#[inline(always)]
fn reduce(x: &[f32], start: [f32; N_SUMS], f: impl Fn(Lanes, Lanes) -> Lanes) -> [f32; N_SUMS] {
    let (mut whole, rest) = x.as_chunks();
    let mut last = [0.0; N_SUMS];
    slices::copy(&mut last, rest);
    let mut all = Eight::from(&start);
    // One loop for the whole chunks and the rest, so that `f` is compiled once.
    loop {
        let (chunk, behind) = match whole.split_first() {
            Some((chunk, behind)) => (chunk, Some(behind)),
            None => (&last, None),
        };
        let next = all.zip(Eight::from(chunk), &f);
        let Some(behind) = behind else {
            // Of the last eight only those count that there are.
            let (mut all, next) = (all.numbers(), next.numbers());
            slices::copy(&mut all, next.get(..rest.len()).unwrap_or_default());
            return all;
        };
        (all, whole) = (next, behind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every value of a dense walk over the floats of a range.
    fn walk(lo: f32, hi: f32) -> impl Iterator<Item = f32> {
        let n = 400_000;
        (0..=n).map(move |i| lo + (hi - lo) * (i as f32 / n as f32))
    }

    fn worst(lo: f32, hi: f32, err: impl Fn(f32) -> f64) -> f64 {
        walk(lo, hi).map(err).fold(0.0, f64::max)
    }

    #[test]
    fn exp_is_within_its_bound() {
        let err = worst(-87.0, 88.0, |x| {
            let want = f64::from(x).exp();
            (f64::from(exp(x)) / want - 1.0).abs()
        });
        assert!(err < 2e-7, "{err:e}");
        assert!(exp(1e30).is_finite() && exp(-1e30) >= 0.0 && exp(0.0) == 1.0);
    }

    #[test]
    fn tanh_is_within_its_bounds_and_odd() {
        let absolute = worst(-12.0, 12.0, |x| (f64::from(tanh(x)) - f64::from(x).tanh()).abs());
        assert!(absolute < 1.5e-7, "{absolute:e}");
        let relative = worst(1e-6, 1.0, |x| (f64::from(tanh(x)) / f64::from(x).tanh() - 1.0).abs());
        assert!(relative < 5e-7, "{relative:e}");
        assert!(walk(-50.0, 50.0).all(|x| tanh(x).abs() <= 1.0 && tanh(-x) == -tanh(x)));
    }

    #[test]
    fn sigmoid_is_within_its_bound_and_range() {
        let err = worst(-30.0, 30.0, |x| {
            (f64::from(sigmoid(x)) - 1.0 / (1.0 + (-f64::from(x)).exp())).abs()
        });
        assert!(err < 2e-7, "{err:e}");
        assert!(walk(-500.0, 500.0).all(|x| (0.0..=1.0).contains(&sigmoid(x))));
    }

    #[test]
    fn erf_is_within_its_bound_and_range() {
        let err = worst(-6.0, 6.0, |x| (f64::from(erf(x)) - libm::erf(f64::from(x))).abs());
        assert!(err < 6e-7, "{err:e}");
        assert!(walk(-50.0, 50.0).all(|x| erf(x).abs() <= 1.0 && erf(-x) == -erf(x)));
    }

    #[test]
    fn round_is_ties_to_even() {
        for (x, want) in
            [(0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2), (126.5, 126), (-127.0, -127)]
        {
            assert_eq!(round_to_int(x), want, "{x}");
            assert_eq!(round_even(x), want as f32);
        }
    }

    #[test]
    fn sums_keep_their_lanes() {
        let x: [f32; 19] = core::array::from_fn(|i| i as f32 + 0.5);
        assert_eq!(sum(&x), x.iter().sum::<f32>());
        assert_eq!(sum_squares(&x[..3], 1.5), 2.0);
        assert!((sum_exp(&[0.0, -1.0, 1.0], 1.0) - 1.503_214_7).abs() < 1e-6);
        assert_eq!(max(&x), 18.5);
        assert_eq!(max(&[]), f32::NEG_INFINITY);
        assert_eq!(max(&[f32::NAN, -3.0]), -3.0);
    }
}
