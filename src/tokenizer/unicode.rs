//! Characters from bytes that need not be UTF-8, and the classes that
//! pre-tokenizer patterns ask for: `\p{L}`, `\p{N}`, `\s` of Unicode 16.0.0.
//!
//! That version is the one of PyPI tiktoken's patterns, which the tests
//! compare with. A byte that is not part of well-formed UTF-8 is a character of
//! its own, of class [`Class::Other`]: it is kept as it is, and splits words as
//! U+FFFD would.
#![forbid(unsafe_code)]

use super::unicode_table::{LETTERS, NUMBERS};

/// What a pattern can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// None of the others, unassigned code points and stray bytes included.
    Other,
    /// `\p{L}`
    Letter,
    /// `\p{N}`
    Number,
    /// `\s`: the property `White_Space`.
    Space,
}

/// Stands for a byte that is not part of well-formed UTF-8; of class `Other`.
const STRAY: u32 = 0xFFFD;

/// The first character of `text`: its code point and its length in bytes
/// (0 only if `text` is empty).
#[inline(never)]
pub(super) fn first_char(text: &[u8]) -> (u32, usize) {
    let Some(&lead) = text.first() else { return (STRAY, 0) };
    let (len, bits, least) = match lead {
        0..=0x7F => return (u32::from(lead), 1),
        0xC2..=0xDF => (2, lead & 0x1F, 0x80),
        0xE0..=0xEF => (3, lead & 0x0F, 0x800),
        0xF0..=0xF4 => (4, lead & 0x07, 0x1_0000),
        _ => return (STRAY, 1),
    };
    let Some(rest) = text.get(1..len) else { return (STRAY, 1) };
    let mut cp = u32::from(bits);
    for &byte in rest {
        if byte & 0xC0 != 0x80 {
            return (STRAY, 1);
        }
        cp = cp << 6 | u32::from(byte & 0x3F);
    }
    // Overlong forms, surrogates, and what lies above Unicode are not UTF-8.
    if cp < least || char::from_u32(cp).is_none() { (STRAY, 1) } else { (cp, len) }
}

/// The class of a code point.
pub(super) fn class(cp: u32) -> Class {
    match cp {
        0x09..=0x0D | 0x20 | 0x85 | 0xA0 | 0x1680 | 0x2000..=0x200A => Class::Space,
        0x2028 | 0x2029 | 0x202F | 0x205F | 0x3000 => Class::Space,
        _ => letter_or_number(cp),
    }
}

/// The class of a code point that is not a space.
fn letter_or_number(cp: u32) -> Class {
    if holds(&LETTERS, cp) {
        Class::Letter
    } else if holds(&NUMBERS, cp) {
        Class::Number
    } else {
        Class::Other
    }
}

/// Whether a code point lies in one of a table's ranges: reads gap and length
/// by turns until they add up to more than it.
#[inline(never)]
fn holds(ranges: &[u8], cp: u32) -> bool {
    let (mut end, mut run, mut shift) = (0, 0, 0);
    let mut inside = false;
    for &byte in ranges {
        run |= u32::from(byte & 0x7F) << (shift & 31);
        shift += 7;
        if byte < 0x80 {
            end += run;
            if end > cp {
                return inside;
            }
            inside = !inside;
            (run, shift) = (0, 0);
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::unicode_table::FINGERPRINT;

    #[test]
    fn the_table_reads_back_as_the_script_wrote_it() {
        let (mut hash, mut letters, mut numbers) = (0x811C_9DC5u32, 0, 0);
        for cp in 0..0x11_0000 {
            let class = letter_or_number(cp);
            letters += u32::from(class == Class::Letter);
            numbers += u32::from(class == Class::Number);
            hash = (hash ^ class as u32).wrapping_mul(0x0100_0193);
        }
        // Unicode 16.0.0 has so many of them.
        assert_eq!((letters, numbers), (141_028, 1_911));
        assert_eq!(hash, FINGERPRINT);
    }

    #[test]
    fn spaces_are_white_space() {
        let spaces = (0..0x11_0000).filter(|&cp| class(cp) == Class::Space);
        let std = (0..0x11_0000).filter(|&cp| char::from_u32(cp).is_some_and(char::is_whitespace));
        assert!(spaces.eq(std));
    }

    #[test]
    fn characters_are_those_of_std_and_stray_bytes_stand_alone() {
        for c in (0..0x11_0000).filter_map(char::from_u32) {
            let mut bytes = [0; 8];
            c.encode_utf8(&mut bytes);
            assert_eq!(first_char(&bytes), (c as u32, c.len_utf8()));
            let cut = &bytes[..c.len_utf8() - 1];
            assert_eq!(first_char(cut), (STRAY, cut.len().min(1)));
        }
        // a continuation, overlong forms, a surrogate, beyond Unicode, never used
        for bytes in [
            &[0x80][..],
            &[0xC0, 0x80],
            &[0xC1, 0xBF],
            &[0xE0, 0x9F, 0xBF],
            &[0xED, 0xA0, 0x80],
            &[0xF0, 0x8F, 0xBF, 0xBF],
            &[0xF4, 0x90, 0x80, 0x80],
            &[0xF5, 0x80, 0x80, 0x80],
            &[0xFF],
            &[0xE2, 0x41, 0x80],
        ] {
            assert_eq!(first_char(bytes), (STRAY, 1), "{bytes:x?}");
        }
    }
}
