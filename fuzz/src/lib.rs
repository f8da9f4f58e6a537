//! What the targets share.
#![forbid(unsafe_code)]

/// Memory that starts at a multiple of 8 and holds anything but zeros. Its length is exact,
/// so that AddressSanitizer sees the first byte beyond (up to the next multiple of 8).
pub struct Block {
    words: Vec<u64>,
    size: usize,
}

impl Block {
    pub fn new(size: usize) -> Self {
        Self { words: vec![0xa5a5_a5a5_a5a5_a5a5; size.div_ceil(8)], size }
    }

    pub fn of(bytes: &[u8]) -> Self {
        let mut block = Self::new(bytes.len());
        block.bytes().copy_from_slice(bytes);
        block
    }

    pub fn bytes(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.size]
    }
}

/// The fuzzer's bytes, taken from the front; zeros behind the last.
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes([0; 4].map(|_: u8| self.byte()))
    }

    /// A small number most of the time.
    pub fn number(&mut self) -> u32 {
        match self.byte() {
            255 => self.u32(),
            small => u32::from(small),
        }
    }

    /// Up to 255 bytes.
    pub fn text(&mut self) -> &'a [u8] {
        let n = usize::from(self.byte()).min(self.0.len());
        let (text, rest) = self.0.split_at(n);
        self.0 = rest;
        text
    }

    /// Up to 63 numbers, any bits.
    pub fn floats(&mut self) -> Vec<f32> {
        (0..self.byte() % 64).map(|_| f32::from_bits(self.u32())).collect()
    }

    /// Up to 63 small numbers.
    pub fn numbers(&mut self) -> Vec<u32> {
        (0..self.byte() % 64).map(|_| self.number()).collect()
    }
}
