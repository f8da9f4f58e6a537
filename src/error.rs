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
        offset: u64,
        /// How long the file would have to be at least.
        need: u64,
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
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// `general.architecture` is not one this build runs.
    UnsupportedArch {
        /// Where the name stands.
        offset: u64,
    },
    /// A tensor is stored in a format this build cannot read.
    UnsupportedType {
        /// Where the tensor is described.
        offset: u64,
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
        offset: u64,
    },
    /// The model's numbers overflowed while running: its logits are useless.
    Overflow,
    /// The memory given is too small.
    OutOfMemory {
        /// Bytes needed.
        need: u64,
        /// Bytes given.
        have: u64,
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
        offset: u64,
    },
    /// The text is longer than the session was laid out for.
    TextTooLong {
        /// Bytes given.
        len: u64,
        /// Bytes allowed.
        max: u64,
    },
    /// More tokens than the context can hold.
    PromptTooLong {
        /// Tokens the context would have to hold.
        len: u64,
        /// Tokens it can hold.
        max: u64,
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
        need: u64,
        /// Elements given.
        have: u64,
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
}

/// A piece of an error's sentence.
enum Piece {
    /// Words.
    S(&'static str),
    /// A number.
    N(u64),
}
use Piece::{N, S};

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
        }
    }

    /// The byte offset in the model file (or the text) that the error is about, else 0.
    #[must_use]
    pub fn offset(&self) -> u64 {
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
        match *self {
            Self::Truncated { offset, need } => say(
                out,
                &[
                    S("the model file is cut short: at byte "),
                    N(offset),
                    S(" it needs to be at least "),
                    N(need),
                    S(" bytes long; download it again"),
                ],
            ),
            Self::BadMagic => {
                say(out, &[S("this is not a GGUF file: it does not begin with \"GGUF\"")])
            }
            Self::BadVersion { version } => say(
                out,
                &[
                    S("version "),
                    N(u64::from(version)),
                    S(" of the file format cannot be read; GGUF version 2 or 3 is needed"),
                ],
            ),
            Self::Corrupt { offset, what } => {
                say(out, &[S("the model file is damaged at byte "), N(offset), S(": "), S(what)])
            }
            Self::UnsupportedArch { offset } => say(
                out,
                &[
                    S("the architecture named at byte "),
                    N(offset),
                    S(" is not supported; this build runs gpt2"),
                ],
            ),
            Self::UnsupportedType { offset, ggml_type } => say(
                out,
                &[
                    S("the tensor described at byte "),
                    N(offset),
                    S(" has ggml type "),
                    N(u64::from(ggml_type)),
                    S(", which is not supported; use f32, f16, q8_0 or q4_0"),
                ],
            ),
            Self::Unsupported { what } => say(out, &[S("not supported: "), S(what)]),
            Self::MissingKey { key } => {
                say(out, &[S("the model file lacks the metadata key "), S(key)])
            }
            Self::BadValue { key } => say(
                out,
                &[
                    S("the model file's metadata key "),
                    S(key),
                    S(" has a value that makes no sense"),
                ],
            ),
            Self::MissingTensor { name, layer } => {
                say(out, &[S("the model file lacks the tensor "), S(name)]);
                say_layer(out, layer);
            }
            Self::BadShape { name, layer } => {
                say(out, &[S("the shape or type of the tensor "), S(name)]);
                say_layer(out, layer);
                say(out, &[S(" does not fit the model's metadata")]);
            }
            Self::NotFinite { offset } => {
                say(out, &[S("the weight at byte "), N(offset), S(" is infinite or not a number")])
            }
            Self::Overflow => say(
                out,
                &[S(
                    "the model's numbers overflowed, so there is no next token; the weights are probably damaged",
                )],
            ),
            Self::OutOfMemory { need, have } => say(
                out,
                &[
                    S("too little memory: "),
                    N(need),
                    S(" bytes are needed and "),
                    N(have),
                    S(" were given"),
                ],
            ),
            Self::TooLarge => say(
                out,
                &[S(
                    "the model or context is too large for this machine's address space; use a smaller context",
                )],
            ),
            Self::Misaligned => {
                say(out, &[S("memory and model files must start at a multiple of 8 bytes")])
            }
            Self::BadToken { id, n_vocab } => say(
                out,
                &[
                    S("token id "),
                    N(u64::from(id)),
                    S(" is out of range: the vocabulary has "),
                    N(u64::from(n_vocab)),
                    S(" tokens"),
                ],
            ),
            Self::NoTokenizer => {
                say(out, &[S("the model file holds no tokenizer: feed token ids instead of text")])
            }
            Self::Unencodable { offset } => {
                say(out, &[S("the vocabulary has no token for the text at byte "), N(offset)])
            }
            Self::TextTooLong { len, max } => say(
                out,
                &[
                    S("the text is "),
                    N(len),
                    S(" bytes long and this session takes at most "),
                    N(max),
                    S("; raise max_text"),
                ],
            ),
            Self::PromptTooLong { len, max } => say(
                out,
                &[
                    S("the context would have to hold "),
                    N(len),
                    S(" tokens and holds at most "),
                    N(max),
                    S("; shorten the prompt"),
                ],
            ),
            Self::NothingFed => say(
                out,
                &[S(
                    "there is nothing to continue: feed a prompt first (this model names no token to begin with)",
                )],
            ),
            Self::NoLogits => say(
                out,
                &[S("there are no logits yet: feed tokens and call eval until it is done")],
            ),
            Self::BadParam { name } => {
                say(out, &[S("the parameter "), S(name), S(" is out of its range")])
            }
            Self::BadSnapshot { what } => {
                say(out, &[S("the snapshot does not belong to a session like this one: "), S(what)])
            }
            Self::NotLoaded => say(out, &[S("the model file has not arrived in full yet")]),
            Self::Full { what, max } => say(
                out,
                &[
                    S("no room for another "),
                    S(what),
                    S(": "),
                    N(u64::from(max)),
                    S(" are held at most"),
                ],
            ),
            Self::Null { name } => say(out, &[S("the pointer "), S(name), S(" is NULL")]),
            Self::DeadHandle { name } => say(
                out,
                &[
                    S("the handle "),
                    S(name),
                    S(" is not alive: it was never initialised, or its memory was overwritten"),
                ],
            ),
            Self::BadStruct { name } => say(
                out,
                &[S("struct_size of "), S(name), S(" must be set to the size of the structure")],
            ),
            Self::BufferTooSmall { need, have } => say(
                out,
                &[S("the buffer holds "), N(have), S(" elements and "), N(need), S(" are needed")],
            ),
            Self::Internal => say(out, &[S("internal error: please report it")]),
            Self::Overlap { name } => say(
                out,
                &[
                    S("the memory of "),
                    S(name),
                    S(" shares bytes with memory that is in use; keep them apart"),
                ],
            ),
            Self::BadRange { name } => say(
                out,
                &[S("the memory of "), S(name), S(" wraps around or ends outside of memory")],
            ),
        }
    }
}

// Not inlined: called from some forty places, and never in a hurry.
#[inline(never)]
fn say(out: &mut dyn FnMut(&str), pieces: &[Piece]) {
    for piece in pieces {
        match *piece {
            S(text) => out(text),
            N(number) => say_number(out, number),
        }
    }
}

#[inline(never)]
fn say_layer(out: &mut dyn FnMut(&str), layer: u32) {
    if layer != u32::MAX {
        say(out, &[S(" of layer "), N(u64::from(layer))]);
    }
}

/// Decimal digits, most significant first.
#[inline(never)]
fn say_number(out: &mut dyn FnMut(&str), number: u64) {
    const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    // Down from the highest power: the loop's condition keeps the divisor from being zero.
    let mut power = 10_000_000_000_000_000_000u64;
    let mut leading = true;
    while power > 0 {
        let digit = (number / power % 10) as usize;
        leading = leading && digit == 0 && power > 1;
        if !leading {
            out(DIGITS.get(digit).copied().unwrap_or("?"));
        }
        power /= 10;
    }
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
        let err = Error::OutOfMemory { need: u64::MAX, have: 0 };
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
