//! Reading what the metadata says of an architecture.
#![forbid(unsafe_code)]

use crate::error::{Error, Result, Word};
use crate::gguf::{Gguf, Value};

/// Reads an architecture's metadata, keys without their prefix. The first failure
/// sticks, so that not every key needs to be asked; whoever reads asks at the end.
pub(crate) struct Keys<'g, 'a> {
    gguf: &'g Gguf<'a>,
    prefix: &'static str,
    pub(super) failed: Result<()>,
}

impl<'g, 'a> Keys<'g, 'a> {
    pub(super) fn new(gguf: &'g Gguf<'a>, prefix: &'static str) -> Self {
        Self { gguf, prefix, failed: Ok(()) }
    }

    #[cfg(feature = "rnn")]
    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Fails for a key that is absent, or whose value will not do.
    #[inline(never)]
    pub(super) fn refuse(&mut self, key: Word) {
        if self.failed.is_err() {
            return; // The look for the key is a walk.
        }
        let is_there = self.get(key).is_some();
        self.fail(if is_there { Error::BadValue { key } } else { Error::MissingKey { key } });
    }

    #[inline(never)]
    pub(super) fn fail(&mut self, error: Error) {
        self.failed = self.failed.and(Err(error));
    }

    #[inline(never)]
    pub(super) fn get(&self, key: &str) -> Option<Value<'a>> {
        let mine = |name: &[u8]| {
            name.strip_prefix(self.prefix.as_bytes()).is_some_and(|rest| rest == key.as_bytes())
        };
        self.gguf.metadata().find(|(name, _)| mine(name)).map(|(_, value)| value)
    }

    /// A whole number in a range, or what there is in place of an absent one; 0 after a failure.
    #[inline(never)]
    pub(super) fn whole(
        &mut self,
        key: Word,
        (min, max): (u64, u64),
        absent: Option<usize>,
    ) -> usize {
        let value = self.get(key);
        if let (None, Some(absent)) = (value, absent) {
            return absent;
        }
        let stated = value.and_then(|value| value.as_u64()).filter(|n| (min..=max).contains(n));
        if stated.is_none() {
            self.refuse(key);
        }
        stated.unwrap_or_default() as usize
    }

    /// A size: at least 1, and small enough that products of two fit an address.
    pub(super) fn size(&mut self, key: Word, absent: Option<usize>) -> usize {
        self.whole(key, (1, 1 << 24), absent)
    }

    /// A finite number; 0 after a failure.
    #[cfg(feature = "gpt2")]
    pub(super) fn number(&mut self, key: Word) -> f32 {
        let number = self.get(key).and_then(|value| value.as_f64()).map(|v| v as f32);
        let number = number.filter(|v| v.is_finite());
        if number.is_none() {
            self.refuse(key);
        }
        number.unwrap_or_default()
    }
}

/// `N.rest` taken apart, as the names of a layer's tensors end.
#[inline(never)]
pub(super) fn numbered(name: &[u8]) -> Option<(usize, &[u8])> {
    let dot = name.iter().position(|byte| *byte == b'.').filter(|n| (1..=8).contains(n))?;
    let (digits, rest) = name.split_at_checked(dot)?;
    let add = |n: usize, d: &u8| d.is_ascii_digit().then(|| n * 10 + usize::from(*d - b'0'));
    Some((digits.iter().try_fold(0, add)?, rest.get(1..)?))
}
