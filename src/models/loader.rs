//! Loading: a file that arrives piece by piece, packed where it lies.
#![forbid(unsafe_code)]

use super::{Model, lay};
use crate::arena::Reserve;
use crate::error::{Error, Result};
use crate::gguf::{Gguf, MAGIC_PACKED, TensorMark};
use crate::quant::{GROUP, pack_in_place};

/// Numbers in all tensors, and the scratch to pack them: a group of the longest
/// rows. While tensors arrive, the model's memory is that scratch.
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

/// Whether a file of `size` bytes that begins at `file` holds what its header promises.
pub(super) fn check_file(gguf: &Gguf<'_>, file: &[u8], size: usize) -> Result<()> {
    if file.as_ptr().align_offset(crate::arena::BLOCK_ALIGN) != 0 {
        return Err(Error::Misaligned);
    }
    if size < gguf.file_size() {
        return Err(Error::Truncated { need: gguf.file_size() });
    }
    Ok(())
}

/// A model whose file is still arriving: each tensor is packed once it is there.
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
    mem: &'a mut [u8],
    next: TensorMark,
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
        check_file(&gguf, arrived, file_size)?;
        let need = Model::with(&mut Reserve::count(), &gguf)?.info.model_mem_size;
        if mem.len() < need {
            return Err(Error::OutOfMemory { need });
        }
        lay(&mut Reserve::carve(mem), &gguf)?;
        let (next, packed) = (gguf.first_tensor(), gguf.is_packed());
        Ok(Self { mem, next, arrived: arrived.len(), file_size, packed })
    }

    /// Packs the tensors that lie whole in the bytes that have `arrived` by
    /// now. Returns whether the file is complete.
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
            let (range, cols, offset) = (info.range(), info.cols, info.offset);
            // A vector is a matrix of one row here: checked, and too small to be packed.
            let (dtype, is_matrix) = (info.dtype, info.n_dims <= 2);
            let Some(data) = arrived.get_mut(range) else { return Ok(false) };
            if is_matrix && !self.packed {
                pack_in_place(dtype, cols, data, self.mem).map_err(|e| at(e, offset))?;
            }
            self.next = after;
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
        check_file(&gguf, file, file.len())?;
        Model::bind(&gguf, self.mem)
    }
}

/// A weight's error with its place in the file instead of in its tensor.
fn at(error: Error, tensor: usize) -> Error {
    match error {
        Error::NotFinite { offset } => Error::NotFinite { offset: tensor + offset },
        other => other,
    }
}
