//! Metadata values, and the cursor that reads and checks everything.
#![forbid(unsafe_code)]

use crate::error::{Error, Flaw, Result};

/// A metadata value, its integer and float widths widened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Value<'a> {
    /// Any unsigned integer.
    U64(u64),
    /// Any signed integer.
    I64(i64),
    /// Either float.
    F64(f64),
    /// A boolean.
    Bool(bool),
    /// A string: bytes, nominally UTF-8.
    Str(&'a [u8]),
    /// An array of scalars or strings.
    Array(Array<'a>),
}

impl<'a> Value<'a> {
    /// The value as an unsigned integer, if it is a non-negative integer.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::U64(v) => Some(v),
            Self::I64(v) => u64::try_from(v).ok(),
            _ => None,
        }
    }

    /// The value as a number.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::F64(v) => Some(v),
            Self::U64(v) => Some(v as f64),
            Self::I64(v) => Some(v as f64),
            _ => None,
        }
    }

    /// The value as a boolean.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            Self::Bool(v) => Some(v),
            _ => None,
        }
    }

    /// The value as a string's bytes.
    #[must_use]
    pub fn as_str(&self) -> Option<&'a [u8]> {
        match *self {
            Self::Str(v) => Some(v),
            _ => None,
        }
    }

    /// Which of these names the value is.
    #[cfg(feature = "text")]
    pub(crate) fn one_of(&self, names: &[&str]) -> Option<usize> {
        one_of(self.as_str()?, names)
    }

    /// The value as an array.
    #[must_use]
    pub fn as_array(&self) -> Option<Array<'a>> {
        match *self {
            Self::Array(v) => Some(v),
            _ => None,
        }
    }
}

/// Whether it is this name.
#[cfg(feature = "rnn")]
#[inline(never)]
pub(crate) fn is(text: &[u8], name: &str) -> bool {
    text == name.as_bytes()
}

/// Which of these names it is. (Patterns of byte strings would be compared byte
/// by byte, with code for each.)
#[inline(never)]
pub(crate) fn one_of(text: &[u8], names: &[&str]) -> Option<usize> {
    names.iter().position(|name| name.as_bytes() == text)
}

/// The type numbers of metadata values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tag {
    #[default]
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    Str,
    Array,
    U64,
    I64,
    F64,
}

impl Tag {
    fn from_u32(tag: u32) -> Option<Self> {
        Some(match tag {
            0 => Self::U8,
            1 => Self::I8,
            2 => Self::U16,
            3 => Self::I16,
            4 => Self::U32,
            5 => Self::I32,
            6 => Self::F32,
            7 => Self::Bool,
            8 => Self::Str,
            9 => Self::Array,
            10 => Self::U64,
            11 => Self::I64,
            12 => Self::F64,
            _ => return None,
        })
    }

    /// Bytes of a scalar; `None` for what has no fixed size.
    fn size(self) -> Option<usize> {
        match self {
            Self::U8 | Self::I8 | Self::Bool => Some(1),
            Self::U16 | Self::I16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::Str | Self::Array => None,
        }
    }
}

/// An array of scalars or strings, already checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Array<'a> {
    file: &'a [u8],
    start: usize,
    tag: Tag,
    len: usize,
}

impl<'a> Array<'a> {
    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the elements are strings.
    #[must_use]
    pub fn is_strings(&self) -> bool {
        self.tag == Tag::Str
    }

    /// The byte offset of the first element in the file.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.start
    }

    /// An element, found by a walk over those before it.
    #[must_use]
    #[inline(never)]
    pub fn get(&self, i: usize) -> Option<Value<'a>> {
        self.iter().nth(i)
    }

    /// The elements.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let (mut cursor, tag) = (Cursor::at(self.file, self.start), self.tag);
        (0..self.len).map(move |_| cursor.value(tag))
    }

    /// The elements that are strings (none if the array holds another type).
    pub fn iter_strings(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.iter_strings_at().map(|(_, text)| text)
    }

    /// As [`Array::iter_strings`], each with its first byte's offset in the file.
    pub fn iter_strings_at(&self) -> impl Iterator<Item = (usize, &'a [u8])> + use<'a> {
        let len = if self.is_strings() { self.len } else { 0 };
        let mut cursor = Cursor::at(self.file, self.start);
        (0..len).map(move |_| {
            let text = cursor.string();
            (cursor.pos - text.len(), text)
        })
    }
}

/// A long array of strings that was walked over once: from its first element to
/// what follows it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Skip {
    pub(super) from: usize,
    pub(super) to: usize,
}

/// As many long arrays as files have: tokens and merges.
pub(super) type Skips = [Skip; 2];

/// Arrays of fewer strings are walked over each time.
const LONG: usize = 1000;

/// A position in the file; every read is checked. The first failure sticks, so
/// that not every read needs to be asked: loops must look for it, and whoever
/// made the cursor does at the end. Beyond the end of the file all reads give 0
/// or nothing.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    pub(super) file: &'a [u8],
    pub(super) pos: usize,
    pub(super) failed: Result<()>,
    /// What need not be walked over again.
    pub(super) skips: Skips,
}

impl<'a> Cursor<'a> {
    pub(super) fn at(file: &'a [u8], pos: usize) -> Self {
        Self { file, pos, failed: Ok(()), skips: Skips::default() }
    }

    #[inline(never)]
    pub(super) fn fail(&mut self, error: Error) {
        self.failed = self.failed.and(Err(error));
    }

    /// As [`Cursor::fail`], for what stands at `offset`.
    #[inline(never)]
    pub(super) fn corrupt(&mut self, offset: usize, flaw: Flaw) {
        self.fail(Error::Corrupt { offset, flaw });
    }

    /// The result of a sum or product, if it is an address at all.
    #[inline(never)]
    pub(super) fn sized(&mut self, n: Option<usize>) -> usize {
        n.unwrap_or_else(|| {
            self.fail(Error::TooLarge);
            0
        })
    }

    #[inline(never)]
    fn bytes(&mut self, n: usize) -> &'a [u8] {
        let rest = self.file.get(self.pos..).unwrap_or_default();
        let Some(bytes) = rest.get(..n) else {
            self.fail(Error::Truncated { need: self.pos.saturating_add(n) });
            self.file = &[];
            return &[];
        };
        self.pos += n;
        bytes
    }

    /// An unsigned number of so many bytes.
    #[inline(never)]
    fn number(&mut self, size: usize) -> u64 {
        let bytes = self.bytes(size).iter().rev();
        bytes.fold(0, |number, &byte| number << 8 | u64::from(byte))
    }

    pub(super) fn u32(&mut self) -> u32 {
        self.number(4) as u32
    }

    /// A count or size; what no address could hold counts as the largest. (Read
    /// at once: a vocabulary has a hundred thousand of them.)
    #[inline(never)]
    pub(super) fn size(&mut self) -> usize {
        let number = self.bytes(8).first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        usize::try_from(number).unwrap_or(usize::MAX)
    }

    #[inline(never)]
    pub(super) fn string(&mut self) -> &'a [u8] {
        let len = self.size();
        self.bytes(len)
    }

    #[inline(never)]
    pub(super) fn tag(&mut self) -> Tag {
        let here = self.pos;
        let tag = Tag::from_u32(self.u32());
        tag.unwrap_or_else(|| {
            self.corrupt(here, Flaw::MetadataType);
            Tag::U8
        })
    }

    /// Reads, and so checks, one value.
    #[inline(never)]
    pub(super) fn value(&mut self, tag: Tag) -> Value<'a> {
        let Some(size) = tag.size() else {
            return match tag {
                Tag::Str => Value::Str(self.string()),
                _ => Value::Array(self.array_value()),
            };
        };
        let bits = self.number(size);
        // Moved up and down again, the sign fills what is left.
        let unused = 64 - 8 * size as u32;
        let signed = (bits << unused) as i64 >> unused;
        match tag {
            Tag::I8 | Tag::I16 | Tag::I32 | Tag::I64 => Value::I64(signed),
            Tag::F32 => Value::F64(f64::from(f32::from_bits(bits as u32))),
            Tag::F64 => Value::F64(f64::from_bits(bits)),
            Tag::Bool => Value::Bool(bits != 0),
            _ => Value::U64(bits),
        }
    }

    fn array_value(&mut self) -> Array<'a> {
        let file = self.file;
        let here = self.pos;
        let tag = self.tag();
        let len = self.size();
        let start = self.pos;
        match tag.size() {
            Some(size) => {
                self.bytes(len.saturating_mul(size));
            }
            None if tag == Tag::Str => self.skip_strings(len),
            None => self.corrupt(here, Flaw::NestedArray),
        }
        Array { file, start, tag, len }
    }

    /// Walks over strings, once: the walk is noted where there is a place for it.
    fn skip_strings(&mut self, len: usize) {
        let from = self.pos;
        if let Some(known) = self.skips.iter().find(|skip| skip.from == from) {
            self.pos = known.to;
            return;
        }
        for _ in 0..len {
            if self.failed.is_err() {
                return;
            }
            self.string();
        }
        let free = self.skips.iter_mut().find(|skip| skip.to == 0);
        if let (Some(free), true) = (free, len > LONG) {
            *free = Skip { from, to: self.pos };
        }
    }
}
