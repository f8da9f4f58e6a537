//! What several tests need.
#![forbid(unsafe_code)]
#![allow(dead_code)] // each test takes its part

pub mod metadata;

use pagelm::{Model, Progress, Session, SessionParams};

/// Bytes at an address that is a multiple of 8.
pub struct Aligned {
    words: Vec<u64>,
    len: usize,
}

impl Aligned {
    pub fn zeroed(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(8)], len }
    }

    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.len]
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.len]
    }
}

impl From<Vec<u8>> for Aligned {
    fn from(bytes: Vec<u8>) -> Self {
        let mut aligned = Self::zeroed(bytes.len());
        aligned.bytes_mut().copy_from_slice(&bytes);
        aligned
    }
}

/// A session's memory, of exactly the size that the query says.
pub fn session_mem(model: &Model, params: &SessionParams) -> Aligned {
    Aligned::zeroed(Session::mem_size(model, params).unwrap())
}

/// The logits after each of `ids`, (n_pos, n_vocab), in batches of `n_batch`.
pub fn all_logits(model: &Model, ids: &[u32], n_batch: u32) -> Vec<f32> {
    let params = SessionParams { n_batch, all_logits: true, ..SessionParams::default() };
    let mut mem = session_mem(model, &params);
    let mut session = Session::new(model, mem.bytes_mut(), &params).unwrap();
    session.feed_ids(ids).unwrap();
    let mut all = Vec::new();
    loop {
        let progress = session.eval(0).unwrap();
        for row in 0..session.n_logits_rows() {
            all.extend_from_slice(session.logits_row(row).unwrap());
        }
        if progress == Progress::Ready {
            return all;
        }
    }
}
