//! The vocabulary: where each token's text stands in the file, and what kind
//! of token it is; and the hash table that finds a token by its text while the
//! merges are being resolved.
#![forbid(unsafe_code)]

/// Marks an empty slot, an absent neighbour, an absent id.
pub(super) const NONE: u32 = u32::MAX;

/// The kinds of token, in GGUF's numbers (`tokenizer.ggml.token_type`).
pub(super) mod kind {
    pub(crate) const NORMAL: u8 = 1;
    /// Stands for what the vocabulary cannot express.
    pub(crate) const UNKNOWN: u8 = 2;
    /// Not text: begins, ends, separates.
    pub(crate) const CONTROL: u8 = 3;
    /// Text that is never split, taken before anything else.
    pub(crate) const USER_DEFINED: u8 = 4;
    /// Never matched, decodes to nothing.
    pub(crate) const UNUSED: u8 = 5;
    /// In `pagelm.pieces`: a piece to fall back on.
    pub(crate) const BYTE: u8 = 6;
}

/// A table's element, or [`NONE`] beyond its end.
pub(super) fn at(table: &[u32], i: usize) -> u32 {
    table.get(i).copied().unwrap_or(NONE)
}

/// Sets a table's element, if there is one.
pub(super) fn set(table: &mut [u32], i: usize, value: u32) {
    if let Some(slot) = table.get_mut(i) {
        *slot = value;
    }
}

/// Texts and kinds by id.
#[derive(Clone, Copy, Default)]
pub(super) struct Vocab<'a> {
    pub(super) file: &'a [u8],
    /// (n + 1): where each text begins; the last is 8 beyond the end of the last
    /// text. GGUF puts a string's 64-bit length before it, so a text ends 8
    /// bytes before the next begins.
    pub(super) offsets: &'a [u32],
    /// (n)
    pub(super) kinds: &'a [u8],
}

impl<'a> Vocab<'a> {
    /// A token's text as the file spells it; empty if there is no such token.
    pub(super) fn text(&self, id: u32) -> &'a [u8] {
        let i = id as usize;
        let start = at(self.offsets, i) as usize;
        let next = at(self.offsets, i.saturating_add(1)) as usize;
        self.file.get(start..next.saturating_sub(8)).unwrap_or_default()
    }

    /// A token's kind; unused if there is no such token.
    pub(super) fn kind(&self, id: u32) -> u8 {
        self.kinds.get(id as usize).copied().unwrap_or(kind::UNUSED)
    }
}

/// A lookup tries so many slots and no more, so that texts or pairs made to
/// collide are an error, not a hang. Tables are at most half full and probed in
/// triangular steps: an honest one does not come near it.
pub(super) const MAX_PROBES: u32 = 64;

/// What a search in a hash table found.
pub(super) enum Probe {
    /// The value.
    Found(u32),
    /// Nothing, and this slot to put it in.
    Free(usize),
    /// Nothing within [`MAX_PROBES`].
    Crowded,
}

/// Searches open-addressed `slots` (a power of two of them) for a value that is
/// the one meant.
pub(super) fn probe(slots: &[u32], hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Probe {
    let mask = slots.len().wrapping_sub(1);
    let mut i = hash as usize;
    for step in 1..=MAX_PROBES {
        i &= mask;
        match slots.get(i) {
            None => break,
            Some(&NONE) => return Probe::Free(i),
            Some(&value) if is_it(value) => return Probe::Found(value),
            Some(_) => i = i.wrapping_add(step as usize),
        }
    }
    Probe::Crowded
}

/// Mixes all bits into all bits (MurmurHash3's finaliser).
pub(super) fn mix(mut h: u32) -> u32 {
    h = (h ^ h >> 16).wrapping_mul(0x85EB_CA6B);
    h = (h ^ h >> 13).wrapping_mul(0xC2B2_AE35);
    h ^ h >> 16
}

/// Tokens by text. Lives only while a vocabulary is loaded.
pub(super) struct ByText<'t, 'a> {
    pub(super) slots: &'t mut [u32],
    pub(super) vocab: Vocab<'a>,
}

impl ByText<'_, '_> {
    /// Looks for the token spelled `a` then `b`; two parts, so that what a merge
    /// makes can be looked up without being put together.
    fn probe(&self, a: &[u8], b: &[u8]) -> Probe {
        let mut hash = 0x811C_9DC5u32; // FNV-1a
        for &byte in a.iter().chain(b) {
            hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
        probe(self.slots, mix(hash), |id| {
            let text = self.vocab.text(id);
            text.len() == a.len() + b.len() && text.starts_with(a) && text.ends_with(b)
        })
    }

    pub(super) fn find(&self, a: &[u8], b: &[u8]) -> Option<u32> {
        match self.probe(a, b) {
            Probe::Found(id) => Some(id),
            _ => None,
        }
    }

    /// Adds a token; false if its text is there already, or crowded out.
    pub(super) fn insert(&mut self, id: u32) -> bool {
        match self.probe(self.vocab.text(id), &[]) {
            Probe::Free(i) => {
                set(self.slots, i, id);
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowded_table_gives_up() {
        let full = [7u32; 128];
        let mut tried = 0;
        let found = probe(&full, 3, |_| {
            tried += 1;
            false
        });
        assert!(matches!(found, Probe::Crowded));
        assert_eq!(tried, MAX_PROBES);
        assert!(matches!(probe(&[], 3, |_| true), Probe::Crowded));
    }

    #[test]
    fn triangular_steps_reach_every_slot() {
        for free in 0..64 {
            let mut slots = [7u32; 64];
            slots[free] = NONE;
            assert!(matches!(probe(&slots, 11, |_| false), Probe::Free(i) if i == free));
        }
    }

    #[test]
    fn texts_outside_the_file_are_empty() {
        let vocab = Vocab { file: b"abcdef", offsets: &[0, 11, 900, 3], kinds: &[1, 1, 1] };
        assert_eq!(vocab.text(0), b"abc");
        for id in [1, 2, 3, NONE] {
            assert_eq!(vocab.text(id), b"", "{id}");
        }
        assert_eq!(vocab.kind(3), kind::UNUSED);
    }
}
