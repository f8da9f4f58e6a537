//! Byte pair encoding: the merges, and how a word is merged.
//!
//! A word begins as one symbol per byte. Of all neighbours that some merge
//! joins, the one that stands first in the file's list is joined, the leftmost
//! where there are several, until no merge applies. Done naively that is
//! quadratic in the word's length, and a hostile word is as long as the prompt.
//! So the symbols form a linked list, each holds the rank of the merge that
//! would join it to the next one, and a tournament tree over the ranks knows
//! the winner: one merge costs three walks from a leaf to the root.
//!
//! ```text
//! n = 5     tree[1]                the winner of all
//!           tree[2]   tree[3]      node p: the better of 2p and 2p + 1
//!           tree[4] 0 1 2          nodes n..2n are the symbols themselves
//!           3     4
//! ```
#![forbid(unsafe_code)]

use super::vocab::{NONE, Probe, at, mix, probe, set};
use crate::error::Result;

/// Scratch per byte of a word, in `u32`s: ids, next, prev, rank, tree.
pub(super) const WORK_PER_BYTE: usize = 5;

/// The merges of a vocabulary.
#[derive(Clone, Copy, Default)]
pub(super) struct Merges<'a> {
    /// Hash of (left, right) to rank; a power of two of them.
    pub(super) slots: &'a [u32],
    /// By rank: left, right, and what they make.
    pub(super) rules: &'a [[u32; 3]],
}

impl Merges<'_> {
    /// The rank of the merge of two symbols, [`NONE`] if there is none.
    fn rank(&self, left: u32, right: u32) -> u32 {
        match find_pair(self.slots, self.rules, left, right) {
            Probe::Found(rank) => rank,
            _ => NONE,
        }
    }

    fn result(&self, rank: u32) -> u32 {
        self.rules.get(rank as usize).map_or(NONE, |rule| rule[2])
    }
}

fn find_pair(slots: &[u32], rules: &[[u32; 3]], left: u32, right: u32) -> Probe {
    let hash = mix(left.wrapping_mul(0x9E37_79B1) ^ right.rotate_left(16));
    probe(slots, hash, |rank| {
        rules.get(rank as usize).is_some_and(|rule| rule[0] == left && rule[1] == right)
    })
}

/// Fills the slots with all rules. Of a pair that is listed twice, the first
/// counts. False if pairs collide as only made-up ones do.
pub(super) fn index(slots: &mut [u32], rules: &[[u32; 3]]) -> bool {
    slots.fill(NONE);
    for (rank, rule) in (0u32..).zip(rules) {
        match find_pair(slots, rules, rule[0], rule[1]) {
            Probe::Free(i) => set(slots, i, rank),
            Probe::Found(_) => {}
            Probe::Crowded => return false,
        }
    }
    true
}

/// A word being merged; all slices are as long as the word.
struct Word<'w> {
    ids: &'w mut [u32],
    next: &'w mut [u32],
    prev: &'w mut [u32],
    rank: &'w mut [u32],
    tree: &'w mut [u32],
}

/// Merges the word whose bytes' ids are the first `n` of `work`, and gives the
/// resulting ids to `out`. `work` holds [`WORK_PER_BYTE`] times `n`; nothing
/// happens if it does not. `tick` is called for every node of the tree that is
/// worked out.
pub(super) fn merge(
    merges: &Merges<'_>,
    n: usize,
    work: &mut [u32],
    tick: &mut impl FnMut(),
    out: &mut dyn FnMut(u32) -> Result<()>,
) -> Result<()> {
    let mut parts = work.chunks_exact_mut(n.max(1));
    let (Some(ids), Some(next), Some(prev), Some(rank), Some(tree)) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Ok(());
    };
    let mut word = Word { ids, next, prev, rank, tree };
    word.link(merges, tick);
    while word.join_best(merges, tick) {}
    let mut i = 0;
    while i != NONE {
        out(at(word.ids, i as usize))?;
        i = at(word.next, i as usize);
    }
    Ok(())
}

impl Word<'_> {
    /// Links the symbols, ranks all pairs and plays the whole tournament.
    fn link(&mut self, merges: &Merges<'_>, tick: &mut impl FnMut()) {
        let n = self.ids.len();
        for i in 0..n {
            set(self.prev, i, (i as u32).wrapping_sub(1)); // the first: NONE
            set(self.next, i, if i + 1 < n { i as u32 + 1 } else { NONE });
        }
        for i in 0..n {
            self.rank_at(i, merges);
        }
        for node in (1..n).rev() {
            self.play(node, tick);
        }
    }

    /// Joins the winner with the symbol after it; false if nothing can be joined.
    fn join_best(&mut self, merges: &Merges<'_>, tick: &mut impl FnMut()) -> bool {
        let i = at(self.tree, 1) as usize; // of a single symbol there is no tree
        let rank = at(self.rank, i);
        if self.ids.len() < 2 || rank == NONE {
            return false;
        }
        let gone = at(self.next, i) as usize;
        let after = at(self.next, gone);
        set(self.ids, i, merges.result(rank));
        set(self.next, i, after);
        set(self.prev, after as usize, i as u32);
        set(self.rank, gone, NONE);
        self.replay(gone, tick);
        self.rank_at(i, merges);
        self.replay(i, tick);
        let before = at(self.prev, i) as usize;
        if before < self.ids.len() {
            self.rank_at(before, merges);
            self.replay(before, tick);
        }
        true
    }

    /// Ranks the pair that begins at symbol `i`.
    #[inline(never)]
    fn rank_at(&mut self, i: usize, merges: &Merges<'_>) {
        let rank = match at(self.next, i) {
            NONE => NONE,
            next => merges.rank(at(self.ids, i), at(self.ids, next as usize)),
        };
        set(self.rank, i, rank);
    }

    /// Works out the nodes above symbol `i`.
    #[inline(never)]
    fn replay(&mut self, i: usize, tick: &mut impl FnMut()) {
        let mut node = (i + self.ids.len()) / 2;
        while node > 0 {
            self.play(node, tick);
            node /= 2;
        }
    }

    /// The lower rank wins, of equal ranks the left symbol.
    fn play(&mut self, node: usize, tick: &mut impl FnMut()) {
        tick();
        let a = self.contender(2 * node);
        let b = self.contender(2 * node + 1);
        let (rank_a, rank_b) = (at(self.rank, a as usize), at(self.rank, b as usize));
        let winner = if rank_b < rank_a || (rank_b == rank_a && b < a) { b } else { a };
        set(self.tree, node, winner);
    }

    fn contender(&self, node: usize) -> u32 {
        match node.checked_sub(self.ids.len()) {
            Some(symbol) => symbol as u32,
            None => at(self.tree, node),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    fn slots_for(rules: &[[u32; 3]]) -> Vec<u32> {
        let mut slots = vec![0; (2 * rules.len()).next_power_of_two().max(2)];
        assert!(index(&mut slots, rules));
        slots
    }

    /// The definition, word for word.
    fn naive(rules: &[[u32; 3]], word: &[u32]) -> Vec<u32> {
        let mut word = word.to_vec();
        loop {
            let rank_of = |pair: &[u32]| rules.iter().position(|r| r[..2] == *pair);
            let best = (0..word.len().saturating_sub(1))
                .filter_map(|i| Some((rank_of(&word[i..i + 2])?, i)))
                .min();
            let Some((rank, i)) = best else { return word };
            word[i] = rules[rank][2];
            word.remove(i + 1);
        }
    }

    fn merged(rules: &[[u32; 3]], word: &[u32]) -> (Vec<u32>, usize) {
        let slots = slots_for(rules);
        let merges = Merges { slots: &slots, rules };
        let mut work = word.to_vec();
        work.resize(word.len() * WORK_PER_BYTE, 0xAAAA_AAAA);
        let (mut ids, mut ticks) = (Vec::new(), 0);
        merge(&merges, word.len(), &mut work, &mut || ticks += 1, &mut |id| {
            ids.push(id);
            Ok(())
        })
        .unwrap();
        (ids, ticks)
    }

    fn random(state: &mut u32) -> u32 {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *state >> 16
    }

    #[test]
    fn merging_is_the_definition() {
        let mut seed = 1;
        for round in 0..2000 {
            let symbols = 2 + random(&mut seed) % 4;
            let rules: Vec<[u32; 3]> = (0..random(&mut seed) % 12)
                .map(|i| {
                    let old = symbols + i;
                    [random(&mut seed) % old, random(&mut seed) % old, old]
                })
                .collect();
            let len = 1 + random(&mut seed) % 40;
            let word: Vec<u32> = (0..len).map(|_| random(&mut seed) % symbols).collect();
            assert_eq!(merged(&rules, &word).0, naive(&rules, &word), "round {round}");
        }
    }

    #[test]
    fn a_merge_may_make_what_it_was_made_of() {
        // A hostile vocabulary can say so; every merge still shortens the word.
        let rules = [[1, 1, 1], [0, 1, 0]];
        assert_eq!(merged(&rules, &[1; 100]).0, [1]);
        assert_eq!(merged(&rules, &[0, 1, 1, 0]).0, naive(&rules, &[0, 1, 1, 0]));
    }

    #[test]
    fn hostile_words_cost_n_log_n() {
        // Doubling merges, joined from the left one at a time, and a chain that
        // grows at one end: the shapes that cost the naive loop n squared.
        let doubling: Vec<[u32; 3]> = (0..30).map(|i| [i, i, i + 1]).collect();
        let chain: Vec<[u32; 3]> = (0..2000).map(|i| [i, 0, i + 1]).collect();
        for rules in [&doubling, &chain] {
            for n in [1usize, 2, 3, 1000, 1 << 14, (1 << 16) + 1] {
                let (_, ticks) = merged(rules, &vec![0; n]);
                let log = usize::BITS - n.leading_zeros();
                // the first tournament, and three walks for each of n - 1 merges
                assert!(ticks <= n + 3 * n * log as usize, "{n}: {ticks}");
            }
        }
    }

    #[test]
    fn of_equal_pairs_the_first_counts_and_crowds_are_refused() {
        let rules = [[5, 6, 7], [5, 6, 8]];
        assert_eq!(merged(&rules, &[5, 6]).0, [7]);
        let mut tiny = [0; 4];
        let many: Vec<[u32; 3]> = (0..100).map(|i| [i, i, i]).collect();
        assert!(!index(&mut tiny, &many));
    }

    #[test]
    fn too_little_work_does_nothing() {
        let mut count = 0;
        let merges = Merges::default();
        for len in 0..20 {
            let mut work = vec![0; len];
            merge(&merges, 4, &mut work, &mut || {}, &mut |_| {
                count += 1;
                Ok(())
            })
            .unwrap();
        }
        assert_eq!(count, 0);
    }
}
