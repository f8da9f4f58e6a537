//! How byte-level vocabularies spell bytes as characters.
//!
//! GPT-2 writes each byte of a token as one printable character: itself where
//! Latin-1 has one, else the next of U+0100, U+0101, ... in byte order.
#![forbid(unsafe_code)]

/// The first byte of the second run that Latin-1 cannot print, 7F to A0; the
/// first run is 00 to 20, and the soft hyphen AD stands alone.
const SECOND: u8 = 0x7F;
const SHY: u8 = 0xAD;

/// The byte that a character spells, if it spells one.
pub(super) fn byte_of(cp: u32) -> Option<u8> {
    match cp {
        0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => Some(cp as u8),
        0x100..=0x120 => Some((cp - 0x100) as u8),
        0x121..=0x142 => Some((cp - 0x121) as u8 + SECOND),
        0x143 => Some(SHY),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_one_spelling_and_it_is_gpt2s() {
        // OpenAI's definition: printable Latin-1 as it is, the others from 256 on.
        let mut next = 256;
        for byte in 0..=255u8 {
            let printable = matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..);
            let cp = if printable { u32::from(byte) } else { next };
            next += u32::from(!printable);
            assert_eq!(byte_of(cp), Some(byte));
        }
        assert_eq!((0..0x11_0000).filter(|&cp| byte_of(cp).is_some()).count(), 256);
    }
}
