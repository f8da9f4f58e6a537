//! What can go wrong, as small values: a cause, numbers, and advice in words.
//!
//! Nothing here allocates and nothing panics; [`Error::write`] builds the
//! sentence piece by piece, so that the C ABI needs no formatting machinery.
#![forbid(unsafe_code)]

use core::fmt;

/// The result of everything fallible in this crate.
pub type Result<T> = core::result::Result<T, Error>;

/// Sizes inside the engine that do not agree: what this crate takes for
/// impossible. It takes no room, so that a result of what cannot fail otherwise
/// is handed up in a register; a caller gets [`Error::Internal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Impossible;

/// The result of what fails only by a mistake in this crate.
pub type Checked<T> = core::result::Result<T, Impossible>;

impl fmt::Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Error::from(*self).fmt(f)
    }
}

impl core::error::Error for Impossible {}

impl From<Impossible> for Error {
    fn from(_: Impossible) -> Self {
        Self::Internal
    }
}

/// A word in an error: a thin pointer, so that an error fits two machine words
/// on a 32-bit target and is handed up in registers.
pub type Word = &'static &'static str;

/// No layer: the tensor is the model's own.
pub const NO_LAYER: u16 = u16::MAX;

/// An error: what, where (byte offsets are from the start of the model file),
/// and, in its text, what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The file ends before what its header promises.
    Truncated {
        /// How long the file would have to be at least, as far as is known.
        need: usize,
    },
    /// The first four bytes are neither GGUF's nor a packed file's.
    BadMagic,
    /// A version of GGUF that this build cannot read.
    BadVersion {
        /// The version the file states.
        version: u32,
    },
    /// The file contradicts itself or the format.
    Corrupt {
        /// Where.
        offset: usize,
        /// What is wrong there.
        flaw: Flaw,
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
        /// The ggml type number (255: or more).
        ggml_type: u8,
    },
    /// Something valid that this build does not do.
    Unsupported {
        /// What it is.
        what: Word,
    },
    /// A metadata key the model needs is absent.
    MissingKey {
        /// The key, without the architecture's prefix.
        key: Word,
    },
    /// A metadata value is of the wrong type or out of its range.
    BadValue {
        /// The key, without the architecture's prefix.
        key: Word,
    },
    /// A tensor the model needs is absent.
    MissingTensor {
        /// The tensor, without its layer's prefix.
        name: Word,
        /// The layer, or [`NO_LAYER`].
        layer: u16,
    },
    /// A tensor has another shape or element type than the model's metadata asks for.
    BadShape {
        /// The tensor, without its layer's prefix.
        name: Word,
        /// The layer, or [`NO_LAYER`].
        layer: u16,
    },
    /// A weight or scale is infinite or not a number.
    NotFinite {
        /// Where its row begins.
        offset: usize,
    },
    /// The model's numbers overflowed while running: its outputs are useless.
    Overflow,
    /// The memory given is too small.
    OutOfMemory {
        /// Bytes needed.
        need: usize,
    },
    /// A size does not fit this machine's address space.
    TooLarge,
    /// Memory or a file does not start at a multiple of 8 bytes.
    Misaligned,
    /// A token id is not below the vocabulary's size.
    BadToken {
        /// The id.
        id: u32,
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
        /// Bytes allowed.
        max: usize,
    },
    /// More tokens than the context can hold.
    PromptTooLong {
        /// Tokens the context would have to hold.
        len: usize,
    },
    /// `run` without a prompt, on a model that names no token to begin with.
    NothingFed,
    /// Logits were asked for while the queue was not yet worked through.
    NoLogits,
    /// A parameter is out of its range.
    BadParam {
        /// Its name.
        name: Word,
    },
    /// A snapshot that was not taken from a session like this one.
    BadSnapshot {
        /// What differs.
        what: Word,
    },
    /// The model file has not arrived in full.
    NotLoaded,
    /// A fixed table (stop strings, stop tokens, logit biases) is full.
    Full {
        /// Which.
        what: Word,
        /// How many it holds.
        max: u16,
    },
    /// A required pointer is NULL (C ABI).
    Null {
        /// The parameter.
        name: Word,
    },
    /// A handle that was never initialised, or whose memory was overwritten (C ABI).
    DeadHandle {
        /// The parameter.
        name: Word,
    },
    /// A structure states a size that no version of it had (C ABI).
    BadStruct {
        /// The parameter.
        name: Word,
    },
    /// A buffer for an answer is too small; nothing was written.
    BufferTooSmall {
        /// Elements needed.
        need: usize,
    },
    /// Something this crate takes for impossible: please report it.
    Internal,
    /// Two blocks of memory that must be apart share bytes (C ABI).
    Overlap {
        /// The parameter.
        name: Word,
    },
    /// Memory that wraps around or ends outside of memory (C ABI).
    BadRange {
        /// The parameter.
        name: Word,
    },
    /// The input of a prediction, or a state, has another length than the model's.
    BadInput {
        /// Numbers needed, or a multiple of it.
        need: usize,
    },
}

// Two words: a `Result` without a value is returned in a register on wasm.
#[cfg(target_pointer_width = "32")]
const _: () = assert!(size_of::<Error>() == 8 && size_of::<Result<()>>() == 8);

/// What can be wrong with a file's contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
pub enum Flaw {
    /// A metadata value of an unknown type.
    MetadataType,
    /// An array of arrays.
    NestedArray,
    /// An alignment that is not a power of two from 8 to 65,536.
    Alignment,
    /// Tensor data that does not follow the data before it.
    TensorOrder,
    /// A tensor of no dimension or more than four.
    TensorDims,
    /// Rows that are not whole blocks of their type.
    TensorBlocks,
    /// A dimension of size 0.
    TensorEmpty,
    /// A name that two tensors bear.
    TensorTwice,
    /// A token too long to be one.
    TokenLength,
    /// Two tokens of the same text, or texts made to collide.
    TokenTwice,
    /// A merge of tokens that do not exist.
    Merge,
}

#[cfg(feature = "messages")]
impl Flaw {
    /// What is wrong, in words.
    #[must_use]
    pub fn text(self) -> &'static str {
        line(FLAWS, self as usize)
    }
}

impl Error {
    /// [`Error::Unsupported`], whose words are left out where errors are codes.
    pub(crate) const fn unsupported(what: Word) -> Self {
        Self::Unsupported { what: if cfg!(feature = "messages") { what } else { &"" } }
    }

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
            Self::Corrupt { offset, .. }
            | Self::UnsupportedArch { offset }
            | Self::UnsupportedType { offset, .. }
            | Self::NotFinite { offset }
            | Self::Unencodable { offset } => offset,
            _ => 0,
        }
    }

    /// Writes the error as one sentence, piece by piece; its number, without
    /// the feature `messages`.
    #[cfg(not(feature = "messages"))]
    pub fn write(&self, out: &mut dyn FnMut(&str)) {
        out("error -");
        write_number(out, self.code().unsigned_abs() as usize);
    }

    /// Writes the error as one sentence, piece by piece.
    #[cfg(feature = "messages")]
    pub fn write(&self, out: &mut dyn FnMut(&str)) {
        let (word, a, b) = self.details();
        let mut rest = line(SENTENCES, self.code().unsigned_abs() as usize - 1);
        loop {
            let (text, marked) = cut(rest, b'%');
            out(text);
            match marked.as_bytes().first() {
                None => return,
                Some(b's') => out(word),
                Some(b'a') => write_number(out, a),
                Some(b'b') => write_number(out, b),
                _ if b != usize::from(NO_LAYER) => {
                    out(" of layer ");
                    write_number(out, b);
                }
                _ => {}
            }
            rest = marked.get(1..).unwrap_or_default();
        }
    }

    #[cfg(feature = "messages")]
    /// What to put into the sentence: a word and two numbers.
    fn details(&self) -> (&'static str, usize, usize) {
        match *self {
            Self::Unsupported { what: word }
            | Self::BadSnapshot { what: word }
            | Self::MissingKey { key: word }
            | Self::BadValue { key: word }
            | Self::BadParam { name: word }
            | Self::Null { name: word }
            | Self::DeadHandle { name: word }
            | Self::BadStruct { name: word }
            | Self::Overlap { name: word }
            | Self::BadRange { name: word } => (*word, 0, 0),
            Self::MissingTensor { name, layer } | Self::BadShape { name, layer } => {
                (*name, 0, layer.into())
            }
            Self::Full { what, max } => (*what, max.into(), 0),
            Self::Corrupt { offset, flaw } => (flaw.text(), offset, 0),
            Self::UnsupportedType { offset, ggml_type } => ("", offset, ggml_type.into()),
            Self::BadVersion { version: n } | Self::BadToken { id: n } => ("", n as usize, 0),
            Self::Truncated { need: n }
            | Self::OutOfMemory { need: n }
            | Self::BufferTooSmall { need: n }
            | Self::BadInput { need: n }
            | Self::UnsupportedArch { offset: n }
            | Self::NotFinite { offset: n }
            | Self::Unencodable { offset: n }
            | Self::TextTooLong { max: n }
            | Self::PromptTooLong { len: n } => ("", n, 0),
            Self::BadMagic
            | Self::Overflow
            | Self::TooLarge
            | Self::Misaligned
            | Self::NoTokenizer
            | Self::NothingFed
            | Self::NoLogits
            | Self::NotLoaded
            | Self::Internal => ("", 0, 0),
        }
    }
}

#[cfg(feature = "messages")]
/// The sentences, one a line in the order of the codes: one text is smaller than
/// a table of them. Marks say what to put in: `%s` the word, `%a` and `%b` the
/// numbers, `%l` the layer if the second number is one.
const SENTENCES: &str = "\
the model file is cut short: at least %a bytes are needed; download it again
this is not a GGUF file: it does not begin with \"GGUF\"
version %a of the file format is not supported; use GGUF version 2 or 3
the model file is damaged at byte %a: %s
the architecture named at byte %a is not supported by this build
the tensor described at byte %a has ggml type %b; use f32, f16, q8_0 or q4_0
not supported: %s
the model file lacks the metadata key %s
the metadata key %s has a value that makes no sense
the model file lacks the tensor %s%l
the shape or type of the tensor %s%l does not fit the metadata
the weights at byte %a are infinite or not numbers
the model's numbers overflowed; the weights are probably damaged
too little memory: %a bytes are needed
too large for this machine's memory; use a smaller context
memory and files must start at a multiple of 8 bytes
token id %a is not in the vocabulary
the model file holds no tokenizer: feed token ids
the vocabulary has no token for the text at byte %a
the text is longer than %a bytes; raise max_text
the context cannot hold %a tokens; shorten the prompt
there is nothing to continue: feed a prompt first
there are no logits yet: call eval until it is done
the parameter %s is out of its range
the snapshot does not fit this session: %s
the model file has not arrived in full
no room for another %s: %a are held at most
the pointer %s is NULL
the handle %s was not initialised, or was overwritten
struct_size of %s must be the size of the structure
the buffer is too small: %a elements are needed
internal error: please report it
the memory of %s overlaps memory that is in use
the memory of %s ends outside of memory
the input is too short or too long: %a numbers, or a multiple, are needed";

#[cfg(feature = "messages")]
/// The flaws in words, likewise.
const FLAWS: &str = "\
an unknown type of metadata value
an array of arrays
general.alignment is not a power of two from 8 to 65536
a tensor's data does not follow the one before it
a tensor has no dimension or more than four
a tensor's rows are not whole blocks of its type
a tensor has a dimension of size 0
a tensor is described twice
a token is too long
two tokens have the same text, or are made to collide
a merge is not of two tokens that make a third";

#[cfg(feature = "messages")]
/// The line `n` of a text, counted from 0.
fn line(mut text: &'static str, n: usize) -> &'static str {
    for _ in 0..n {
        text = cut(text, b'\n').1;
    }
    cut(text, b'\n').0
}

#[cfg(feature = "messages")]
/// A text before the first `mark`, and after it.
#[inline(never)]
fn cut(text: &'static str, mark: u8) -> (&'static str, &'static str) {
    let end = text.bytes().position(|byte| byte == mark).unwrap_or(text.len());
    let (before, rest) = text.split_at_checked(end).unwrap_or_default();
    (before, rest.get(1..).unwrap_or_default())
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

#[cfg(all(test, feature = "messages"))]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn numbers_are_written_in_full() {
        let text = Error::OutOfMemory { need: usize::MAX }.to_string();
        assert_eq!(text, std::format!("too little memory: {} bytes are needed", usize::MAX));
        assert!(Error::BadToken { id: 0 }.to_string().contains("token id 0 is"));
    }

    #[test]
    fn every_code_and_every_flaw_has_its_line() {
        assert_eq!(SENTENCES.lines().count(), 35);
        let last = Error::BadInput { need: 7 };
        assert_eq!(last.code(), -35);
        assert!(last.to_string().starts_with("the input is too"));
        assert!(Error::Internal.to_string().starts_with("internal error"));
        assert_eq!(FLAWS.lines().count(), Flaw::Merge as usize + 1);
        assert!(Flaw::Merge.text().starts_with("a merge"));
        assert!(Flaw::TensorTwice.text().ends_with("twice"));
    }

    #[test]
    fn layer_is_named_only_where_there_is_one() {
        let with = Error::MissingTensor { name: &"attn_qkv.weight", layer: 3 };
        let without = Error::MissingTensor { name: &"token_embd.weight", layer: NO_LAYER };
        assert!(with.to_string().ends_with("attn_qkv.weight of layer 3"));
        assert!(without.to_string().ends_with("token_embd.weight"));
    }
}
