//! Bytes that arrive in pieces, as text that is whole at every moment.
#![forbid(unsafe_code)]

/// Joins pieces of bytes into UTF-8: a character that is cut is held until
/// the rest comes; what can never become a character is U+FFFD.
#[derive(Default)]
pub struct Utf8Joiner {
    held: Vec<u8>,
}

impl Utf8Joiner {
    /// Takes more bytes, and returns the text that is complete by now.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.held.extend_from_slice(bytes);
        let mut out = String::new();
        let mut done = 0;
        for chunk in self.held.utf8_chunks() {
            out.push_str(chunk.valid());
            done += chunk.valid().len();
            let invalid = chunk.invalid();
            if invalid.is_empty() || self.may_continue(done, invalid) {
                break;
            }
            out.push(char::REPLACEMENT_CHARACTER);
            done += invalid.len();
        }
        self.held.drain(..done);
        out
    }

    /// Whether the invalid bytes are the end of the input and only cut short.
    fn may_continue(&self, at: usize, invalid: &[u8]) -> bool {
        let tail = at + invalid.len() == self.held.len();
        tail && std::str::from_utf8(invalid).is_err_and(|e| e.error_len().is_none())
    }

    /// What is left when no more comes.
    pub fn finish(&mut self) -> String {
        let rest = String::from_utf8_lossy(&self.held).into_owned();
        self.held.clear();
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_of_a_text_gives_the_text() {
        let text = "aé€😀\u{10ffff}z".as_bytes();
        for a in 0..=text.len() {
            for b in a..=text.len() {
                let mut joiner = Utf8Joiner::default();
                let mut got = String::new();
                for part in [&text[..a], &text[a..b], &text[b..]] {
                    got += &joiner.push(part);
                }
                got += &joiner.finish();
                assert_eq!(got.as_bytes(), text, "{a} {b}");
            }
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_as_the_standard_library_does() {
        for bytes in [
            &b"a\xffb"[..],
            b"\xe2\x82",
            b"\xe2\x82x",
            b"\xf0\x9f\x98",
            b"\xc0\x80",
            b"\xed\xa0\x80!",
        ] {
            let mut joiner = Utf8Joiner::default();
            let mut got: String = bytes.iter().map(|b| joiner.push(&[*b])).collect();
            got += &joiner.finish();
            assert_eq!(got, String::from_utf8_lossy(bytes));
        }
    }
}
