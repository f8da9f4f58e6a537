//! Snapshots: all that a session remembers, as bytes that any build restores.
//!
//! ```text
//! magic "PLSS" | version u32 | model's fingerprint u64 | n_ctx u32 | length u32
//! head | history | queue | stops | logit biases | text | logits (last row) | keys and values
//! ```
//!
//! Of every array only what is in use is written, so a short text makes a
//! small snapshot. A batch that was in progress is begun again after a restore,
//! with the same result.
#![forbid(unsafe_code)]

use super::{Head, Session};
use crate::error::{Error, Result, Word};
use crate::models::Cursor;
use crate::slices;
use bytemuck::{Pod, Zeroable};

const MAGIC: u32 = u32::from_le_bytes(*b"PLSS");
const VERSION: u32 = 1;

#[derive(Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
struct Preamble {
    magic: u32,
    version: u32,
    fingerprint: u64,
    n_ctx: u32,
    /// Bytes of the whole snapshot.
    len: u32,
}

impl Session<'_> {
    /// Bytes of the snapshot that [`Session::snapshot`] would write now.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond 4 GiB.
    pub fn snapshot_size(&self) -> Result<usize> {
        let words = self.used_words(&self.head);
        let cache = self.state.used_len(self.head.n_past as usize);
        let bytes = words.checked_add(cache).and_then(|n| n.checked_mul(4));
        let fixed = size_of::<Preamble>() + size_of::<Head>() + size_of_val(&self.stops.counts);
        let text = self.stops.text.len() + self.head.text_len as usize;
        let size = bytes.and_then(|n| n.checked_add(fixed + text)).ok_or(Error::TooLarge)?;
        u32::try_from(size).map_err(|_| Error::TooLarge)?;
        Ok(size)
    }

    /// Words of the arrays that are not the network's state.
    fn used_words(&self, head: &Head) -> usize {
        let logits = if head.logits_rows > 0 { self.sizes.n_vocab } else { 0 };
        let stops = self.stops.ends.len() + self.stops.tokens.len();
        (head.n_past + head.n_queued + 2 * head.n_bias) as usize + stops + logits
    }

    fn preamble(&self, len: usize) -> Preamble {
        Preamble {
            magic: MAGIC,
            version: VERSION,
            fingerprint: self.model.fingerprint(),
            n_ctx: self.sizes.n_ctx as u32,
            len: len as u32,
        }
    }

    /// Writes a snapshot, and returns its size.
    ///
    /// # Errors
    /// [`Error::BufferTooSmall`]; nothing was written then.
    pub fn snapshot(&mut self, out: &mut [u8]) -> Result<usize> {
        let size = self.snapshot_size()?;
        let need = size;
        let mut rest = out.get_mut(..size).ok_or(Error::BufferTooSmall { need })?;
        let preamble = self.preamble(size);
        let mut write = |bytes: &[u8]| {
            let n = bytes.len().min(rest.len());
            if let Some((head, tail)) = core::mem::take(&mut rest).split_at_mut_checked(n) {
                for (slot, byte) in head.iter_mut().zip(bytes) {
                    *slot = *byte;
                }
                rest = tail;
            }
        };
        write(bytemuck::bytes_of(&preamble));
        // With all_logits only the last row is kept: it becomes the first.
        let mut head = self.head;
        head.logits_rows = head.logits_rows.min(1);
        write(bytemuck::bytes_of(&head));
        self.keep_last_logits();
        self.visit(&mut |bytes| write(bytes));
        Ok(size)
    }

    fn keep_last_logits(&mut self) {
        let (rows, n_vocab) = (self.head.logits_rows as usize, self.sizes.n_vocab);
        if rows > 1 {
            slices::shift_left(self.logits, (rows - 1) * n_vocab);
            self.head.logits_rows = 1;
        }
    }

    /// Takes up where a snapshot was taken.
    ///
    /// # Errors
    /// [`Error::BadSnapshot`] if it is of another model, another context size
    /// or damaged; the session is as it was then.
    pub fn restore(&mut self, snapshot: &[u8]) -> Result<()> {
        let short = Error::BadSnapshot { what: &"it is cut short" };
        let (bytes, rest) = snapshot.split_at_checked(size_of::<Preamble>()).ok_or(short)?;
        let preamble: Preamble = bytemuck::try_pod_read_unaligned(bytes).map_err(|_| short)?;
        self.check_preamble(&preamble, snapshot.len())?;
        let (bytes, rest) = rest.split_at_checked(size_of::<Head>()).ok_or(short)?;
        let head: Head = bytemuck::try_pod_read_unaligned(bytes).map_err(|_| short)?;
        let head = self.check_head(head)?;
        let before = core::mem::replace(&mut self.head, head);
        if self.snapshot_size().ok() != Some(snapshot.len()) {
            self.head = before;
            return Err(Error::BadSnapshot { what: &"its length does not fit its contents" });
        }
        let mut rest = rest;
        self.visit(&mut |bytes| {
            if let Some((head, tail)) = rest.split_at_checked(bytes.len()) {
                slices::copy(bytes, head);
                rest = tail;
            }
        });
        self.tame();
        self.n_attended = 0;
        Ok(())
    }

    fn check_preamble(&self, preamble: &Preamble, len: usize) -> Result<()> {
        let want = self.preamble(len);
        let what: Word = match preamble {
            p if p.magic != want.magic => &"it is not a snapshot",
            p if p.version != want.version => &"it is of another version",
            p if p.fingerprint != want.fingerprint => &"it is of another model",
            p if p.n_ctx != want.n_ctx => &"its context has another size",
            p if p.len != want.len => &"it is cut short",
            _ => return Ok(()),
        };
        Err(Error::BadSnapshot { what })
    }

    /// The head to restore, if every number in it is possible here.
    fn check_head(&self, mut head: Head) -> Result<Head> {
        let n_ctx = self.sizes.n_ctx as u32;
        let possible = head.n_past <= n_ctx
            && head.n_queued <= n_ctx
            && head.logits_rows <= 1
            && head.n_bias as usize <= super::MAX_BIAS
            && head.text_len as usize <= self.text.len()
            && head.released <= head.text_len
            && head.finish as usize <= super::FINISH.len()
            && head.token <= self.model.info().n_vocab
            && head.sampling.check().is_ok();
        if !possible {
            return Err(Error::BadSnapshot { what: &"a number in it is out of range" });
        }
        head.batch = 0;
        head.cursor = Cursor::default();
        Ok(head)
    }

    /// Ids that a damaged snapshot may hold are brought into range.
    fn tame(&mut self) {
        let last = self.model.info().n_vocab.saturating_sub(1);
        for ids in [&mut *self.history, &mut *self.queue] {
            ids.iter_mut().for_each(|id| *id = (*id).min(last));
        }
        self.stops.tame();
    }

    /// Visits the bytes in use, in the snapshot's order.
    #[inline(never)]
    fn visit(&mut self, visit: &mut dyn FnMut(&mut [u8])) {
        let head = self.head;
        let used = |n: u32| n as usize;
        let logits = if head.logits_rows > 0 { self.sizes.n_vocab } else { 0 };
        visit(words(self.history, used(head.n_past)));
        visit(words(self.queue, used(head.n_queued)));
        visit(bytemuck::bytes_of_mut(&mut self.stops.counts));
        visit(self.stops.text);
        visit(words(self.stops.ends, usize::MAX));
        visit(words(self.stops.tokens, usize::MAX));
        visit(words(self.bias_ids, used(head.n_bias)));
        visit(words(self.bias, used(head.n_bias)));
        visit(self.text.get_mut(..used(head.text_len)).unwrap_or_default());
        visit(words(self.logits, logits));
        self.state.visit_used(used(head.n_past), visit);
    }
}

/// The first `n` words of an array, as bytes.
fn words<T: Pod>(array: &mut [T], n: usize) -> &mut [u8] {
    let n = n.min(array.len());
    let used = array.get_mut(..n).unwrap_or_default();
    bytemuck::try_cast_slice_mut(used).unwrap_or_default()
}
