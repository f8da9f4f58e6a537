//! What can go wrong, as small values: a cause, numbers, and advice in words.
//!
//! Nothing here allocates and nothing panics; [`Error::write`] builds the
//! sentence piece by piece, so that the C ABI needs no formatting machinery.
#![forbid(unsafe_code)]

use core::fmt;

/// The result of everything fallible in this crate.
pub type Result<T> = core::result::Result<T, Error>;

/// An error: what, where (byte offsets are from the start of the model file),
/// and, in its text, what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The file ends before what its header promises.
    Truncated {
        /// Where reading stopped.
        offset: usize,
        /// How long the file would have to be at least.
        need: usize,
    },
    /// The first four bytes are neither GGUF's nor a packed file's.
    BadMagic,
    /// A version of GGUF, or of the packed layout, that this build cannot read.
    BadVersion {
        /// The version the file states.
        version: u32,
    },
    /// The file contradicts itself or the format.
    Corrupt {
        /// Where.
        offset: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// `general.architecture` is not one this build runs.
    UnsupportedArch {
        /// Where the name stands.
        offset: usize,
    },
    /// A tensor is stored in a format this build cannot read.
    UnsupportedType {
        /// Where the tensor is described.
        offset: usize,
        /// The ggml type number.
        ggml_type: u32,
    },
    /// Something valid that this build does not do.
    Unsupported {
        /// What it is.
        what: &'static str,
    },
    /// A metadata key the model needs is absent.
    MissingKey {
        /// The key, without the architecture's prefix.
        key: &'static str,
    },
    /// A metadata value is of the wrong type or out of its range.
    BadValue {
        /// The key, without the architecture's prefix.
        key: &'static str,
    },
    /// A tensor the model needs is absent.
    MissingTensor {
        /// The tensor, without its layer's prefix.
        name: &'static str,
        /// The layer, or `u32::MAX` for the model's own.
        layer: u32,
    },
    /// A tensor has another shape or element type than the model's metadata asks for.
    BadShape {
        /// The tensor, without its layer's prefix.
        name: &'static str,
        /// The layer, or `u32::MAX` for the model's own.
        layer: u32,
    },
    /// A weight or scale is infinite or not a number.
    NotFinite {
        /// Where.
        offset: usize,
    },
    /// The model's numbers overflowed while running: its logits are useless.
    Overflow,
    /// The memory given is too small.
    OutOfMemory {
        /// Bytes needed.
        need: usize,
        /// Bytes given.
        have: usize,
    },
    /// A size does not fit this machine's address space.
    TooLarge,
    /// Memory or a file does not start at a multiple of 8 bytes.
    Misaligned,
    /// A token id is not below the vocabulary's size.
    BadToken {
        /// The id.
        id: u32,
        /// The vocabulary's size.
        n_vocab: u32,
    },
    /// The model file holds no tokenizer.
    NoTokenizer,
    /// The text holds bytes that the vocabulary cannot express.
    Unencodable {
        /// The first such byte, from the start of the text.
        offset: usize,
    },
    /// The text is longer than the session was laid out for.
    TextTooLong {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// More tokens than the context can hold.
    PromptTooLong {
        /// Tokens the context would have to hold.
        len: usize,
        /// Tokens it can hold.
        max: usize,
    },
    /// `run` without a prompt, on a model that names no token to begin with.
    NothingFed,
    /// Logits were asked for while the queue was not yet worked through.
    NoLogits,
    /// A parameter is out of its range.
    BadParam {
        /// Its name.
        name: &'static str,
    },
    /// A snapshot that was not taken from a session like this one.
    BadSnapshot {
        /// What differs.
        what: &'static str,
    },
    /// The model file has not arrived in full.
    NotLoaded,
    /// A fixed table (stop strings, stop tokens, logit biases) is full.
    Full {
        /// Which.
        what: &'static str,
        /// How many it holds.
        max: u32,
    },
    /// A required pointer is NULL (C ABI).
    Null {
        /// The parameter.
        name: &'static str,
    },
    /// A handle that was never initialised, or whose memory was overwritten (C ABI).
    DeadHandle {
        /// The parameter.
        name: &'static str,
    },
    /// A structure states a size that no version of it had (C ABI).
    BadStruct {
        /// The parameter.
        name: &'static str,
    },
    /// A buffer for an answer is too small; nothing was written.
    BufferTooSmall {
        /// Elements needed.
        need: usize,
        /// Elements given.
        have: usize,
    },
    /// Something this crate takes for impossible: please report it.
    Internal,
    /// Two areas of memory that must be apart share bytes (C ABI).
    Overlap {
        /// The parameter.
        name: &'static str,
    },
    /// An area of memory that wraps around or ends outside of memory (C ABI).
    BadRange {
        /// The parameter.
        name: &'static str,
    },
    /// An input or a state has another length than the model takes.
    BadInput {
        /// Its length.
        len: usize,
        /// Of what, and how it must be.
        what: &'static str,
        /// That number.
        n: usize,
    },
}

impl Error {
    /// The status code of the C ABI: negative, and never given to another error.
    #[must_use]
    pub fn code(&self) -> i32 {
        match self {
            Self::Truncated { .. } => -1,
            Self::BadMagic => -2,
            Self::BadVersion { .. } => -3,
            Self::Corrupt { .. } => -4,
            Self::UnsupportedArch { .. } => -5,
            Self::UnsupportedType { .. } => -6,
            Self::Unsupported { .. } => -7,
            Self::MissingKey { .. } => -8,
            Self::BadValue { .. } => -9,
            Self::MissingTensor { .. } => -10,
            Self::BadShape { .. } => -11,
            Self::NotFinite { .. } => -12,
            Self::Overflow => -13,
            Self::OutOfMemory { .. } => -14,
            Self::TooLarge => -15,
            Self::Misaligned => -16,
            Self::BadToken { .. } => -17,
            Self::NoTokenizer => -18,
            Self::Unencodable { .. } => -19,
            Self::TextTooLong { .. } => -20,
            Self::PromptTooLong { .. } => -21,
            Self::NothingFed => -22,
            Self::NoLogits => -23,
            Self::BadParam { .. } => -24,
            Self::BadSnapshot { .. } => -25,
            Self::NotLoaded => -26,
            Self::Full { .. } => -27,
            Self::Null { .. } => -28,
            Self::DeadHandle { .. } => -29,
            Self::BadStruct { .. } => -30,
            Self::BufferTooSmall { .. } => -31,
            Self::Internal => -32,
            Self::Overlap { .. } => -33,
            Self::BadRange { .. } => -34,
            Self::BadInput { .. } => -35,
        }
    }

    /// The byte offset in the model file (or the text) that the error is about, else 0.
    #[must_use]
    pub fn offset(&self) -> usize {
        match *self {
            Self::Truncated { offset, .. }
            | Self::Corrupt { offset, .. }
            | Self::UnsupportedArch { offset }
            | Self::UnsupportedType { offset, .. }
            | Self::NotFinite { offset }
            | Self::Unencodable { offset } => offset,
            _ => 0,
        }
    }

    /// Writes the error as one sentence, piece by piece.
    pub fn write(&self, out: &mut dyn FnMut(&str)) {
        let (sentence, word, a, b) = self.sentence();
        let mut rest = sentence;
        // Cut before every mark and after its one letter.
        while let Some((text, marked)) = rest.split_once('%') {
            out(text);
            let (mark, after) = marked.split_at_checked(1).unwrap_or_default();
            match mark {
                "s" => out(word),
                "a" => write_number(out, a),
                "b" => write_number(out, b),
                _ if b != u32::MAX as usize => {
                    out(" of layer ");
                    write_number(out, b);
                }
                _ => {}
            }
            rest = after;
        }
        out(rest);
    }

    /// The sentence, with marks for what to put in: `%s` the word, `%a` and
    /// `%b` the numbers, `%l` the layer if the second number is one.
    fn sentence(&self) -> (&'static str, &'static str, usize, usize) {
        match *self {
            Self::Truncated { offset, need } => (
                "the model file is cut short: at byte %a it needs to be at least %b bytes long; download it again",
                "",
                offset,
                need,
            ),
            Self::BadMagic => {
                ("this is not a GGUF file: it does not begin with \"GGUF\"", "", 0, 0)
            }
            Self::BadVersion { version } => (
                "version %a of the file format cannot be read; GGUF version 2 or 3 is needed",
                "",
                version as usize,
                0,
            ),
            Self::Corrupt { offset, what } => {
                ("the model file is damaged at byte %a: %s", what, offset, 0)
            }
            Self::UnsupportedArch { offset } => {
                ("the architecture named at byte %a is not supported by this build", "", offset, 0)
            }
            Self::UnsupportedType { offset, ggml_type } => (
                "the tensor described at byte %a has ggml type %b, which is not supported; use f32, f16, q8_0 or q4_0",
                "",
                offset,
                ggml_type as usize,
            ),
            Self::Unsupported { what } => ("not supported: %s", what, 0, 0),
            Self::MissingKey { key } => ("the model file lacks the metadata key %s", key, 0, 0),
            Self::BadValue { key } => {
                ("the model file's metadata key %s has a value that makes no sense", key, 0, 0)
            }
            Self::MissingTensor { name, layer } => {
                ("the model file lacks the tensor %s%l", name, 0, layer as usize)
            }
            Self::BadShape { name, layer } => (
                "the shape or type of the tensor %s%l does not fit the model's metadata",
                name,
                0,
                layer as usize,
            ),
            Self::NotFinite { offset } => {
                ("the weight at byte %a is infinite or not a number", "", offset, 0)
            }
            Self::Overflow => (
                "the model's numbers overflowed, so there is no next token; the weights are probably damaged",
                "",
                0,
                0,
            ),
            Self::OutOfMemory { need, have } => {
                ("too little memory: %a bytes are needed and %b were given", "", need, have)
            }
            Self::TooLarge => (
                "the model or context is too large for this machine's address space; use a smaller context",
                "",
                0,
                0,
            ),
            Self::Misaligned => {
                ("memory and model files must start at a multiple of 8 bytes", "", 0, 0)
            }
            Self::BadToken { id, n_vocab } => (
                "token id %a is out of range: the vocabulary has %b tokens",
                "",
                id as usize,
                n_vocab as usize,
            ),
            Self::NoTokenizer => {
                ("the model file holds no tokenizer: feed token ids instead of text", "", 0, 0)
            }
            Self::Unencodable { offset } => {
                ("the vocabulary has no token for the text at byte %a", "", offset, 0)
            }
            Self::TextTooLong { len, max } => (
                "the text is %a bytes long and this session takes at most %b; raise max_text",
                "",
                len,
                max,
            ),
            Self::PromptTooLong { len, max } => (
                "the context would have to hold %a tokens and holds at most %b; shorten the prompt",
                "",
                len,
                max,
            ),
            Self::NothingFed => (
                "there is nothing to continue: feed a prompt first (this model names no token to begin with)",
                "",
                0,
                0,
            ),
            Self::NoLogits => {
                ("there are no logits yet: feed tokens and call eval until it is done", "", 0, 0)
            }
            Self::BadParam { name } => ("the parameter %s is out of its range", name, 0, 0),
            Self::BadSnapshot { what } => {
                ("the snapshot does not belong to a session like this one: %s", what, 0, 0)
            }
            Self::NotLoaded => ("the model file has not arrived in full yet", "", 0, 0),
            Self::Full { what, max } => {
                ("no room for another %s: %a are held at most", what, max as usize, 0)
            }
            Self::Null { name } => ("the pointer %s is NULL", name, 0, 0),
            Self::DeadHandle { name } => (
                "the handle %s is not alive: it was never initialised, or its memory was overwritten",
                name,
                0,
                0,
            ),
            Self::BadStruct { name } => {
                ("struct_size of %s must be set to the size of the structure", name, 0, 0)
            }
            Self::BufferTooSmall { need, have } => {
                ("the buffer holds %a elements and %b are needed", "", have, need)
            }
            Self::Internal => ("internal error: please report it", "", 0, 0),
            Self::Overlap { name } => (
                "the memory of %s shares bytes with memory that is in use; keep them apart",
                name,
                0,
                0,
            ),
            Self::BadInput { len, what, n } => ("the input is %a %s %b", what, len, n),
            Self::BadRange { name } => {
                ("the memory of %s wraps around or ends outside of memory", name, 0, 0)
            }
        }
    }
}

/// Writes decimal digits, most significant first.
fn write_number(out: &mut dyn FnMut(&str), number: usize) {
    const DIGITS: &str = "0123456789";
    if number >= 10 {
        write_number(out, number / 10);
    }
    let digit = number % 10;
    out(DIGITS.get(digit..=digit).unwrap_or_default());
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut result = Ok(());
        self.write(&mut |text| result = result.and_then(|()| f.write_str(text)));
        result
    }
}

impl core::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn numbers_are_written_in_full() {
        let err = Error::OutOfMemory { need: usize::MAX, have: 0 };
        assert_eq!(
            err.to_string(),
            "too little memory: 18446744073709551615 bytes are needed and 0 were given"
        );
    }

    #[test]
    fn layer_is_named_only_where_there_is_one() {
        let with = Error::MissingTensor { name: "attn_qkv.weight", layer: 3 };
        let without = Error::MissingTensor { name: "token_embd.weight", layer: u32::MAX };
        assert!(with.to_string().ends_with("attn_qkv.weight of layer 3"));
        assert!(without.to_string().ends_with("token_embd.weight"));
    }
}
