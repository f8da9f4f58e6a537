//! Stop strings and stop tokens.
//!
//! A stop string may arrive in pieces, so text that could be its beginning is
//! held back until more is known.
#![forbid(unsafe_code)]

use crate::arena::Reserve;
use crate::error::{Error, Result};
use crate::slices;
use bytemuck::{Pod, Zeroable};

/// Stop strings held at most.
pub const MAX_STOPS: usize = 8;
/// Stop tokens held at most.
pub const MAX_STOP_TOKENS: usize = 16;
/// Bytes of all stop strings together; also a bound on the text held back.
pub(super) const TEXT: usize = 512;

#[derive(Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Counts {
    strings: u32,
    tokens: u32,
    bytes: u32,
}

/// The rules of a session.
pub(super) struct Stops<'a> {
    pub(super) counts: Counts,
    /// The strings, one after the other.
    pub(super) text: &'a mut [u8],
    /// Where each ends.
    pub(super) ends: &'a mut [u32],
    pub(super) tokens: &'a mut [u32],
}

impl<'a> Stops<'a> {
    pub(super) fn lay(r: &mut Reserve<'a>) -> Self {
        let (counts, text) = (Counts::default(), r.take(TEXT));
        Self { counts, text, ends: r.take(MAX_STOPS), tokens: r.take(MAX_STOP_TOKENS) }
    }

    pub(super) fn add(&mut self, stop: &[u8]) -> Result<()> {
        if stop.is_empty() {
            return Err(Error::BadParam { name: &"stop string" });
        }
        let start = self.counts.bytes as usize;
        let free = self.text.get_mut(start..start + stop.len());
        let end = self.ends.get_mut(self.counts.strings as usize);
        let (Some(free), Some(end)) = (free, end) else {
            return Err(Error::Full { what: &"stop string", max: MAX_STOPS as u16 });
        };
        slices::copy(free, stop);
        self.counts.bytes += stop.len() as u32;
        self.counts.strings += 1;
        *end = self.counts.bytes;
        Ok(())
    }

    pub(super) fn add_token(&mut self, id: u32) -> Result<()> {
        let full = Error::Full { what: &"stop token", max: MAX_STOP_TOKENS as u16 };
        *self.tokens.get_mut(self.counts.tokens as usize).ok_or(full)? = id;
        self.counts.tokens += 1;
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        self.counts = Counts::default();
    }

    /// Brings what a damaged snapshot may hold into range.
    pub(super) fn tame(&mut self) {
        let Counts { strings, tokens, bytes } = &mut self.counts;
        *strings = (*strings).min(MAX_STOPS as u32);
        *tokens = (*tokens).min(MAX_STOP_TOKENS as u32);
        *bytes = (*bytes).min(TEXT as u32);
    }

    pub(super) fn has_token(&self, id: u32) -> bool {
        self.tokens.iter().take(self.counts.tokens as usize).any(|&t| t == id)
    }

    /// The first place of `text` from which on it and a stop string agree as `matches` asks.
    #[inline(never)]
    fn scan(&self, text: &[u8], matches: fn(&[u8], &[u8]) -> bool) -> Option<usize> {
        (0..text.len()).find(|&at| {
            let tail = text.get(at..).unwrap_or_default();
            let mut start = 0;
            self.ends.iter().take(self.counts.strings as usize).any(|&end| {
                let stop = self.text.get(start..end as usize);
                start = end as usize;
                stop.is_some_and(|stop| matches(tail, stop))
            })
        })
    }

    /// Where the first stop string in `text` begins.
    pub(super) fn find(&self, text: &[u8]) -> Option<usize> {
        self.scan(text, |tail, stop| !stop.is_empty() && tail.starts_with(stop))
    }

    /// How many bytes at the end of `text` could be the beginning of a stop string.
    pub(super) fn held_back(&self, text: &[u8]) -> usize {
        let begins =
            self.scan(text, |tail, stop| tail.len() < stop.len() && stop.starts_with(tail));
        begins.map_or(0, |at| text.len() - at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_stops(stops: &[&[u8]], test: impl FnOnce(&mut Stops<'_>)) {
        let mut words = [0u64; 256];
        let mut r = Reserve::carve(bytemuck::cast_slice_mut(&mut words));
        let mut rules = Stops::lay(&mut r);
        stops.iter().for_each(|stop| rules.add(stop).unwrap());
        test(&mut rules);
    }

    #[test]
    fn beginnings_of_stop_strings_are_held_back() {
        with_stops(&[b"abc", b"cd"], |stops| {
            let cases: [(&[u8], usize); 6] =
                [(b"x", 0), (b"xa", 1), (b"xab", 2), (b"xabx", 0), (b"c", 1), (b"", 0)];
            for (text, want) in cases {
                assert_eq!(stops.held_back(text), want, "{text:?}");
            }
        });
    }

    #[test]
    fn the_earliest_match_wins() {
        with_stops(&[b"abc", b"cd"], |stops| {
            assert_eq!(stops.find(b"xxcdabc"), Some(2));
            assert_eq!(stops.find(b"abcd"), Some(0));
            assert_eq!(stops.find(b"ab"), None);
        });
    }

    #[test]
    fn tables_are_bounded() {
        with_stops(&[], |stops| {
            assert!(stops.add(b"").is_err());
            assert!(stops.add(&[b'a'; TEXT + 1]).is_err());
            stops.add(&[b'a'; TEXT]).unwrap();
            assert!(stops.add(b"b").is_err());
            (0..MAX_STOP_TOKENS as u32).for_each(|id| stops.add_token(id).unwrap());
            assert!(stops.add_token(99).is_err() && stops.has_token(15) && !stops.has_token(16));
            stops.clear();
            assert!(stops.find(b"aaa").is_none() && !stops.has_token(0));
        });
    }
}
