//! Models: what a file is made into, and the architectures.
//!
//! An architecture is a file here with four things: a configuration read from
//! the metadata, the tensors bound by name, a state, and `forward`. It joins
//! by a variant of [`Net`] and of [`State`].
#![forbid(unsafe_code)]

pub mod gpt2;

use crate::arena::Reserve;
use crate::error::{Error, Result};
use crate::gguf::{Gguf, MAGIC_PACKED, TensorMark};
use crate::kernels::Isa;
use crate::quant::{GROUP, pack_in_place};
use crate::tensor::Budget;
use crate::tokenizer::{Kind, Tokenizer};
use bytemuck::{Pod, Zeroable};
use gpt2::Gpt2;

/// Reads an architecture's metadata, keys without their prefix.
pub(crate) struct Keys<'g, 'a> {
    gguf: &'g Gguf<'a>,
    prefix: &'static str,
}

impl<'g, 'a> Keys<'g, 'a> {
    fn new(gguf: &'g Gguf<'a>, prefix: &'static str) -> Self {
        Self { gguf, prefix }
    }

    fn get(&self, key: &str) -> Option<crate::gguf::Value<'a>> {
        let mine = |name: &[u8]| {
            name.strip_prefix(self.prefix.as_bytes()).is_some_and(|rest| rest == key.as_bytes())
        };
        self.gguf.metadata().find(|(name, _)| mine(name)).map(|(_, value)| value)
    }

    /// A size: at least 1, and small enough that products of two fit an address.
    fn size(&self, key: &'static str) -> Result<usize> {
        const MAX: u64 = 1 << 24;
        let value = self.get(key).ok_or(Error::MissingKey { key })?;
        let size =
            value.as_u64().filter(|n| (1..=MAX).contains(n)).ok_or(Error::BadValue { key })?;
        Ok(size as usize)
    }

    /// A finite number.
    fn number(&self, key: &'static str) -> Result<f32> {
        let value = self.get(key).ok_or(Error::MissingKey { key })?;
        let number = value.as_f64().map(|v| v as f32).filter(|v| v.is_finite());
        number.ok_or(Error::BadValue { key })
    }

    fn text(&self, key: &str) -> Option<&'a [u8]> {
        self.get(key).and_then(|value| value.as_str())
    }
}

/// What the header of a file says.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ModelInfo {
    /// The architecture's name, padded with zeros.
    pub arch: [u8; 16],
    /// The model's name, padded with zeros and cut if it is longer.
    pub name: [u8; 64],
    /// Tokens in the vocabulary.
    pub n_vocab: u32,
    /// Positions the model was trained for.
    pub n_ctx: u32,
    /// Width.
    pub n_embd: u32,
    /// Layers.
    pub n_layer: u32,
    /// Attention heads.
    pub n_head: u32,
    /// The kind of tokenizer in the file.
    pub tokenizer: Kind,
    /// The token that begins a text, if the file names one.
    pub bos: Option<u32>,
    /// The token that ends a text, if the file names one.
    pub eos: Option<u32>,
    /// Whether the matrices are packed.
    pub packed: bool,
    /// Bytes before the first tensor.
    pub header_size: u64,
    /// Bytes of the file.
    pub file_size: u64,
    /// Bytes of memory that [`Model::load`] needs beside the file.
    pub model_mem_size: usize,
    /// Numbers in all tensors.
    pub n_params: u64,
    /// Work for one token in units of a session's budget, attention left out.
    pub work_per_token: u64,
}

/// Reads what a file's header says, and how much memory the model will need.
///
/// `bytes` must hold the header; the tensors behind it are not looked at.
///
/// # Errors
/// [`Error::Truncated`] if the header is not complete yet; else what is wrong.
///
/// # Example
///
/// ```
/// assert_eq!(pagelm::probe(b"GGUF").err().map(|e| e.code()), Some(-1));
/// assert_eq!(pagelm::probe(b"<!doctype html>").err(), Some(pagelm::Error::BadMagic));
/// ```
pub fn probe(bytes: &[u8]) -> Result<ModelInfo> {
    let gguf = Gguf::parse(bytes)?;
    let mut r = Reserve::count();
    let (net, tokenizer) = lay(&mut r, &gguf)?;
    let scratch = pack_scratch_size(&gguf)?;
    Ok(net.info(&gguf, &tokenizer, r.used().max(scratch)))
}

/// The one layout of a model's memory: the table of tensors, then the tokenizer's.
fn lay<'a>(r: &mut Reserve<'a>, gguf: &Gguf<'a>) -> Result<(Net<'a>, Tokenizer<'a>)> {
    let (offset, name) = match gguf.get("general.architecture") {
        Some(value) => {
            let name = value.as_str().ok_or(Error::BadValue { key: "general.architecture" })?;
            (name.as_ptr().addr().wrapping_sub(gguf.file().as_ptr().addr()), name)
        }
        None => return Err(Error::MissingKey { key: "general.architecture" }),
    };
    let net = match name {
        b"gpt2" => Net::Gpt2(Gpt2::lay(r, gguf)?),
        _ => return Err(Error::UnsupportedArch { offset: offset as u64 }),
    };
    let tokenizer = Tokenizer::lay(r, gguf)?;
    Ok((net, tokenizer))
}

/// While tensors arrive, the model's memory is the scratch for packing them:
/// a group of the longest rows.
fn pack_scratch_size(gguf: &Gguf<'_>) -> Result<usize> {
    if gguf.is_packed() {
        return Ok(0);
    }
    let row = gguf.tensors().filter(|t| t.n_dims == 2).map(|t| t.size / t.rows.max(1)).max();
    let group = row.unwrap_or(0).checked_mul(GROUP as u64).ok_or(Error::TooLarge)?;
    usize::try_from(group).map_err(|_| Error::TooLarge)
}

/// A network of one of the architectures.
enum Net<'a> {
    Gpt2(Gpt2<'a>),
}

/// What a sequence keeps, for one of the architectures.
pub enum State<'a> {
    /// See [`gpt2::State`].
    Gpt2(gpt2::State<'a>),
}

/// A batch of tokens to run.
#[derive(Clone, Copy)]
pub struct Batch<'b> {
    /// The tokens.
    pub ids: &'b [u32],
    /// The position of the first.
    pub pos: usize,
    /// Logits are wanted from this one on; `ids.len()` for none.
    pub logits_from: usize,
}

/// How far a batch has come. Zeroed, it is the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Cursor {
    stage: u32,
    layer: u32,
    at: u32,
}

/// A loaded model, to be shared by any number of sessions.
pub struct Model<'a> {
    net: Net<'a>,
    tokenizer: Tokenizer<'a>,
    info: ModelInfo,
    isa: Isa,
    /// Tells models apart, so that a snapshot is not restored under another one.
    fingerprint: u64,
}

impl<'a> Model<'a> {
    /// Loads a whole file, packing its matrices where they lie (a file that is
    /// packed already is left as it is). `mem` takes [`ModelInfo::model_mem_size`].
    ///
    /// # Errors
    /// What is wrong with the file, or [`Error::OutOfMemory`].
    pub fn load(file: &'a mut [u8], mem: &'a mut [u8]) -> Result<Self> {
        let mut loader = Loader::new(file, file.len(), mem)?;
        loader.advance(file)?;
        loader.finish(file)
    }

    /// Uses a packed file where it lies, which may be read-only memory.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the file is not packed; else as [`Model::load`].
    pub fn from_packed(file: &'a [u8], mem: &'a mut [u8]) -> Result<Self> {
        let gguf = Gguf::parse(file)?;
        if !gguf.is_packed() {
            let what = "a plain GGUF file in read-only memory; pack it first";
            return Err(Error::Unsupported { what });
        }
        check_file(&gguf, file, file.len())?;
        Self::bind(&gguf, mem)
    }

    fn bind(gguf: &Gguf<'a>, mem: &'a mut [u8]) -> Result<Self> {
        Self::with(&mut Reserve::carve(mem)?, gguf)
    }

    /// A model of a header alone, good for asking sizes: its tables are empty.
    pub(crate) fn outline(header: &'a [u8]) -> Result<Self> {
        Self::with(&mut Reserve::count(), &Gguf::parse(header)?)
    }

    fn with(r: &mut Reserve<'a>, gguf: &Gguf<'a>) -> Result<Self> {
        let (net, tokenizer) = lay(r, gguf)?;
        let info = net.info(gguf, &tokenizer, 0);
        if tokenizer.n_vocab() > info.n_vocab as usize {
            return Err(Error::BadShape { name: "token_embd.weight", layer: u32::MAX });
        }
        let fingerprint = fingerprint(gguf);
        Ok(Self { net, tokenizer, info, isa: Isa::detect(), fingerprint })
    }

    /// What the header said; `model_mem_size` is 0 here.
    #[must_use]
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// The tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer<'a> {
        &self.tokenizer
    }

    /// The instruction set in use.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Chooses an instruction set; the results are the same.
    pub fn set_isa(&mut self, isa: Isa) {
        self.isa = isa;
    }

    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The network, if it is a GPT-2.
    #[must_use]
    pub fn as_gpt2(&self) -> Option<&Gpt2<'a>> {
        match &self.net {
            Net::Gpt2(net) => Some(net),
        }
    }

    /// Lays out a sequence's state for `n_ctx` positions and batches of `n_batch`.
    pub(crate) fn lay_state<'s>(
        &self,
        r: &mut Reserve<'s>,
        n_ctx: usize,
        n_batch: usize,
    ) -> Result<State<'s>> {
        match &self.net {
            Net::Gpt2(net) => Ok(State::Gpt2(gpt2::State::lay(r, net.config(), n_ctx, n_batch)?)),
        }
    }

    /// Runs a batch on from `cursor`; see [`Gpt2::forward`].
    pub(crate) fn forward(
        &self,
        state: &mut State<'_>,
        batch: Batch<'_>,
        progress: (&mut Cursor, &mut Budget),
        logits: &mut [f32],
    ) -> Result<bool> {
        match (&self.net, state) {
            (Net::Gpt2(net), State::Gpt2(state)) => {
                net.forward(self.isa, state, batch, progress, logits)
            }
        }
    }
}

impl State<'_> {
    /// Visits all that the first `n` positions left behind, for snapshots.
    pub(crate) fn visit_used(&mut self, n: usize, visit: &mut dyn FnMut(&mut [f32])) {
        match self {
            Self::Gpt2(state) => state.cache.visit_used(n, visit),
        }
    }

    /// How many numbers [`State::visit_used`] visits.
    pub(crate) fn used_len(&self, n: usize) -> usize {
        match self {
            Self::Gpt2(state) => state.cache.used_len(n),
        }
    }
}

impl Net<'_> {
    fn info(&self, gguf: &Gguf<'_>, tokenizer: &Tokenizer<'_>, model_mem_size: usize) -> ModelInfo {
        let Self::Gpt2(net) = self;
        let config = net.config();
        ModelInfo {
            arch: padded(b"gpt2"),
            name: padded(gguf.get("general.name").and_then(|v| v.as_str()).unwrap_or_default()),
            n_vocab: config.n_vocab as u32,
            n_ctx: config.n_ctx as u32,
            n_embd: config.n_embd as u32,
            n_layer: config.n_layer as u32,
            n_head: config.n_head as u32,
            tokenizer: tokenizer.kind(),
            bos: tokenizer.bos(),
            eos: tokenizer.eos(),
            packed: gguf.is_packed(),
            header_size: gguf.data_start() as u64,
            file_size: gguf.file_size(),
            model_mem_size,
            n_params: gguf.tensors().map(|t| t.rows * t.cols).sum(),
            work_per_token: Gpt2::work_per_token(config).div_ceil(Budget::UNIT),
        }
    }
}

fn padded<const N: usize>(text: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    // The last byte stays zero, so that C may read it as a string.
    for (out, &byte) in out.iter_mut().take(N - 1).zip(text) {
        *out = byte;
    }
    out
}

/// Whether a file of `size` bytes that begins at `file` holds what its header promises.
fn check_file(gguf: &Gguf<'_>, file: &[u8], size: usize) -> Result<()> {
    if file.as_ptr().align_offset(crate::arena::BLOCK_ALIGN) != 0 {
        return Err(Error::Misaligned);
    }
    if (size as u64) < gguf.file_size() {
        return Err(Error::Truncated { offset: size as u64, need: gguf.file_size() });
    }
    Ok(())
}

/// FNV-1a over the tensor descriptions: names, shapes, types and places.
fn fingerprint(gguf: &Gguf<'_>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    for info in gguf.tensors() {
        info.name.iter().copied().for_each(&mut add);
        for number in [info.rows, info.cols, info.dtype as u64, info.offset] {
            number.to_le_bytes().into_iter().for_each(&mut add);
        }
    }
    hash
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
    /// the tensors are waited for. `mem` takes [`ModelInfo::model_mem_size`].
    ///
    /// # Errors
    /// [`Error::Truncated`] if the header is not complete or the file is
    /// shorter than its header promises; else what is wrong.
    pub fn new(arrived: &[u8], file_size: usize, mem: &'a mut [u8]) -> Result<Self> {
        let gguf = Gguf::parse(arrived)?;
        check_file(&gguf, arrived, file_size)?;
        let mut count = Reserve::count();
        lay(&mut count, &gguf)?;
        let need = count.used().max(pack_scratch_size(&gguf)?);
        if mem.len() < need {
            return Err(Error::OutOfMemory { need: need as u64, have: mem.len() as u64 });
        }
        lay(&mut Reserve::carve(mem)?, &gguf)?;
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
            return Err(Error::BadParam { name: "available" });
        }
        self.arrived = arrived.len();
        while let Some((info, after)) = self.next.read(arrived) {
            let (range, cols, offset) = (info.range(), info.cols as usize, info.offset);
            let (dtype, is_matrix) = (info.dtype, info.n_dims == 2);
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
fn at(error: Error, tensor: u64) -> Error {
    match error {
        Error::NotFinite { offset } => Error::NotFinite { offset: tensor + offset },
        other => other,
    }
}
