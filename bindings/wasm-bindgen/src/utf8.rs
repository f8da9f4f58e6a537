//! Bytes that arrive in pieces, as text in whole characters.

use alloc::string::String;
use alloc::vec::Vec;

/// Holds back a character that has not arrived in full. What can be none
/// becomes U+FFFD, as in the browser's own `TextDecoder`.
#[derive(Default)]
pub(crate) struct Joiner(Vec<u8>);

impl Joiner {
    /// The text that is certain now; with `last`, all of it.
    pub fn push(&mut self, bytes: &[u8], last: bool) -> String {
        self.0.extend_from_slice(bytes);
        let (mut text, mut rest) = (String::new(), &self.0[..]);
        loop {
            let error = match core::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    rest = &[];
                    break;
                }
                Err(error) => error,
            };
            let (valid, invalid) = rest.split_at(error.valid_up_to());
            text.push_str(core::str::from_utf8(valid).unwrap_or_default());
            rest = invalid;
            match error.error_len() {
                Some(n) => rest = &rest[n..],
                None if last => rest = &[],
                None => break,
            }
            text.push('\u{fffd}');
        }
        self.0 = rest.to_vec();
        text
    }
}
