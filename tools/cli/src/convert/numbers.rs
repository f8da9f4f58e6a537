//! Bytes of checkpoints as f32.
#![forbid(unsafe_code)]

use half::{bf16, f16};

/// Little-endian f32.
pub fn f32s(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// Little-endian f64, rounded to f32.
pub fn f64s(bytes: &[u8]) -> Vec<f32> {
    let wide = bytes.chunks_exact(8);
    wide.map(|b| f64::from_le_bytes(b.try_into().expect("eight bytes")) as f32).collect()
}

/// Little-endian IEEE half precision.
pub fn f16s(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
}

/// Little-endian bfloat16.
pub fn bf16s(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_reads_back() {
        assert_eq!(f32s(&1.5f32.to_le_bytes()), [1.5]);
        assert_eq!(f64s(&1.5f64.to_le_bytes()), [1.5]);
        assert_eq!(f16s(&0x3e00u16.to_le_bytes()), [1.5]);
        assert_eq!(bf16s(&0x3fc0u16.to_le_bytes()), [1.5]);
    }
}
