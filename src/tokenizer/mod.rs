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

mod bpe;
mod encoder;
mod load;
mod pieces;
mod pretokenize;
mod spelling;
mod unicode;
mod unicode_table;
mod vocab;

pub use encoder::{Kind, Tokenizer};
