//! From logits to a token: a chain of steps in a fixed order.
//!
//! 1. repetition penalty (Keskar et al., <https://arxiv.org/abs/1909.05858>),
//!    then presence and frequency penalties, over the last tokens
//! 2. logit bias
//! 3. temperature; 0 ends here with the largest logit
//! 4. top-k: the k largest
//! 5. top-p (Holtzman et al., <https://arxiv.org/abs/1904.09751>): of those,
//!    the largest until their share of the sum reaches p
//! 6. min-p (Nguyen et al., <https://arxiv.org/abs/2407.01082>): of those, the
//!    ones at least p times as likely as the first
//! 7. draw, with an integer generator
//!
//! Equal logits are ordered by id. Only additions, multiplications and
//! [`math::exp`] in a stated order are used, so a seed gives the same tokens
//! everywhere.
#![forbid(unsafe_code)]

use crate::error::{Error, Result, Word};
use crate::math;
use crate::slices;
use bytemuck::{Pod, Zeroable};

/// How the next token is chosen. All zeros is greedy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Sampling {
    /// Zero. The layout is that of the C ABI's structure, whose size is here.
    pub reserved: u32,
    /// Divides the logits; 0 takes the largest.
    pub temperature: f32,
    /// Only the k largest; 0 is all.
    pub top_k: u32,
    /// Only the largest that make up this share; 0 (or 1) is all.
    pub top_p: f32,
    /// Only those at least this likely, relative to the likeliest; 0 is all.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of tokens seen; 0 (or 1) is off.
    pub repetition_penalty: f32,
    /// Taken off the logit of a token seen.
    pub presence_penalty: f32,
    /// Taken off the logit of a token for each time it was seen.
    pub frequency_penalty: f32,
    /// How many of the last tokens count as seen; 0 is 64.
    pub penalty_last_n: u32,
    /// 1: the model's end-of-text token is a token like any other.
    pub ignore_eos: u32,
    /// Where the generator begins.
    pub seed: u64,
}

impl Sampling {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::BadParam`] with the parameter's name.
    pub fn check(&self) -> Result<()> {
        let within = |name: Word, value: f32, lo: f32, hi: f32| match value {
            v if v >= lo && v <= hi => Ok(()),
            _ => Err(Error::BadParam { name }),
        };
        within(&"temperature", self.temperature, 0.0, 1e6)?;
        within(&"top_p", self.top_p, 0.0, 1.0)?;
        within(&"min_p", self.min_p, 0.0, 1.0)?;
        within(&"repetition_penalty", self.repetition_penalty, 0.0, 1e6)?;
        within(&"presence_penalty", self.presence_penalty, -1e6, 1e6)?;
        within(&"frequency_penalty", self.frequency_penalty, -1e6, 1e6)
    }

    fn penalises(&self) -> bool {
        let repeats = self.repetition_penalty != 0.0 && self.repetition_penalty != 1.0;
        repeats || self.presence_penalty != 0.0 || self.frequency_penalty != 0.0
    }

    /// How many of the last tokens the penalties look at.
    #[must_use]
    pub fn last_n(&self) -> usize {
        if self.penalty_last_n == 0 { 64 } else { self.penalty_last_n as usize }
    }
}

/// A linear congruential generator with a permuted output, PCG-XSH-RR 64/32:
/// O'Neill, <https://www.pcg-random.org>.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct Rng(u64);

impl Rng {
    const INCREMENT: u64 = 1_442_695_040_888_963_407;

    /// The generator of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut rng = Self(0);
        rng.step();
        rng.0 = rng.0.wrapping_add(seed);
        rng.step();
        rng
    }

    fn step(&mut self) {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(Self::INCREMENT);
    }

    /// The next 32 bits.
    pub fn next_u32(&mut self) -> u32 {
        let old = self.0;
        self.step();
        ((((old >> 18) ^ old) >> 27) as u32).rotate_right((old >> 59) as u32)
    }

    /// A multiple of 2^-24 in 0..1.
    fn next_unit(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 * (1.0 / 16_777_216.0)
    }
}

/// Room to choose in: one of each per token of the vocabulary.
pub struct Scratch<'a> {
    /// Logits being changed, then weights.
    pub logits: &'a mut [f32],
    /// Ids, ordered as a heap.
    pub ids: &'a mut [u32],
}

/// What is done to the logits before a token is chosen.
pub struct Context<'c> {
    /// The parameters.
    pub sampling: &'c Sampling,
    /// The last tokens, oldest first; only the last [`Sampling::last_n`] count.
    pub recent: &'c [u32],
    /// Ids and what is added to their logits.
    pub bias: (&'c [u32], &'c [f32]),
}

/// Chooses a token.
///
/// # Errors
/// [`Error::Overflow`] if no logit is a number.
pub fn choose(logits: &[f32], cx: &Context<'_>, rng: &mut Rng, s: &mut Scratch<'_>) -> Result<u32> {
    // A NaN anywhere means that every later number is worthless.
    if !logits.iter().all(|v| v.is_finite()) {
        return Err(Error::Overflow);
    }
    let work = s.logits.get_mut(..logits.len()).ok_or(Error::Internal)?;
    slices::copy(work, logits);
    penalise(work, cx);
    for (&id, &bias) in cx.bias.0.iter().zip(cx.bias.1) {
        if let Some(logit) = work.get_mut(id as usize) {
            *logit += bias;
        }
    }
    if cx.sampling.temperature == 0.0 {
        return Ok(argmax(work));
    }
    let max = math::max(work);
    math::exp_each(work, 1.0, max, 1.0 / cx.sampling.temperature);
    let kept = keep(work, cx.sampling, s.ids)?;
    draw(work, kept, rng).ok_or(Error::Overflow)
}

/// The id of the largest number, the lowest of equals.
fn argmax(x: &[f32]) -> u32 {
    let max = math::max(x);
    x.iter().position(|&v| v == max).unwrap_or_default() as u32
}

fn penalise(logits: &mut [f32], cx: &Context<'_>) {
    let sampling = cx.sampling;
    if !sampling.penalises() {
        return;
    }
    let skip = cx.recent.len().saturating_sub(sampling.last_n());
    let seen = cx.recent.get(skip..).unwrap_or_default();
    for (i, &id) in seen.iter().enumerate() {
        let (mut count, mut first) = (0.0, true);
        for (j, &other) in seen.iter().enumerate() {
            if other == id {
                count += 1.0;
                first &= j >= i;
            }
        }
        let (true, Some(logit)) = (first, logits.get_mut(id as usize)) else { continue };
        let repetition = sampling.repetition_penalty;
        if repetition != 0.0 {
            *logit = if *logit > 0.0 { *logit / repetition } else { *logit * repetition };
        }
        *logit -= sampling.presence_penalty + sampling.frequency_penalty * count;
    }
}

/// Applies top-k, top-p and min-p to weights: the tokens that stay, likeliest
/// last, or `None` if all do.
fn keep<'k>(weights: &[f32], sampling: &Sampling, ids: &'k mut [u32]) -> Result<Option<&'k [u32]>> {
    let n = weights.len();
    let top_k = if sampling.top_k == 0 { n } else { n.min(sampling.top_k as usize) };
    let top_p = if sampling.top_p == 0.0 { 1.0 } else { sampling.top_p };
    if top_k == n && top_p == 1.0 && sampling.min_p == 0.0 {
        return Ok(None);
    }
    let mut ranked = Ranked::new(weights, ids.get_mut(..n).ok_or(Error::Internal)?);
    // What top-p's share is of: the sum after top-k.
    let sum = if top_k == n {
        math::sum(weights)
    } else {
        (0..top_k).fold(0.0, |sum, rank| sum + ranked.weight(rank))
    };
    let least = ranked.weight(0) * sampling.min_p;
    let (mut kept, mut share) = (0, 0.0);
    while kept < top_k {
        let weight = ranked.weight(kept);
        // The likeliest always stays.
        if kept > 0 && (weight < least || (top_p < 1.0 && share >= top_p * sum)) {
            break;
        }
        share += weight;
        kept += 1;
    }
    Ok(Some(ranked.into_best(kept)))
}

/// Tokens by weight, sorted only as far as asked: a heap that gives its
/// largest to the end of the same array. Those far less likely than the first
/// are not even in the heap, until the others are used up.
struct Ranked<'k, 'w> {
    weights: &'w [f32],
    /// `base` that wait, a heap of `len`, then what was taken out, the largest last.
    ids: &'k mut [u32],
    base: usize,
    len: usize,
}

impl<'k, 'w> Ranked<'k, 'w> {
    /// Weights below this wait; the largest is about 1.
    const FAR: f32 = 1e-3;

    fn new(weights: &'w [f32], ids: &'k mut [u32]) -> Self {
        let n = ids.len();
        let (mut far, mut near) = (0, n);
        for (id, weight) in (0..n as u32).zip(weights) {
            let at = if *weight < Self::FAR {
                far += 1;
                far - 1
            } else {
                near -= 1;
                near
            };
            if let Some(slot) = ids.get_mut(at) {
                *slot = id;
            }
        }
        let mut ranked = Self { weights, ids, base: far, len: n - far };
        ranked.heap();
        ranked
    }

    /// Makes a heap of the `len` tokens behind `base`.
    fn heap(&mut self) {
        for at in (0..self.len / 2).rev() {
            self.sink(at);
        }
    }

    /// The weight of the token of this rank, 0 the largest.
    fn weight(&mut self, rank: usize) -> f32 {
        while self.ids.len() - self.base - self.len <= rank {
            if self.len == 0 {
                if self.base == 0 {
                    break;
                }
                (self.base, self.len) = (0, self.base);
                self.heap();
            }
            self.len -= 1;
            slices::swap(self.ids, self.base, self.base + self.len);
            self.sink(0);
        }
        self.ids.len().checked_sub(rank + 1).map_or(0.0, |place| self.order(place).0)
    }

    /// The `n` largest, the largest last; they were ranked before.
    fn into_best(self, n: usize) -> &'k [u32] {
        let start = self.ids.len().saturating_sub(n);
        self.ids.get(start..).unwrap_or_default()
    }

    /// What the token at a place is ordered by: its weight, and of equals the lowest id.
    fn order(&self, place: usize) -> (f32, core::cmp::Reverse<u32>) {
        let id = self.ids.get(place).copied().unwrap_or(u32::MAX);
        let weight = self.weights.get(id as usize).copied().unwrap_or(-1.0);
        (weight, core::cmp::Reverse(id))
    }

    fn sink(&mut self, mut at: usize) {
        loop {
            let mut largest = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.len
                    && self.order(self.base + child) > self.order(self.base + largest)
                {
                    largest = child;
                }
            }
            if largest == at {
                return;
            }
            slices::swap(self.ids, self.base + at, self.base + largest);
            at = largest;
        }
    }
}

/// Draws in proportion to the weights of the listed tokens, likeliest last, or
/// of all, by id; the generator is asked once.
fn draw(weights: &[f32], listed: Option<&[u32]>, rng: &mut Rng) -> Option<u32> {
    let unit = rng.next_unit();
    let n = listed.map_or(weights.len(), <[u32]>::len);
    let mut last = None;
    // The first walk passes no bound and finds the sum, the second ends where
    // the running sum passes `unit` of it.
    let mut bound = f32::INFINITY;
    for _walk in 0..2 {
        let mut running = 0.0;
        for i in 0..n {
            let id = match listed {
                None => i as u32,
                Some(ids) => ids.get(n - 1 - i).copied().unwrap_or_default(),
            };
            let weight = weights.get(id as usize).copied().unwrap_or_default();
            running += weight;
            if weight > 0.0 {
                last = Some(id);
                if running > bound {
                    return last;
                }
            }
        }
        bound = unit * running;
    }
    last
}

/// The `ids.len()` likeliest tokens and their log-probabilities, in order.
/// Returns how many there are.
///
/// # Errors
/// [`Error::Overflow`] if the logits are not numbers.
pub fn top_logprobs(logits: &[f32], ids: &mut [u32], logprobs: &mut [f32]) -> Result<usize> {
    let max = math::max(logits);
    let sum = math::sum_exp(logits, max);
    let log_sum = max + math::ln(sum);
    if !log_sum.is_finite() {
        return Err(Error::Overflow);
    }
    let room = ids.len().min(logprobs.len());
    let mut found = 0;
    for (id, &logit) in (0u32..).zip(logits) {
        let full = found == room;
        let least = logprobs.get(found.wrapping_sub(1)).copied().unwrap_or(f32::INFINITY);
        if full && logit <= least {
            continue;
        }
        // Insertion: what is smaller moves down a place.
        let mut carried = (id, logit);
        for (id, best) in ids.iter_mut().zip(logprobs.iter_mut()).take(found) {
            if carried.1 > *best {
                core::mem::swap(&mut carried.0, id);
                core::mem::swap(&mut carried.1, best);
            }
        }
        if let (false, Some(id), Some(best)) = (full, ids.get_mut(found), logprobs.get_mut(found)) {
            (*id, *best) = carried;
            found += 1;
        }
    }
    logprobs.iter_mut().take(found).for_each(|v| *v -= log_sum);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    fn sample(logits: &[f32], sampling: &Sampling, recent: &[u32], rng: &mut Rng) -> u32 {
        let mut work = vec![0.0; logits.len()];
        let mut ids = vec![0; logits.len()];
        let mut scratch = Scratch { logits: &mut work, ids: &mut ids };
        let cx = Context { sampling, recent, bias: (&[], &[]) };
        choose(logits, &cx, rng, &mut scratch).unwrap()
    }

    /// How often each token is drawn, of `n`.
    fn counts(logits: &[f32], sampling: &Sampling, n: usize) -> Vec<usize> {
        let mut rng = Rng::new(7);
        let mut counts = vec![0; logits.len()];
        for _ in 0..n {
            counts[sample(logits, sampling, &[], &mut rng) as usize] += 1;
        }
        counts
    }

    fn ln(p: &[f32]) -> Vec<f32> {
        p.iter().map(|p| p.ln()).collect()
    }

    #[test]
    fn the_generator_is_pcg32() {
        // The reference's first outputs for state 42 on its stream 54, here with
        // this increment: computed apart with integers of any size (see NUMERICS.md).
        let mut rng = Rng::new(42);
        let got: Vec<u32> = (0..4).map(|_| rng.next_u32()).collect();
        let mut state: u128 = 0;
        let mut want = vec![];
        let step =
            |s: u128| (s * 6_364_136_223_846_793_005 + 1_442_695_040_888_963_407) % (1 << 64);
        state = step(step(state) + 42);
        for _ in 0..4 {
            let x = ((state >> 18) ^ state) >> 27;
            let rot = (state >> 59) as u32;
            want.push((x as u32).rotate_right(rot));
            state = step(state);
        }
        assert_eq!(got, want);
    }

    #[test]
    fn temperature_zero_is_the_lowest_of_the_largest() {
        let greedy = Sampling::default();
        assert_eq!(sample(&[1.0, 3.0, 3.0, 2.0], &greedy, &[], &mut Rng::new(0)), 1);
    }

    #[test]
    fn draws_are_in_proportion() {
        let p = [0.5, 0.25, 0.125, 0.125];
        let counts = counts(&ln(&p), &Sampling { temperature: 1.0, ..Sampling::default() }, 40_000);
        for (count, p) in counts.iter().zip(p) {
            assert!((*count as f32 / 40_000.0 - p).abs() < 0.01, "{counts:?}");
        }
    }

    #[test]
    fn temperature_sharpens() {
        let p = [0.6, 0.4];
        let sampling = Sampling { temperature: 0.5, ..Sampling::default() };
        let share = counts(&ln(&p), &sampling, 20_000)[0] as f32 / 20_000.0;
        assert!((share - 0.36 / (0.36 + 0.16)).abs() < 0.015, "{share}");
    }

    #[test]
    fn each_filter_keeps_what_it_says() {
        let logits = ln(&[0.1, 0.4, 0.05, 0.3, 0.15]);
        let base = Sampling { temperature: 1.0, ..Sampling::default() };
        let drawn = |sampling: &Sampling| -> Vec<usize> {
            let counts = counts(&logits, sampling, 4000);
            (0..5).filter(|&i| counts[i] > 0).collect()
        };
        assert_eq!(drawn(&base), [0, 1, 2, 3, 4]);
        assert_eq!(drawn(&Sampling { top_k: 2, ..base }), [1, 3]);
        assert_eq!(drawn(&Sampling { top_k: 1, ..base }), [1]);
        assert_eq!(drawn(&Sampling { top_p: 0.65, ..base }), [1, 3]);
        assert_eq!(drawn(&Sampling { top_p: 0.75, ..base }), [1, 3, 4]);
        assert_eq!(drawn(&Sampling { top_p: 0.01, ..base }), [1]);
        assert_eq!(drawn(&Sampling { min_p: 0.3, ..base }), [1, 3, 4]);
        // After top-k 2 the shares are 4/7 and 3/7.
        assert_eq!(drawn(&Sampling { top_k: 2, top_p: 0.55, ..base }), [1]);
        assert_eq!(drawn(&Sampling { top_k: 2, top_p: 0.6, ..base }), [1, 3]);
    }

    #[test]
    fn of_equal_logits_the_lowest_ids_are_kept() {
        let sampling = Sampling { temperature: 1.0, top_k: 3, ..Sampling::default() };
        let counts = counts(&[0.5; 50], &sampling, 2000);
        assert!(counts[..3].iter().all(|&n| n > 0) && counts[3..].iter().all(|&n| n == 0));
    }

    #[test]
    fn ranks_are_those_of_a_sorted_list() {
        let mut random = Rng::new(5);
        // Many equals, and more that are far from the likeliest than near it.
        let number = |x: u32| 1.0 / (1 << (x % 16)) as f32;
        let weights: Vec<f32> = (0..600).map(|_| number(random.next_u32())).collect();
        let mut sorted: Vec<u32> = (0..600).collect();
        sorted.sort_by(|a, b| weights[*b as usize].total_cmp(&weights[*a as usize]));
        for n in [1, 7, 600] {
            let mut ids = vec![0; 600];
            let mut ranked = Ranked::new(&weights, &mut ids);
            assert!((0..n).all(|rank| ranked.weight(rank) == weights[sorted[rank] as usize]));
            let best: Vec<u32> = ranked.into_best(n).iter().rev().copied().collect();
            assert_eq!(best, sorted[..n]);
        }
        assert_eq!(Ranked::new(&weights, &mut [0; 600]).weight(600), 0.0);
    }

    #[test]
    fn penalties_are_the_formulas() {
        let sampling = Sampling {
            repetition_penalty: 2.0,
            presence_penalty: 0.25,
            frequency_penalty: 0.5,
            ..Sampling::default()
        };
        let mut logits = [4.0, -4.0, 1.0, 1.0];
        let cx = Context { sampling: &sampling, recent: &[0, 1, 0], bias: (&[], &[]) };
        penalise(&mut logits, &cx);
        assert_eq!(logits, [4.0 / 2.0 - 0.25 - 1.0, -4.0 * 2.0 - 0.25 - 0.5, 1.0, 1.0]);
        let mut logits = [4.0, -4.0, 1.0, 1.0];
        let last_one = Sampling { penalty_last_n: 1, ..sampling };
        penalise(&mut logits, &Context { sampling: &last_one, ..cx });
        assert_eq!(logits, [4.0 / 2.0 - 0.75, -4.0, 1.0, 1.0]);
    }

    #[test]
    fn logits_that_are_not_numbers_are_an_error() {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut work = [0.0; 3];
            let mut scratch = Scratch { logits: &mut work, ids: &mut [0; 3] };
            let cx = Context { sampling: &Sampling::default(), recent: &[], bias: (&[], &[]) };
            let got = choose(&[0.0, bad, 1.0], &cx, &mut Rng::new(0), &mut scratch);
            assert_eq!(got, Err(Error::Overflow));
        }
    }

    #[test]
    fn top_logprobs_are_sorted_and_sum_to_one() {
        let logits = ln(&[0.1, 0.4, 0.05, 0.3, 0.15]);
        let (mut ids, mut logprobs) = ([0; 5], [0.0; 5]);
        assert_eq!(top_logprobs(&logits, &mut ids, &mut logprobs), Ok(5));
        assert_eq!(ids, [1, 3, 4, 0, 2]);
        assert!((logprobs.iter().map(|v| v.exp()).sum::<f32>() - 1.0).abs() < 1e-5);
        assert_eq!(top_logprobs(&logits, &mut ids[..2], &mut logprobs), Ok(2));
        assert_eq!(ids[..2], [1, 3]);
    }

    #[test]
    fn parameters_are_checked() {
        assert_eq!(Sampling::default().check(), Ok(()));
        for bad in [
            Sampling { temperature: -1.0, ..Sampling::default() },
            Sampling { temperature: f32::NAN, ..Sampling::default() },
            Sampling { top_p: 1.5, ..Sampling::default() },
            Sampling { min_p: -0.1, ..Sampling::default() },
        ] {
            assert!(bad.check().is_err());
        }
    }
}
