//! Sorted lists of tokens, and the longest of them that a text begins with.
//!
//! Serves two purposes: the whole vocabulary of `pagelm.pieces`, and the
//! special tokens of either kind. A sorted list needs no more memory than its
//! ids, and no text can make it slow: a match costs the length of the longest
//! token at most.
#![forbid(unsafe_code)]

use super::vocab::{Vocab, at, set};
use core::cmp::Ordering;

/// The longest text that a token of such a list may have, in bytes.
pub(super) const MAX_PIECE: usize = 256;

/// A set of bytes.
pub(super) type ByteSet = [u32; 8];

/// Adds a byte to a set.
pub(super) fn add(set: &mut ByteSet, byte: u8) {
    if let Some(word) = set.get_mut(usize::from(byte >> 5)) {
        *word |= 1 << (byte & 31);
    }
}

/// Whether a byte is in a set.
pub(super) fn has(set: &ByteSet, byte: u8) -> bool {
    set.get(usize::from(byte >> 5)).is_some_and(|word| word >> (byte & 31) & 1 == 1)
}

/// By text, of equal texts by kind, of equal kinds by id.
#[inline(never)]
fn order(vocab: &Vocab<'_>, a: u32, b: u32) -> Ordering {
    let texts = vocab.text(a).cmp(vocab.text(b));
    texts.then(vocab.kind(a).cmp(&vocab.kind(b))).then(a.cmp(&b))
}

/// Sorts ids (a heapsort: in place, never quadratic), and keeps of those with
/// equal text and kind the lowest. Returns those kept.
#[inline(never)]
pub(super) fn sort<'a>(ids: &'a mut [u32], vocab: &Vocab<'_>) -> &'a [u32] {
    let n = ids.len();
    for root in (0..n / 2).rev() {
        sift(ids, vocab, root, n);
    }
    for end in (1..n).rev() {
        swap(ids, 0, end);
        sift(ids, vocab, 0, end);
    }
    let mut kept = 0usize;
    for i in 0..ids.len() {
        let id = at(ids, i);
        let last = at(ids, kept.wrapping_sub(1)); // none yet: an id without text
        if kept == 0 || vocab.text(id) != vocab.text(last) || vocab.kind(id) != vocab.kind(last) {
            set(ids, kept, id);
            kept += 1;
        }
    }
    ids.get(..kept).unwrap_or_default()
}

#[inline(never)]
fn sift(ids: &mut [u32], vocab: &Vocab<'_>, mut root: usize, end: usize) {
    loop {
        let mut child = 2 * root + 1;
        if child >= end {
            return;
        }
        if child + 1 < end && order(vocab, at(ids, child), at(ids, child + 1)).is_lt() {
            child += 1;
        }
        if order(vocab, at(ids, root), at(ids, child)).is_ge() {
            return;
        }
        swap(ids, root, child);
        root = child;
    }
}

fn swap(ids: &mut [u32], i: usize, j: usize) {
    let (a, b) = (at(ids, i), at(ids, j));
    set(ids, i, b);
    set(ids, j, a);
}

/// The longest token of `sorted` at the start of `text` that `accept`s its id
/// and its length; of those with that text, the first.
pub(super) fn longest(
    sorted: &[u32],
    vocab: &Vocab<'_>,
    text: &[u8],
    accept: &dyn Fn(u32, usize) -> bool,
) -> Option<(u32, usize)> {
    let (mut lo, mut hi) = (0, sorted.len());
    let mut best = None;
    for (depth, &byte) in text.iter().take(MAX_PIECE).enumerate() {
        // Those in lo..hi agree with the text so far; the ended ones were passed.
        let column = Column { sorted, vocab, depth };
        let wanted = u32::from(byte) + 1;
        lo = column.first(lo, hi, wanted);
        hi = column.first(lo, hi, wanted + 1);
        if lo >= hi {
            break;
        }
        let len = depth + 1;
        let mut found = false;
        while lo < hi && vocab.text(at(sorted, lo)).len() == len {
            if !found && accept(at(sorted, lo), len) {
                best = Some((at(sorted, lo), len));
                found = true;
            }
            lo += 1;
        }
    }
    best
}

/// The bytes at one place of all texts of a sorted list.
struct Column<'s, 'a> {
    sorted: &'s [u32],
    vocab: &'s Vocab<'a>,
    depth: usize,
}

impl Column<'_, '_> {
    /// One more than the byte of the text `i`; 0 if it has ended.
    fn at(&self, i: usize) -> u32 {
        let text = self.vocab.text(at(self.sorted, i));
        text.get(self.depth).map_or(0, |&byte| u32::from(byte) + 1)
    }

    /// The first of `lo..hi`, which must be in order, that is at least `least`;
    /// else `hi`. Often it is one of the ends: they are looked at first.
    #[inline(never)]
    fn first(&self, mut lo: usize, mut hi: usize, least: u32) -> usize {
        if lo < hi && self.at(hi - 1) < least {
            return hi;
        }
        let mut middle = lo;
        while lo < hi {
            if self.at(middle) >= least {
                hi = middle;
            } else {
                lo = middle + 1;
            }
            middle = lo + (hi - lo) / 2;
        }
        lo
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::vocab::kind;
    use std::vec::Vec;

    /// A vocabulary as a file would hold it.
    struct Made {
        file: Vec<u8>,
        offsets: Vec<u32>,
        kinds: Vec<u8>,
    }

    impl Made {
        fn new(texts: &[&[u8]]) -> Self {
            let mut file = Vec::new();
            let mut offsets = Vec::new();
            for text in texts {
                file.extend((text.len() as u64).to_le_bytes());
                offsets.push(file.len() as u32);
                file.extend(*text);
            }
            offsets.push(file.len() as u32 + 8);
            Self { file, offsets, kinds: std::vec![kind::NORMAL; texts.len()] }
        }

        fn vocab(&self) -> Vocab<'_> {
            Vocab { file: &self.file, offsets: &self.offsets, kinds: &self.kinds }
        }
    }

    fn sorted(vocab: &Vocab<'_>) -> Vec<u32> {
        let mut ids: Vec<u32> = (0..vocab.kinds.len() as u32).collect();
        sort(&mut ids, vocab).to_vec()
    }

    #[test]
    fn sorting_orders_and_drops_equals() {
        let mut made = Made::new(&[b"b", b"a", b"ab", b"", b"a", b"b", b"b", b"\xFF"]);
        made.kinds[5] = kind::BYTE;
        assert_eq!(sorted(&made.vocab()), [3, 1, 2, 0, 5, 7]);
        assert_eq!(sorted(&Made::new(&[]).vocab()), []);
    }

    #[test]
    fn the_longest_is_found_and_the_longest_accepted() {
        let made = Made::new(&[b"a", b"ab", b"abcd", b"b", b"abce", b"ca", b"\xFF\x00"]);
        let (vocab, ids) = (made.vocab(), sorted(&made.vocab()));
        let any = |text: &[u8]| longest(&ids, &vocab, text, &|_, _| true);
        assert_eq!(any(b"abcd"), Some((2, 4)));
        assert_eq!(any(b"abcf"), Some((1, 2)));
        assert_eq!(any(b"ac"), Some((0, 1)));
        assert_eq!(any(b"c"), None);
        assert_eq!(any(b""), None);
        assert_eq!(any(b"\xFF\x00\x00"), Some((6, 2)));
        let short = longest(&ids, &vocab, b"abcd", &|_, len| len < 4);
        assert_eq!(short, Some((1, 2)));
    }

    #[test]
    fn the_longest_is_the_definition() {
        let mut seed = 1u32;
        let mut random = |below: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 16) % below
        };
        for _ in 0..300 {
            let texts: Vec<Vec<u8>> = (0..random(40))
                .map(|_| (0..random(6)).map(|_| b"ab\xFF"[random(3) as usize]).collect())
                .collect();
            let made = Made::new(&texts.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let (vocab, ids) = (made.vocab(), sorted(&made.vocab()));
            for _ in 0..20 {
                let text: Vec<u8> = (0..random(9)).map(|_| b"ab\xFF"[random(3) as usize]).collect();
                let naive = (1..=text.len()).rev().find_map(|len| {
                    Some((texts.iter().position(|t| *t == text[..len])? as u32, len))
                });
                assert_eq!(longest(&ids, &vocab, &text, &|_, _| true), naive);
            }
        }
    }

    #[test]
    fn byte_sets() {
        let mut set = [0; 8];
        for byte in [0, 31, 32, 200, 255] {
            assert!(!has(&set, byte));
            add(&mut set, byte);
            assert!(has(&set, byte));
        }
        assert_eq!((0..=255).filter(|&b| has(&set, b)).count(), 5);
    }
}
