//! Loading: a file that arrives piece by piece, packed where it lies.
#![forbid(unsafe_code)]

use super::{Model, lay_net};
use crate::arena::{ALIGN, Reserve};
use crate::error::{Error, Result};
use crate::gguf::{Gguf, MAGIC_PACKED, TensorMark};
use crate::quant::{GROUP, pack_in_place};
use crate::tokenizer::Tokenizer;

/// Numbers in all tensors, and the bytes that packing them needs while they
/// arrive: a group of the longest rows.
pub(super) fn survey(gguf: &Gguf<'_>) -> Result<(usize, usize)> {
    let (mut n_params, mut longest) = (0usize, 0);
    for t in gguf.tensors() {
        n_params = n_params.saturating_add(t.rows * t.cols);
        if t.n_dims == 2 && !gguf.is_packed() {
            longest = longest.max(t.size / t.rows.max(1));
        }
    }
    Ok((n_params, longest.checked_mul(GROUP).ok_or(Error::TooLarge)?))
}

/// Whether a file of `size` bytes that begins at `file` holds what its header promised.
pub(super) fn check_file(promised: usize, file: &[u8], size: usize) -> Result<()> {
    if file.as_ptr().align_offset(crate::arena::BLOCK_ALIGN) != 0 {
        return Err(Error::Misaligned);
    }
    if size < promised {
        return Err(Error::Truncated { need: promised });
    }
    Ok(())
}

/// A model whose file is still arriving: its matrices are packed as they come, so
/// that little is left to do when the last byte is there.
///
/// The file stays with the caller, who writes to it between the calls, so each
/// call is handed what has arrived: the file's first bytes, at one place.
///
/// # Example
///
/// ```no_run
/// # fn more(file: &mut [u8]) -> usize { file.len() }
/// # fn load<'a>(file: &'a mut [u8], mem: &'a mut [u8]) -> pagelm::Result<pagelm::Model<'a>> {
/// let mut arrived = more(file); // with all of the header
/// let mut loader = pagelm::Loader::new(&file[..arrived], file.len(), mem)?;
/// while !loader.advance(&mut file[..arrived])? {
///     arrived = more(file);
/// }
/// loader.finish(file)
/// # }
/// ```
pub struct Loader<'a> {
    /// Where the network's table will be, once the file is whole.
    net: &'a mut [u8],
    /// Made when the header was there, still without the file.
    tokenizer: Tokenizer<'a>,
    scratch: &'a mut [u8],
    /// Bytes of the model's memory, numbers in its tensors.
    sizes: (usize, usize),
    next: TensorMark,
    /// Bytes of that tensor that are packed.
    done: usize,
    /// Bytes that the last call was given: they cannot have become fewer.
    arrived: usize,
    file_size: usize,
    packed: bool,
}

impl<'a> Loader<'a> {
    /// Begins with the bytes that have `arrived`, at least the header, of a file
    /// of `file_size` bytes. What the header describes is checked here, before
    /// the tensors are waited for. `mem` takes [`crate::ModelInfo::model_mem_size`].
    ///
    /// # Errors
    /// [`Error::Truncated`] if the header is not complete or the file is
    /// shorter than its header promises; else what is wrong.
    pub fn new(arrived: &[u8], file_size: usize, mem: &'a mut [u8]) -> Result<Self> {
        let gguf = Gguf::parse(arrived)?;
        check_file(gguf.file_size(), arrived, file_size)?;
        let info = Model::outline(arrived)?.info;
        let need = info.model_mem_size;
        let mut count = Reserve::count();
        lay_net(&mut count, &gguf)?;
        // What follows in `Model::with` begins at the next multiple of ALIGN.
        let net_size = count.finish()?.next_multiple_of(ALIGN);
        if mem.len() < need {
            return Err(Error::OutOfMemory { need });
        }
        let (net, rest) = mem.split_at_mut_checked(net_size).ok_or(Error::Internal)?;
        lay_net(&mut Reserve::carve(net), &gguf)?;
        let mut rest = Reserve::carve(rest);
        let tokenizer = Tokenizer::lay(&mut rest, &gguf)?;
        let scratch = rest.take(survey(&gguf)?.1);
        rest.finish()?;
        let (next, packed) = (gguf.first_tensor(), gguf.is_packed());
        let arrived = arrived.len();
        Ok(Self {
            net,
            tokenizer,
            scratch,
            sizes: (need, info.n_params),
            next,
            done: 0,
            arrived,
            file_size,
            packed,
        })
    }

    /// Packs what is there of the matrices in the bytes that have `arrived` by
    /// now, in whole groups of rows. Returns whether the file is complete.
    ///
    /// # Errors
    /// [`Error::NotFinite`] for a weight that is no number; the file is spoiled
    /// then and must be loaded again. [`Error::BadParam`] if fewer bytes are
    /// there than before.
    pub fn advance(&mut self, arrived: &mut [u8]) -> Result<bool> {
        if arrived.len() < self.arrived {
            return Err(Error::BadParam { name: &"available" });
        }
        self.arrived = arrived.len();
        while let Some((info, after)) = self.next.read(arrived) {
            let (offset, size, row) = (info.offset, info.size, info.size / info.rows.max(1));
            let there = arrived.len().saturating_sub(offset).min(size);
            let is_whole = there == size;
            // Groups of rows as they arrive; the rows after the last group at the end.
            let to = if is_whole { size } else { there - there % (row * GROUP).max(1) };
            // A vector is a matrix of one row here: checked, and too small to be packed.
            if info.n_dims <= 2 && !self.packed {
                let (dtype, cols, from) = (info.dtype, info.cols, offset + self.done);
                let data = arrived.get_mut(from..offset + to).unwrap_or_default();
                pack_in_place(dtype, cols, data, self.scratch).map_err(|e| at(e, from))?;
            }
            if !is_whole {
                self.done = to;
                return Ok(false);
            }
            (self.next, self.done) = (after, 0);
        }
        Ok(self.arrived >= self.file_size)
    }

    /// Binds the model, once [`Loader::advance`] said that the file is complete.
    ///
    /// # Errors
    /// [`Error::NotLoaded`] if it is not.
    pub fn finish(self, file: &'a mut [u8]) -> Result<Model<'a>> {
        if !self.next.is_last() || file.len() < self.arrived {
            return Err(Error::NotLoaded);
        }
        if let Some(magic) = file.first_chunk_mut() {
            *magic = MAGIC_PACKED;
        }
        let gguf = Gguf::parse(file)?;
        check_file(gguf.file_size(), file, file.len())?;
        let net = lay_net(&mut Reserve::carve(self.net), &gguf)?;
        Model::join(&gguf, net, self.tokenizer.with_file(file), self.sizes)
    }
}

/// A weight's error with its place in the file instead of in what began at `start`.
fn at(error: Error, start: usize) -> Error {
    match error {
        Error::NotFinite { offset } => Error::NotFinite { offset: start + offset },
        other => other,
    }
}
