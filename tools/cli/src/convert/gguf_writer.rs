//! Writes GGUF version 3: the header from a list of keys and tensor shapes,
//! then one tensor after the other, each when its numbers are ready.
//!
//! Offsets are known from shapes alone, so the file is written front to back
//! and no tensor but the current one is in memory. What it writes is what
//! <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md> describes.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, ensure};
use pagelm::quant::DType;
use std::io::{Seek, Write};

/// Tensor data starts at multiples of this, the format's default.
const ALIGNMENT: u64 = 32;

/// A metadata value, of the types that our files use.
pub enum Meta {
    U32(u32),
    F32(f32),
    Bool(bool),
    Str(Vec<u8>),
    Strings(Vec<Vec<u8>>),
    I32s(Vec<i32>),
    U32s(Vec<u32>),
    Bools(Vec<bool>),
}

impl Meta {
    /// A string value.
    pub fn str(text: &str) -> Self {
        Self::Str(text.as_bytes().to_vec())
    }

    /// The format's number for this value's type.
    fn type_id(&self) -> u32 {
        match self {
            Self::U32(_) => 4,
            Self::F32(_) => 6,
            Self::Bool(_) => 7,
            Self::Str(_) => 8,
            Self::Strings(_) | Self::I32s(_) | Self::U32s(_) | Self::Bools(_) => 9,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::U32(v) => out.extend(v.to_le_bytes()),
            Self::F32(v) => out.extend(v.to_le_bytes()),
            Self::Bool(v) => out.push(u8::from(*v)),
            Self::Str(v) => put_str(out, v),
            Self::Strings(list) => {
                put_array_head(out, 8, list.len());
                list.iter().for_each(|s| put_str(out, s));
            }
            Self::I32s(list) => {
                put_array_head(out, 5, list.len());
                list.iter().for_each(|v| out.extend(v.to_le_bytes()));
            }
            Self::U32s(list) => {
                put_array_head(out, 4, list.len());
                list.iter().for_each(|v| out.extend(v.to_le_bytes()));
            }
            Self::Bools(list) => {
                put_array_head(out, 7, list.len());
                out.extend(list.iter().map(|&v| u8::from(v)));
            }
        }
    }
}

/// A tensor's place in the header.
pub struct TensorShape {
    pub name: String,
    /// Rows of a matrix; `None` for a vector.
    pub rows: Option<usize>,
    pub cols: usize,
    pub dtype: DType,
}

impl TensorShape {
    /// How many bytes the tensor's data takes.
    pub fn size(&self) -> Result<u64> {
        let row = self.dtype.row_bytes(self.cols);
        let row = row.with_context(|| {
            format!("{}: a row of {} does not fit {}", self.name, self.cols, self.dtype.name())
        })?;
        Ok(row as u64 * self.rows.unwrap_or(1) as u64)
    }
}

/// The whole header, up to where the tensor data begins.
pub fn header(meta: &[(String, Meta)], tensors: &[TensorShape]) -> Result<Vec<u8>> {
    let mut head = b"GGUF".to_vec();
    head.extend(3u32.to_le_bytes());
    head.extend((tensors.len() as u64).to_le_bytes());
    head.extend((meta.len() as u64).to_le_bytes());
    for (key, value) in meta {
        put_str(&mut head, key.as_bytes());
        head.extend(value.type_id().to_le_bytes());
        value.write(&mut head);
    }
    let mut offset = 0u64;
    for t in tensors {
        put_str(&mut head, t.name.as_bytes());
        // The format counts dimensions from the fastest one.
        head.extend((1 + u32::from(t.rows.is_some())).to_le_bytes());
        head.extend((t.cols as u64).to_le_bytes());
        if let Some(rows) = t.rows {
            head.extend((rows as u64).to_le_bytes());
        }
        head.extend((t.dtype as u32).to_le_bytes());
        head.extend(offset.to_le_bytes());
        offset = (offset + t.size()?).next_multiple_of(ALIGNMENT);
    }
    head.resize(head.len().next_multiple_of(ALIGNMENT as usize), 0);
    Ok(head)
}

/// Pads the file with zeros to where the next tensor begins.
pub fn pad(out: &mut (impl Write + Seek)) -> Result<()> {
    let at = out.stream_position()?;
    let zeros = [0u8; ALIGNMENT as usize];
    out.write_all(&zeros[..(at.next_multiple_of(ALIGNMENT) - at) as usize])?;
    Ok(())
}

fn put_str(out: &mut Vec<u8>, text: &[u8]) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text);
}

fn put_array_head(out: &mut Vec<u8>, elem_type: u32, len: usize) {
    out.extend(elem_type.to_le_bytes());
    out.extend((len as u64).to_le_bytes());
}

/// Checks that a value fits the format's 32-bit integers.
pub fn u32_of(key: &str, value: usize) -> Result<Meta> {
    ensure!(
        u32::try_from(value).is_ok(),
        "{key} is {value}, which is too large for the file format"
    );
    Ok(Meta::U32(value as u32))
}
