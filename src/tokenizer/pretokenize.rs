//! Cuts a text into the words within which byte pairs are merged.
//!
//! A vocabulary goes with the pattern it was trained with; `tokenizer.ggml.pre`
//! names it. Each pattern is one hand-written function from the rest of a text
//! to the length of its first word. To add a pattern: a variant of [`Pre`], its
//! name, its function.
#![forbid(unsafe_code)]

use super::unicode::{Class, class, first_char};
use crate::error::{Error, Result};
use crate::gguf::Value;

/// A pattern that cuts text into words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pre {
    /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
    Gpt2,
}

impl Pre {
    /// The pattern of this name. Files from before there were names, and those
    /// whose converter did not know one ("default"), are GPT-2's own.
    pub(super) fn from_name(name: &[u8]) -> Result<Self> {
        match Value::Str(name).one_of(&["", "default", "gpt2", "gpt-2"]) {
            Some(_) => Ok(Self::Gpt2),
            None => Err(Error::unsupported(&"this tokenizer.ggml.pre; gpt-2 is")),
        }
    }

    /// The length in bytes of the first word of `text`: 0 only if it is empty,
    /// else at least 1, and at most `text.len()`.
    pub(super) fn first_word(self, text: &[u8]) -> usize {
        match self {
            Self::Gpt2 => gpt2(text),
        }
    }
}

fn gpt2(text: &[u8]) -> usize {
    if let Some(len) = contraction(text) {
        return len;
    }
    let (cp, len) = first_char(text);
    // One space may go before a word, but not before another space.
    let lead = if cp == u32::from(b' ') { len } else { 0 };
    let after = rest(text, lead);
    let kind = class(first_char(after).0);
    if kind != Class::Space && !after.is_empty() {
        return lead + run(after, kind).0;
    }
    // A run of spaces leaves its last one to what follows, if anything does.
    let (end, last) = run(text, Class::Space);
    if end < text.len() && last < end && last > 0 { last } else { end }
}

/// The length of an English contraction's ending at the start of `text`.
fn contraction(text: &[u8]) -> Option<usize> {
    match *text {
        [b'\'', b's' | b't' | b'm' | b'd', ..] => Some(2),
        [b'\'', b'r' | b'v', b'e', ..] | [b'\'', b'l', b'l', ..] => Some(3),
        _ => None,
    }
}

/// The characters of one class at the start of `text`: where they end, and
/// where the last of them begins.
#[inline(never)]
fn run(text: &[u8], kind: Class) -> (usize, usize) {
    let (mut end, mut last) = (0, 0);
    loop {
        let (cp, len) = first_char(rest(text, end));
        if len == 0 || class(cp) != kind {
            return (end, last);
        }
        last = end;
        end += len;
    }
}

fn rest(text: &[u8], from: usize) -> &[u8] {
    text.get(from..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn words(text: &[u8]) -> Vec<&[u8]> {
        let (mut left, mut words) = (text, Vec::new());
        while !left.is_empty() {
            let len = Pre::Gpt2.first_word(left);
            assert!(0 < len && len <= left.len());
            words.push(&left[..len]);
            left = &left[len..];
        }
        words
    }

    fn check(text: &str, expected: &[&str]) {
        let expected: Vec<&[u8]> = expected.iter().map(|word| word.as_bytes()).collect();
        assert_eq!(words(text.as_bytes()), expected, "{text:?}");
    }

    #[test]
    fn words_are_those_of_the_pattern() {
        check("", &[]);
        check("Hello, world 42!", &["Hello", ",", " world", " 42", "!"]);
        check(
            "we'll they've I'm it's 'd 'x 're'",
            &[
                "we", "'ll", " they", "'ve", " I", "'m", " it", "'s", " '", "d", " '", "x", " '",
                "re", "'",
            ],
        );
        check("I'M", &["I", "'", "M"]);
        check("a  b   c ", &["a", " ", " b", "  ", " c", " "]);
        check("a \n b", &["a", " \n", " b"]);
        check("a\n\nb", &["a", "\n", "\n", "b"]);
        check("\t\tx", &["\t", "\t", "x"]);
        check("   ", &["   "]);
        check("a\u{3000}\u{3000}b", &["a", "\u{3000}", "\u{3000}", "b"]);
        check("e\u{301}x", &["e", "\u{301}", "x"]);
        check("x²½٣", &["x", "²½٣"]);
        check(" 🚀🚀 über", &[" 🚀🚀", " über"]);
    }

    #[test]
    fn stray_bytes_are_kept_and_are_neither_letters_nor_spaces() {
        assert_eq!(
            words(b"a\xFF\x80b \xE2\x82c"),
            [&b"a"[..], b"\xFF\x80", b"b", b" \xE2\x82", b"c"]
        );
    }

    #[test]
    fn names() {
        for name in [&b""[..], b"gpt-2", b"default"] {
            assert_eq!(Pre::from_name(name), Ok(Pre::Gpt2));
        }
        assert!(matches!(Pre::from_name(b"qwen2"), Err(Error::Unsupported { .. })));
    }
}
