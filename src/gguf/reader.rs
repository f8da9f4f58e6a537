//! The walk over a file's header that checks it, and the getters that trust the check.
#![forbid(unsafe_code)]

use super::value::{Cursor, Skips, Value};
use super::{MAGIC_PACKED, MAGIC_PLAIN};
use crate::error::{Error, Flaw, Result};
use crate::quant::DType;

const ALIGNMENT_KEY: &[u8] = b"general.alignment";
const DEFAULT_ALIGNMENT: usize = 32;
const MAX_ALIGNMENT: u64 = 1 << 16;
/// ggml's own limit.
const MAX_DIMS: u32 = 4;

/// A parsed header: metadata, tensor descriptions, and where the data lies.
#[derive(Clone, Copy, Debug)]
pub struct Gguf<'a> {
    file: &'a [u8],
    packed: bool,
    n_kv: usize,
    n_tensors: usize,
    kv_start: usize,
    tensors_start: usize,
    data_start: usize,
    file_size: usize,
    /// The vocabulary is long, and every look-up of a key is a walk.
    skips: Skips,
}

impl<'a> Gguf<'a> {
    /// Parses and checks the whole header. The tensor data behind it may still
    /// be missing: [`Gguf::file_size`] says how long the file will be.
    ///
    /// # Errors
    /// [`Error::Truncated`] if the header is not complete; else what is wrong
    /// with the file, and where.
    pub fn parse(file: &'a [u8]) -> Result<Self> {
        let mut cursor = Cursor::at(file, 0);
        let magic = cursor.u32().to_le_bytes();
        let packed = magic == MAGIC_PACKED;
        if !packed && magic != MAGIC_PLAIN {
            cursor.fail(Error::BadMagic);
        }
        let version = cursor.u32();
        if !(2..=3).contains(&version) {
            cursor.fail(Error::BadVersion { version });
        }
        let n_tensors = cursor.size();
        let n_kv = cursor.size();
        let kv_start = cursor.pos;
        let alignment = check_metadata(&mut cursor, n_kv);
        let tensors_start = cursor.pos;
        let data_size = check_tensors(&mut cursor, n_tensors, alignment);
        // A file of metadata alone may end without the padding.
        let end = cursor.pos;
        let data_start = if n_tensors == 0 { end } else { cursor.sized(align_up(end, alignment)) };
        let file_size = cursor.sized(data_start.checked_add(data_size));
        if data_start > file.len() {
            cursor.fail(Error::Truncated { need: data_start });
        }
        cursor.failed?;
        let skips = cursor.skips;
        Ok(Self {
            file,
            packed,
            n_kv,
            n_tensors,
            kv_start,
            tensors_start,
            data_start,
            file_size,
            skips,
        })
    }

    /// The bytes this view was parsed from.
    #[must_use]
    pub fn file(&self) -> &'a [u8] {
        self.file
    }

    /// Whether the matrices are packed.
    #[must_use]
    pub fn is_packed(&self) -> bool {
        self.packed
    }

    /// Where the tensor data begins.
    #[must_use]
    pub fn data_start(&self) -> usize {
        self.data_start
    }

    /// The size of the whole file in bytes.
    #[must_use]
    pub fn file_size(&self) -> usize {
        self.file_size
    }

    /// How many tensors the file describes.
    #[must_use]
    pub fn n_tensors(&self) -> usize {
        self.n_tensors
    }

    /// All metadata, in file order.
    #[must_use]
    pub fn metadata(&self) -> MetadataIter<'a> {
        let cursor = Cursor { skips: self.skips, ..Cursor::at(self.file, self.kv_start) };
        MetadataIter { cursor, left: self.n_kv }
    }

    /// The first value under `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        self.metadata().find(|(name, _)| *name == key.as_bytes()).map(|(_, value)| value)
    }

    /// Where the next description of `tensors` stands, to go on with later
    /// when the file is borrowed otherwise.
    pub(crate) fn first_tensor(&self) -> TensorMark {
        TensorMark { pos: self.tensors_start, left: self.n_tensors, data_start: self.data_start }
    }

    /// All tensor descriptions, in file order, which is also the order of their data.
    #[must_use]
    pub fn tensors(&self) -> TensorIter<'a> {
        TensorIter { file: self.file, mark: self.first_tensor() }
    }
}

/// Walks the metadata, and returns the alignment it states.
fn check_metadata(cursor: &mut Cursor<'_>, n_kv: usize) -> usize {
    let mut alignment = DEFAULT_ALIGNMENT;
    let mut left = n_kv;
    while left > 0 && cursor.failed.is_ok() {
        left -= 1;
        let here = cursor.pos;
        let (key, value) = key_value(cursor);
        if key == ALIGNMENT_KEY {
            match value.as_u64() {
                Some(stated)
                    if stated.is_power_of_two() && (8..=MAX_ALIGNMENT).contains(&stated) =>
                {
                    alignment = stated as usize;
                }
                _ => cursor.corrupt(here, Flaw::Alignment),
            }
        }
    }
    alignment
}

/// Walks the tensor descriptions, and returns the size of the data they describe.
fn check_tensors(cursor: &mut Cursor<'_>, n_tensors: usize, alignment: usize) -> usize {
    let mut next = 0;
    let mut end = 0;
    let mut left = n_tensors;
    while left > 0 && cursor.failed.is_ok() {
        left -= 1;
        let info = tensor_info(cursor, 0);
        if info.offset != next {
            cursor.corrupt(info.described_at, Flaw::TensorOrder);
        }
        end = cursor.sized(next.checked_add(info.size));
        next = cursor.sized(align_up(end, alignment));
    }
    end
}

/// Rounds up to a power of two.
fn align_up(n: usize, alignment: usize) -> Option<usize> {
    Some(n.checked_add(alignment - 1)? & !(alignment - 1))
}

fn key_value<'a>(cursor: &mut Cursor<'a>) -> (&'a [u8], Value<'a>) {
    let key = cursor.string();
    let tag = cursor.tag();
    (key, cursor.value(tag))
}

/// The metadata of a file.
#[derive(Clone)]
pub struct MetadataIter<'a> {
    cursor: Cursor<'a>,
    left: usize,
}

impl<'a> Iterator for MetadataIter<'a> {
    type Item = (&'a [u8], Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some(key_value(&mut self.cursor))
    }
}

/// A tensor's description. A matrix has `rows` rows of `cols` numbers each.
#[derive(Clone, Copy, Debug)]
pub struct TensorInfo<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Where in the file this description stands.
    pub described_at: usize,
    /// 1 for a vector, 2 for a matrix.
    pub n_dims: u32,
    /// The product of all dimensions but the innermost; 1 for a vector.
    pub rows: usize,
    /// The innermost dimension.
    pub cols: usize,
    /// How its numbers are stored.
    pub dtype: DType,
    /// Where its data begins, from the start of the file.
    pub offset: usize,
    /// The size of its data in bytes.
    pub size: usize,
}

impl TensorInfo<'_> {
    /// The bytes of its data.
    #[must_use]
    pub fn range(&self) -> core::ops::Range<usize> {
        self.offset..self.offset + self.size
    }
}

#[inline(never)]
fn tensor_info<'a>(cursor: &mut Cursor<'a>, data_start: usize) -> TensorInfo<'a> {
    let described_at = cursor.pos;
    let name = cursor.string();
    let n_dims = cursor.u32();
    if n_dims == 0 || n_dims > MAX_DIMS {
        cursor.corrupt(described_at, Flaw::TensorDims);
    }
    let cols = cursor.size();
    let mut rows = 1usize;
    for _ in 1..n_dims.min(MAX_DIMS) {
        let dim = cursor.size();
        rows = cursor.sized(rows.checked_mul(dim));
    }
    let ggml_type = cursor.u32();
    let dtype = DType::from_ggml(ggml_type).unwrap_or_else(|| {
        let ggml_type = u8::try_from(ggml_type).unwrap_or(u8::MAX);
        cursor.fail(Error::UnsupportedType { offset: described_at, ggml_type });
        DType::F32
    });
    let row_bytes = dtype.row_bytes(cols).unwrap_or_else(|| {
        cursor.corrupt(described_at, Flaw::TensorBlocks);
        0
    });
    let size = cursor.sized(row_bytes.checked_mul(rows));
    if size == 0 {
        cursor.corrupt(described_at, Flaw::TensorEmpty);
    }
    let offset = cursor.size();
    let offset = cursor.sized(offset.checked_add(data_start));
    TensorInfo { name, described_at, n_dims, rows, cols, dtype, offset, size }
}

/// A place in the tensor descriptions of a file that was parsed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TensorMark {
    pos: usize,
    left: usize,
    data_start: usize,
}

impl TensorMark {
    /// Whether no tensor is described here or later.
    pub(crate) fn is_last(&self) -> bool {
        self.left == 0
    }

    /// The tensor described here in `file`, and the mark of the one after it.
    pub(crate) fn read<'f>(&self, file: &'f [u8]) -> Option<(TensorInfo<'f>, Self)> {
        let left = self.left.checked_sub(1)?;
        let mut cursor = Cursor::at(file, self.pos);
        let info = tensor_info(&mut cursor, self.data_start);
        cursor.failed.ok()?;
        Some((info, Self { pos: cursor.pos, left, ..*self }))
    }
}

/// The tensors of a file.
#[derive(Clone)]
pub struct TensorIter<'a> {
    file: &'a [u8],
    mark: TensorMark,
}

impl<'a> Iterator for TensorIter<'a> {
    type Item = TensorInfo<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (info, mark) = self.mark.read(self.file)?;
        self.mark = mark;
        Some(info)
    }
}

impl core::fmt::Debug for Cursor<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Cursor").field("pos", &self.pos).finish_non_exhaustive()
    }
}
