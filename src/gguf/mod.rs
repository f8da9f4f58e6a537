//! GGUF model files as a checked view: parse once, then nothing can fail for bounds.
//!
//! The [format] in short, all numbers little-endian:
//!
//! ```text
//! magic "GGUF" | version u32 (2 or 3) | n_tensors u64 | n_kv u64
//! n_kv    x { key: string, type: u32, value }           string = length u64, bytes
//! n_tensors x { name: string, n_dims u32, dims u64 x n_dims, type u32, offset u64 }
//! padding to `general.alignment` (32 unless stated)
//! tensor data, each tensor padded to the alignment, in the order described
//! ```
//!
//! A *packed* file is the same but for its magic, `PLM1`, and the order of the
//! words inside each matrix (see [`crate::quant::pack_in_place`]). It is never mistaken
//! for plain GGUF, and it can be used from read-only memory.
//!
//! The view borrows the file and holds no table, so each look-up is a walk.
//!
//! [format]: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#![forbid(unsafe_code)]

mod reader;
mod value;

pub(crate) use reader::TensorMark;
pub use reader::{Gguf, MetadataIter, TensorInfo, TensorIter};
#[cfg(feature = "rnn")]
pub(crate) use value::is;
pub(crate) use value::one_of;
pub use value::{Array, Value};

/// The magic of a plain file.
pub const MAGIC_PLAIN: [u8; 4] = *b"GGUF";
/// The magic of a packed file.
pub const MAGIC_PACKED: [u8; 4] = *b"PLM1";
