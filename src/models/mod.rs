//! Models: what a file is made into, and the architectures.
//!
//! An architecture is a module here with four things: a configuration read from
//! the metadata, the tensors bound by name, a state, and `forward`. It joins
//! by a variant of `Net` and of [`State`], behind a feature of its own.
#![forbid(unsafe_code)]

#[cfg(feature = "gpt2")]
pub mod gpt2;
#[cfg(feature = "rnn")]
pub mod rnn;

mod keys;
mod loader;
#[cfg(feature = "text")]
mod pool;

pub use loader::Loader;
#[cfg(feature = "text")]
pub use pool::Pooling;

#[cfg(not(any(feature = "gpt2", feature = "rnn")))]
compile_error!("a build without any architecture runs nothing: enable `gpt2` or `rnn`");

use crate::arena::Reserve;
use crate::error::{Error, NO_LAYER, Result};
use crate::gguf::{Gguf, one_of};
use crate::kernels::Isa;
use crate::slices;
use crate::tensor::Budget;
use crate::tokenizer::{Kind, Tokenizer};
use bytemuck::{Pod, Zeroable};
#[cfg(feature = "gpt2")]
use gpt2::Gpt2;
use keys::{Keys, numbered};
use loader::{check_file, survey};
#[cfg(feature = "rnn")]
use rnn::Rnn;

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
    pub header_size: usize,
    /// Bytes of the file.
    pub file_size: usize,
    /// Bytes of memory that [`Model::load`] needs beside the file.
    pub model_mem_size: usize,
    /// Numbers in all tensors.
    pub n_params: usize,
    /// Work for one token in units of a session's budget, attention left out; less
    /// where a recurrent network has its first layer's share in the table.
    pub work_per_token: u64,
    /// Numbers in a step of input, for [`crate::Session::predict`]; 0 if the input is tokens.
    pub n_input: u32,
    /// Numbers of output: the vocabulary's size for a language model.
    pub n_output: u32,
    /// Numbers of a recurrent state; 0 if the model keeps none.
    pub n_state: u32,
    /// Numbers of an embedding, for [`crate::Session::embedding`].
    pub n_hidden: u32,
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
    Ok(Model::outline(bytes)?.info)
}

/// Lays out the network: its table of tensors, the first part of a model's memory.
fn lay_net<'a>(r: &mut Reserve<'a>, gguf: &Gguf<'a>) -> Result<Net<'a>> {
    let (offset, name) = match gguf.get("general.architecture") {
        Some(value) => {
            let name = value.as_str().ok_or(Error::BadValue { key: &"general.architecture" })?;
            (name.as_ptr().addr().wrapping_sub(gguf.file().as_ptr().addr()), name)
        }
        None => return Err(Error::MissingKey { key: &"general.architecture" }),
    };
    Ok(match one_of(name, &["rnn", "gru", "lstm", "gpt2"]) {
        #[cfg(feature = "gpt2")]
        Some(3) => Net::Gpt2(Gpt2::lay(r, gguf)?),
        #[cfg(feature = "rnn")]
        Some(cell) if cell < 3 => Net::Rnn(Rnn::lay(r, gguf, cell)?),
        _ => return Err(Error::UnsupportedArch { offset }),
    })
}

/// A network of one of the architectures.
enum Net<'a> {
    #[cfg(feature = "gpt2")]
    Gpt2(Gpt2<'a>),
    #[cfg(feature = "rnn")]
    Rnn(Rnn<'a>),
}

/// What a sequence keeps, for one of the architectures.
pub enum State<'a> {
    /// See [`gpt2::State`].
    #[cfg(feature = "gpt2")]
    Gpt2(gpt2::State<'a>),
    /// See [`rnn::State`].
    #[cfg(feature = "rnn")]
    Rnn(rnn::State<'a>),
}

/// For what [`Keep`] did not ask for.
#[cfg(feature = "text")]
pub(crate) const NOT_KEPT: Error = Error::unsupported(&"what the session does not keep");

/// What a session keeps besides what it needs, or leaves out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// See [`crate::SessionParams::embedding`].
    pub embedding: bool,
    /// See [`crate::SessionParams::attention`].
    pub attention: bool,
    /// See [`crate::SessionParams::half_cache`].
    pub half_cache: bool,
    /// See [`crate::SessionParams::low_memory`].
    pub low_memory: bool,
}

/// Whether a model needs all of its input in one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole {
    /// No: what is known so far will do.
    No,
    /// Yes, and by default no more than so many steps.
    AtMost(usize),
    /// Yes, and always so many steps.
    Exactly(usize),
}

/// A batch of tokens to run.
#[cfg(feature = "text")]
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
    /// Of a recurrent layer: the direction.
    part: u32,
    /// And the step.
    step: u32,
}

/// A loaded model, to be shared by any number of sessions.
pub struct Model<'a> {
    net: Net<'a>,
    tokenizer: Tokenizer<'a>,
    info: ModelInfo,
    isa: Isa,
    /// Tells models apart, so that a snapshot is not restored under another one.
    #[cfg(feature = "text")]
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
        let ModelInfo { packed, file_size, model_mem_size: need, .. } = Self::outline(file)?.info;
        if !packed {
            let what = &"a plain GGUF file in read-only memory; pack it first";
            return Err(Error::unsupported(what));
        }
        check_file(file_size, file, file.len())?;
        let too_small = Error::OutOfMemory { need };
        Self::with(&mut Reserve::carve(mem.get_mut(..need).ok_or(too_small)?), file)
    }

    /// A model of a header alone, good for asking sizes: its tables are empty.
    pub(crate) fn outline(header: &'a [u8]) -> Result<Self> {
        Self::with(&mut Reserve::count(), header)
    }

    /// The one layout of a model's memory: the network's table, the tokenizer's
    /// tables, and room for packing.
    #[inline(never)]
    fn with(r: &mut Reserve<'a>, file: &'a [u8]) -> Result<Self> {
        let gguf = &Gguf::parse(file)?;
        let net = lay_net(r, gguf)?;
        let tokenizer = Tokenizer::lay(r, gguf)?.with_file(file);
        let (n_params, scratch) = survey(gguf)?;
        r.take::<u8>(scratch);
        Self::join(gguf, net, tokenizer, (r.finish()?, n_params))
    }

    /// A model of its parts; `sizes`: bytes of its memory, numbers in its tensors.
    fn join(
        gguf: &Gguf<'a>,
        net: Net<'a>,
        tokenizer: Tokenizer<'a>,
        sizes: (usize, usize),
    ) -> Result<Self> {
        let info = net.info(gguf, &tokenizer, sizes);
        if tokenizer.n_vocab() > info.n_vocab as usize {
            return Err(Error::BadShape { name: &"token_embd.weight", layer: NO_LAYER });
        }
        Ok(Self {
            net,
            tokenizer,
            info,
            isa: Isa::detect(),
            #[cfg(feature = "text")]
            fingerprint: fingerprint(gguf),
        })
    }

    /// What the header said.
    #[must_use]
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// The tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer<'a> {
        &self.tokenizer
    }

    /// An error if the model takes no such token.
    pub(crate) fn check_id(&self, id: u32) -> Result<()> {
        match self.info.n_vocab {
            0 => Err(Error::unsupported(&"tokens for a model of vectors; use predict")),
            n_vocab if id < n_vocab => Ok(()),
            _ => Err(Error::BadToken { id }),
        }
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

    #[cfg(feature = "text")]
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The network, if it is a GPT-2.
    #[cfg(feature = "gpt2")]
    #[must_use]
    pub fn as_gpt2(&self) -> Option<&Gpt2<'a>> {
        match &self.net {
            Net::Gpt2(net) => Some(net),
            #[cfg(feature = "rnn")]
            Net::Rnn(_) => None,
        }
    }

    /// The network, if it is a recurrent one.
    #[cfg(feature = "rnn")]
    #[must_use]
    pub fn as_rnn(&self) -> Option<&Rnn<'a>> {
        match &self.net {
            Net::Rnn(net) => Some(net),
            #[cfg(feature = "gpt2")]
            Net::Gpt2(_) => None,
        }
    }

    /// Whether each token has a place in the context, of which there are only
    /// so many. A recurrent network has none: it never fills up.
    #[cfg(feature = "text")]
    pub(crate) fn has_positions(&self) -> bool {
        match &self.net {
            #[cfg(feature = "gpt2")]
            Net::Gpt2(_) => true,
            #[cfg(feature = "rnn")]
            Net::Rnn(_) => false,
        }
    }

    /// Whether the input has to be given at once.
    pub(crate) fn whole_input(&self) -> Whole {
        match &self.net {
            #[cfg(feature = "gpt2")]
            Net::Gpt2(_) => Whole::No,
            #[cfg(feature = "rnn")]
            Net::Rnn(net) => net.config().whole_input(),
        }
    }

    /// Lays out a sequence's state for `n_ctx` positions and batches of `n_batch`,
    /// and room for what `keep` asks for besides.
    pub(crate) fn lay_state<'s>(
        &self,
        r: &mut Reserve<'s>,
        n_ctx: usize,
        n_batch: usize,
        keep: Keep,
    ) -> State<'s> {
        let _ = n_ctx; // a recurrent network has no use for it
        #[cfg(feature = "text")]
        let n_pool = if keep.embedding { pool::len(self.info.n_hidden as usize) } else { 0 };
        #[cfg(not(feature = "text"))]
        let n_pool = 0;
        match &self.net {
            #[cfg(feature = "gpt2")]
            Net::Gpt2(net) => {
                let n_kept = if keep.attention { n_ctx } else { 0 };
                let mut state = gpt2::State::lay(r, net.config(), n_ctx, n_batch, keep.half_cache);
                state.lay_kept(r, net.config(), n_kept, n_pool);
                State::Gpt2(state)
            }
            #[cfg(feature = "rnn")]
            Net::Rnn(net) => {
                let n_table = if keep.low_memory { 0 } else { net.config().n_table };
                State::Rnn(rnn::State::lay(r, net.config(), n_batch, (n_pool, n_table)))
            }
        }
    }

    /// The embedding of what was worked through.
    #[cfg(feature = "text")]
    pub(crate) fn embedding<'s>(
        &self,
        state: &'s State<'_>,
        pooling: Pooling,
    ) -> Result<&'s [f32]> {
        let pool = match state {
            #[cfg(feature = "gpt2")]
            State::Gpt2(state) => &*state.pool,
            #[cfg(feature = "rnn")]
            State::Rnn(state) => {
                let n_state = self.info.n_state as usize;
                state.kept.get(n_state..).unwrap_or_default()
            }
        };
        let (count, vectors) = pool.split_first().ok_or(NOT_KEPT)?;
        let n = self.info.n_hidden as usize;
        let vector = vectors.get(pooling as usize * n..).and_then(|rest| rest.get(..n));
        vector.filter(|_| *count > 0.0).ok_or(Error::NoLogits)
    }

    /// Puts a state to what a sequence begins with.
    pub(crate) fn reset_state(&self, state: &mut State<'_>) {
        match (&self.net, state) {
            #[cfg(feature = "rnn")]
            (Net::Rnn(net), State::Rnn(state)) => net.reset(state),
            // Positions that are not used yet are not read.
            #[cfg(feature = "gpt2")]
            (_, State::Gpt2(state)) => state.pool.fill(0.0),
            #[cfg(all(feature = "gpt2", feature = "rnn"))]
            _ => {}
        }
    }

    /// Runs a batch of tokens on from `cursor`; see [`Gpt2::forward`] and [`Rnn::forward`].
    #[cfg(feature = "text")]
    pub(crate) fn forward(
        &self,
        state: &mut State<'_>,
        batch: Batch<'_>,
        progress: (&mut Cursor, &mut Budget),
        logits: &mut [f32],
    ) -> Result<bool> {
        match (&self.net, state) {
            #[cfg(feature = "gpt2")]
            (Net::Gpt2(net), State::Gpt2(state)) => {
                Ok(net.forward(self.isa, state, batch, progress, logits)?)
            }
            #[cfg(feature = "rnn")]
            (Net::Rnn(net), State::Rnn(state)) => {
                if !net.config().is_language_model() {
                    let what = &"text from a model that is no language model; use predict";
                    return Err(Error::unsupported(what));
                }
                let (n, from) = (batch.ids.len(), batch.logits_from);
                let batch = rnn::Batch { input: rnn::Input::Ids(batch.ids), n, from, logits: true };
                Ok(net.forward(self.isa, state, batch, progress, logits)?)
            }
            #[cfg(all(feature = "gpt2", feature = "rnn"))]
            _ => Err(Error::Internal),
        }
    }
}

#[cfg(feature = "text")]
impl State<'_> {
    /// Visits all that the first `n` positions left behind, as bytes, for snapshots.
    pub(crate) fn visit_used(&mut self, n: usize, visit: &mut dyn FnMut(&mut [u8])) {
        let _ = n;
        let bytes = |numbers| bytemuck::try_cast_slice_mut::<f32, u8>(numbers).unwrap_or_default();
        match self {
            #[cfg(feature = "gpt2")]
            Self::Gpt2(state) => {
                state.cache.visit_used(n, visit);
                visit(bytes(state.pool));
            }
            #[cfg(feature = "rnn")]
            Self::Rnn(state) => visit(bytes(state.kept)),
        }
    }

    /// How many words [`State::visit_used`] visits.
    pub(crate) fn used_len(&self, n: usize) -> usize {
        let _ = n;
        match self {
            #[cfg(feature = "gpt2")]
            Self::Gpt2(state) => state.cache.used_len(n) + state.pool.len(),
            #[cfg(feature = "rnn")]
            Self::Rnn(state) => state.kept.len(),
        }
    }
}

impl Net<'_> {
    fn info(
        &self,
        gguf: &Gguf<'_>,
        tokenizer: &Tokenizer<'_>,
        (model_mem_size, n_params): (usize, usize),
    ) -> ModelInfo {
        let mut common = ModelInfo {
            arch: [0; 16],
            name: [0; 64],
            n_vocab: 0,
            n_ctx: 0,
            n_embd: 0,
            n_layer: 0,
            n_head: 0,
            tokenizer: tokenizer.kind(),
            bos: tokenizer.bos(),
            eos: tokenizer.eos(),
            packed: gguf.is_packed(),
            header_size: gguf.data_start(),
            file_size: gguf.file_size(),
            model_mem_size,
            n_params,
            work_per_token: 0,
            n_input: 0,
            n_output: 0,
            n_state: 0,
            n_hidden: 0,
        };
        put_text(gguf, "general.architecture", &mut common.arch);
        put_text(gguf, "general.name", &mut common.name);
        match self {
            #[cfg(feature = "gpt2")]
            Self::Gpt2(net) => {
                let config = net.config();
                ModelInfo {
                    n_vocab: config.n_vocab as u32,
                    n_ctx: config.n_ctx as u32,
                    n_embd: config.n_embd as u32,
                    n_layer: config.n_layer as u32,
                    n_head: config.n_head as u32,
                    work_per_token: Gpt2::work_per_token(config).div_ceil(Budget::UNIT),
                    n_output: config.n_vocab as u32,
                    n_hidden: config.n_embd as u32,
                    ..common
                }
            }
            #[cfg(feature = "rnn")]
            Self::Rnn(net) => {
                let config = net.config();
                ModelInfo {
                    n_vocab: config.n_vocab as u32,
                    n_ctx: config.n_ctx as u32,
                    n_embd: config.n_input as u32,
                    n_layer: config.n_layer as u32,
                    work_per_token: net.work_per_step(common.n_params).div_ceil(Budget::UNIT),
                    n_input: if config.n_vocab > 0 { 0 } else { config.n_input as u32 },
                    n_output: config.n_output as u32,
                    n_state: config.n_state as u32,
                    n_hidden: config.n_hidden as u32,
                    ..common
                }
            }
        }
    }
}

/// Copies what of a text in the metadata fits.
fn put_text(gguf: &Gguf<'_>, key: &str, out: &mut [u8]) {
    let text = gguf.get(key).and_then(|value| value.as_str()).unwrap_or_default();
    // The last byte stays zero, so that C may read it as a string.
    if let [out @ .., _] = out {
        slices::copy(out, text);
    }
}

/// FNV-1a over the tensor descriptions: names, shapes, types and places.
#[cfg(feature = "text")]
fn fingerprint(gguf: &Gguf<'_>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    for info in gguf.tensors() {
        info.name.iter().copied().for_each(&mut add);
        for number in [info.rows, info.cols, info.dtype as usize, info.offset] {
            (number as u64).to_le_bytes().into_iter().for_each(&mut add);
        }
    }
    hash
}
