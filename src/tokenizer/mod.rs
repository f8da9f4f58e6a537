//! Text to token ids and back, from the vocabulary inside a GGUF.
//!
//! Two kinds, by `tokenizer.ggml.model`: `gpt2`, byte-level byte pair encoding,
//! and our own `pagelm.pieces`, the longest piece first, which covers
//! vocabularies of bytes, of characters and of words. A file without that key
//! has no tokenizer, and its model takes ids only.
//!
//! The layout carves tables of `u32` (offsets into the file, ids, hash slots):
//! nothing points, nothing is copied out of the file. What the file says is
//! checked when the tables are made; the work per byte of text is bounded
//! whatever the file says. Functions with several callers are kept out of line
//! (`inline(never)`): each copy is bytes that a page downloads.
#![forbid(unsafe_code)]

#[cfg(feature = "text")]
mod bpe;
#[cfg(feature = "text")]
mod encoder;
#[cfg(feature = "text")]
mod load;
#[cfg(not(feature = "text"))]
mod none;
#[cfg(feature = "text")]
mod pieces;
#[cfg(feature = "text")]
mod pretokenize;
#[cfg(feature = "text")]
mod spelling;
#[cfg(feature = "text")]
mod unicode;
#[cfg(feature = "text")]
mod unicode_table;
#[cfg(feature = "text")]
mod vocab;

#[cfg(feature = "text")]
pub use encoder::Tokenizer;
#[cfg(not(feature = "text"))]
pub use none::Tokenizer;

/// The kinds of tokenizer, in the C ABI's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The file holds none: the model takes ids only.
    None = 0,
    /// Byte-level byte pair encoding.
    Bpe = 1,
    /// The longest piece first: vocabularies of bytes, characters, words.
    Pieces = 2,
}
