//! GPT-2: a decoder-only transformer with learned positions and pre-norm layers.
//!
//! Radford et al., "Language Models are Unsupervised Multitask Learners"
//! (2019); tensors are named as llama.cpp names them. Variants that occur are
//! read from the file: a tied head (no `output.weight`), a head with a bias,
//! any bias absent, another activation, any width of the feed-forward layer.
//!
//! One call runs a batch of n tokens through all layers, stage by stage. A
//! [`Cursor`] remembers stage and row, so that the work can be stopped and
//! taken up again anywhere; the batch's activations stay in [`State`].
#![forbid(unsafe_code)]

use super::{Batch, Cursor, Keys, pool};
use crate::arena::Reserve;
use crate::attention::{self, Cache, Shape};
use crate::error::{Checked, Error, Flaw, Impossible, NO_LAYER, Result};
use crate::gguf::Gguf;
use crate::kernels::Isa;
use crate::quant::DType;
use crate::slices;
use crate::tensor::{self, Activation, ActsBuffer, Budget, Matrix, Slot};

/// The sizes of a model.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Tokens in the vocabulary.
    pub n_vocab: usize,
    /// Positions the model was trained for.
    pub n_ctx: usize,
    /// Width.
    pub n_embd: usize,
    /// Attention heads.
    pub n_head: usize,
    /// Numbers of a head.
    pub head_dim: usize,
    /// Layers.
    pub n_layer: usize,
    /// Width of the feed-forward layer.
    pub n_ff: usize,
    /// Added to the variance in layer normalisation.
    pub eps: f32,
    /// The feed-forward layer's function.
    pub activation: Activation,
}

/// The keys of the sizes that a file must state.
static SIZES: [&str; 5] = [
    "context_length",
    "embedding_length",
    "attention.head_count",
    "block_count",
    "feed_forward_length",
];

impl Config {
    fn read(gguf: &Gguf<'_>) -> Result<Self> {
        let mut keys = Keys::new(gguf, "gpt2.");
        let mut sizes = [0; 5];
        for (size, key) in sizes.iter_mut().zip(&SIZES) {
            *size = keys.size(key, None);
        }
        let [n_ctx, n_embd, n_head, n_layer, n_ff] = sizes;
        if !n_embd.is_multiple_of(n_head.max(1)) {
            keys.refuse(&"attention.head_count");
        }
        let stated = keys.get("activation_function").map(|value| value.as_str());
        let activation = match stated {
            None => Some(Activation::GeluTanh),
            Some(name) => name.and_then(Activation::from_name),
        };
        if activation.is_none() {
            keys.refuse(&"activation_function");
        }
        let eps = keys.number(&"attention.layer_norm_epsilon");
        keys.failed?;
        let embedding = gguf.tensors().find(|t| t.name == b"token_embd.weight");
        let missing = Error::MissingTensor { name: &"token_embd.weight", layer: NO_LAYER };
        let n_vocab = embedding.ok_or(missing)?.rows;
        Ok(Self {
            n_vocab,
            n_ctx,
            n_embd,
            n_head,
            head_dim: n_embd / n_head.max(1),
            n_layer,
            n_ff,
            eps,
            activation: activation.unwrap_or_default(),
        })
    }
}

/// A dimension of a tensor; a vector has one row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dim {
    One,
    Embd,
    Embd3,
    Ff,
    Vocab,
    Ctx,
}

impl Dim {
    fn of(self, config: &Config) -> usize {
        match self {
            Self::One => 1,
            Self::Embd => config.n_embd,
            Self::Embd3 => 3 * config.n_embd,
            Self::Ff => config.n_ff,
            Self::Vocab => config.n_vocab,
            Self::Ctx => config.n_ctx,
        }
    }
}

/// The tensors by name, rows and columns: first those of each layer, as places
/// in its row of the table, then the model's own, behind all layers.
static TENSORS: [(&str, Dim, Dim); N_TENSORS] = [
    ("attn_norm.weight", Dim::One, Dim::Embd),
    ("attn_norm.bias", Dim::One, Dim::Embd),
    ("attn_qkv.weight", Dim::Embd3, Dim::Embd),
    ("attn_qkv.bias", Dim::One, Dim::Embd3),
    ("attn_output.weight", Dim::Embd, Dim::Embd),
    ("attn_output.bias", Dim::One, Dim::Embd),
    ("ffn_norm.weight", Dim::One, Dim::Embd),
    ("ffn_norm.bias", Dim::One, Dim::Embd),
    ("ffn_up.weight", Dim::Ff, Dim::Embd),
    ("ffn_up.bias", Dim::One, Dim::Ff),
    ("ffn_down.weight", Dim::Embd, Dim::Ff),
    ("ffn_down.bias", Dim::One, Dim::Embd),
    ("token_embd.weight", Dim::Vocab, Dim::Embd),
    ("position_embd.weight", Dim::Ctx, Dim::Embd),
    ("output_norm.weight", Dim::One, Dim::Embd),
    ("output_norm.bias", Dim::One, Dim::Embd),
    ("output.weight", Dim::Vocab, Dim::Embd),
    ("output.bias", Dim::One, Dim::Vocab),
];
const N_TENSORS: usize = 18;
/// How many of them each layer has.
const PER_LAYER: usize = 12;
const ATTN_QKV: usize = 2;
const ATTN_OUTPUT: usize = 4;
const FFN_UP: usize = 8;
const FFN_DOWN: usize = 10;
const TOKEN_EMBD: usize = 12;
const POSITION_EMBD: usize = 13;
const OUTPUT: usize = 16;

/// A GPT-2 bound to its file.
#[derive(Clone, Copy)]
pub struct Gpt2<'a> {
    config: Config,
    file: &'a [u8],
    /// (n_layer, 12), then the model's own.
    slots: &'a [Slot],
}

impl<'a> Gpt2<'a> {
    /// Lays out the table of tensors and, once carved, binds them by name.
    ///
    /// # Errors
    /// What the file lacks, or what in it does not fit.
    pub fn lay(r: &mut Reserve<'a>, gguf: &Gguf<'a>) -> Result<Self> {
        let config = Config::read(gguf)?;
        // Every layer has tensors of its own, so a file of n tensors has no more than n layers.
        if config.n_layer > gguf.n_tensors() {
            return Err(Error::BadValue { key: &"block_count" });
        }
        let slots = r.take(index(&config, 0, N_TENSORS));
        if r.carved()? {
            bind(&config, gguf, slots)?;
        }
        Ok(Self { config, file: gguf.file(), slots })
    }

    /// The sizes.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    fn slot(&self, layer: usize, tensor: usize) -> Checked<&'a Slot> {
        self.slots.get(index(&self.config, layer, tensor)).ok_or(Impossible)
    }

    /// A matrix; without a head of its own the model has the token embedding for one.
    #[inline(never)]
    fn matrix(&self, layer: usize, tensor: usize) -> Checked<Matrix<'a>> {
        let mut slot = self.slot(layer, tensor)?;
        if !slot.is_some() {
            slot = self.slot(0, TOKEN_EMBD)?;
        }
        slot.matrix(self.file)
    }

    #[inline(never)]
    fn vector(&self, layer: usize, tensor: usize) -> Checked<&'a [f32]> {
        self.slot(layer, tensor)?.vector(self.file)
    }

    /// Multiplications for one token, attention left out.
    #[must_use]
    pub fn work_per_token(config: &Config) -> u64 {
        let (e, f) = (config.n_embd as u64, config.n_ff as u64);
        config.n_layer as u64 * (4 * e * e + 2 * e * f) + config.n_vocab as u64 * e
    }
}

/// Fills the table in one walk over the file's tensors, and checks every shape.
fn bind(config: &Config, gguf: &Gguf<'_>, slots: &mut [Slot]) -> Result<()> {
    slots.fill(Slot::default());
    for info in gguf.tensors() {
        if let Some(slot) = place(config, info.name).and_then(|i| slots.get_mut(i)) {
            if slot.is_some() {
                let (offset, flaw) = (info.described_at, Flaw::TensorTwice);
                return Err(Error::Corrupt { offset, flaw });
            }
            *slot = Slot::new(&info)?;
        }
    }
    for (i, slot) in slots.iter().enumerate() {
        let layer = i / PER_LAYER;
        let own = if layer == config.n_layer { PER_LAYER } else { 0 };
        check(config, slot, own + i % PER_LAYER, layer as u16)?;
    }
    Ok(())
}

/// The place in the table of a tensor of [`TENSORS`]; the model's own are in no layer.
fn index(config: &Config, layer: usize, tensor: usize) -> usize {
    let layer = if tensor < PER_LAYER { layer } else { config.n_layer - 1 };
    layer * PER_LAYER + tensor
}

/// Where in the table a tensor of this name belongs.
fn place(config: &Config, name: &[u8]) -> Option<usize> {
    let (mut layer, mut rest) = (config.n_layer, name);
    if let Some(of_layer) = name.strip_prefix(b"blk.") {
        (layer, rest) = super::numbered(of_layer).filter(|(n, _)| *n < config.n_layer)?;
    }
    let tensor = TENSORS.iter().position(|t| t.0.as_bytes() == rest)?;
    // A layer's tensor has a layer's number, and only it has.
    let fits = (tensor < PER_LAYER) == (layer < config.n_layer);
    fits.then_some(index(config, layer, tensor))
}

/// Checks one tensor's presence, shape and type.
fn check(config: &Config, slot: &Slot, tensor: usize, layer: u16) -> Result<()> {
    let (name, rows, cols) = TENSORS.get(tensor).ok_or(Error::Internal)?;
    let layer = if tensor < PER_LAYER { layer } else { NO_LAYER };
    if !slot.is_some() {
        let optional = tensor == OUTPUT || name.ends_with(".bias");
        return if optional { Ok(()) } else { Err(Error::MissingTensor { name, layer }) };
    }
    let fits = slot.has_shape(rows.of(config), cols.of(config));
    if fits && (*rows != Dim::One || slot.dtype() == Some(DType::F32)) {
        return Ok(());
    }
    Err(Error::BadShape { name, layer })
}

/// What a sequence keeps between calls, and the room to compute in.
pub struct State<'a> {
    /// Keys and values: the memory of the sequence.
    pub cache: Cache<'a>,
    /// The residual stream, (n_batch, n_embd).
    pub x: &'a mut [f32],
    /// A normalised or projected vector, (n_batch, n_embd).
    pub h: &'a mut [f32],
    /// Queries, keys and values, (n_batch, 3, n_embd).
    pub qkv: &'a mut [f32],
    /// What attention gathered, (n_batch, n_embd).
    pub att: &'a mut [f32],
    /// The feed-forward layer, (n_batch, n_ff).
    pub ff: &'a mut [f32],
    acts: ActsBuffer<'a>,
    scratch: attention::Scratch<'a>,
    /// Of an embedding; empty if none is kept.
    pub pool: &'a mut [f32],
    /// Attention's weights of the last token, (n_layer, n_head, n_ctx); empty if they are not kept.
    pub(crate) weights: &'a mut [f32],
    n_ctx: usize,
}

impl<'a> State<'a> {
    /// Lays it out for `n_ctx` positions and batches of `n_batch`, with keys and
    /// values in F16 if that is asked for and heads are of an even size.
    pub fn lay(
        r: &mut Reserve<'a>,
        config: &Config,
        n_ctx: usize,
        n_batch: usize,
        half_cache: bool,
    ) -> Self {
        let Config { n_layer, n_head, n_embd, n_ff, head_dim, .. } = *config;
        let half = cfg!(feature = "quant") && half_cache && head_dim.is_multiple_of(2);
        let shape = Shape { n_layer, n_head, head_dim, n_ctx, half };
        let batch = |n: usize| n.saturating_mul(n_batch);
        Self {
            cache: Cache::lay(r, shape),
            x: r.take(batch(n_embd)),
            h: r.take(batch(n_embd)),
            qkv: r.take(batch(3 * n_embd)),
            att: r.take(batch(n_embd)),
            ff: r.take(batch(n_ff)),
            acts: ActsBuffer::lay(r, batch(n_embd.max(n_ff))),
            scratch: attention::Scratch::lay(r, shape),
            pool: &mut [],
            weights: &mut [],
            n_ctx,
        }
    }

    /// Lays out room for attention's weights over `n_ctx` positions, and for an embedding.
    pub(crate) fn lay_kept(
        &mut self,
        r: &mut Reserve<'a>,
        config: &Config,
        n_ctx: usize,
        n_pool: usize,
    ) {
        // The keys are more by far: where this wraps around, they did not fit.
        let n_weights = config.n_layer.wrapping_mul(config.n_head).wrapping_mul(n_ctx);
        (self.weights, self.pool) = (r.take(n_weights), r.take(n_pool));
    }
}

/// The stages of a batch; those from `Qkv` to `Down` run once a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Stage {
    /// Token and position embeddings, summed.
    Embed = 0,
    /// Norm, then queries, keys and values.
    Qkv,
    /// Attention, head by head.
    Attend,
    /// Attention's output matrix, added to the stream.
    Output,
    /// Norm, the first feed-forward matrix, and the activation.
    Up,
    /// The second feed-forward matrix, added to the stream.
    Down,
    /// Final norm and logits.
    Head,
    /// Nothing is left.
    Done,
}

impl Stage {
    fn of(cursor: &Cursor) -> Self {
        const ALL: [Stage; 7] = [
            Stage::Embed,
            Stage::Qkv,
            Stage::Attend,
            Stage::Output,
            Stage::Up,
            Stage::Down,
            Stage::Head,
        ];
        ALL.get(cursor.stage as usize).copied().unwrap_or(Stage::Done)
    }
}

/// One call's view of a batch in progress.
struct Run<'r, 'a> {
    isa: Isa,
    model: &'r Gpt2<'a>,
    batch: Batch<'r>,
    layer: usize,
    /// The row, or the head, to go on with.
    at: &'r mut u32,
    budget: &'r mut Budget,
}

impl<'a> Gpt2<'a> {
    /// Runs a batch from `cursor` on until it is done or the budget is spent;
    /// returns whether it is done. `logits` takes a row per token from
    /// `batch.logits_from` on.
    ///
    /// # Errors
    /// [`Impossible`] if the sizes do not agree.
    pub fn forward(
        &self,
        isa: Isa,
        state: &mut State<'_>,
        batch: Batch<'_>,
        (cursor, budget): (&mut Cursor, &mut Budget),
        logits: &mut [f32],
    ) -> Checked<bool> {
        while Stage::of(cursor) != Stage::Done {
            if budget.is_spent() || !self.stage(isa, state, batch, (cursor, budget), logits)? {
                return Ok(false);
            }
        }
        if !state.pool.is_empty() {
            self.pool(state, batch.ids.len())?;
        }
        Ok(true)
    }

    /// The last layer's outputs behind the last norm are what an embedding is made of.
    fn pool(&self, s: &mut State<'_>, n: usize) -> Checked<()> {
        let n_embd = self.config.n_embd;
        let h = first(s.h, n, n_embd)?;
        self.norm(0, OUTPUT, s.x, h)?;
        pool::add(s.pool, n_embd, h);
        Ok(())
    }

    /// out = norm(x), with the norm that stands before a matrix in the table.
    #[inline(never)]
    fn norm(&self, layer: usize, tensor: usize, x: &[f32], out: &mut [f32]) -> Checked<()> {
        let norm = (self.vector(layer, tensor - 2)?, self.vector(layer, tensor - 1)?);
        tensor::layer_norm(x, norm, self.config.eps, out);
        Ok(())
    }

    /// Runs the stage at `cursor`, and moves on to the next if it is done,
    /// which is what is returned.
    ///
    /// # Errors
    /// [`Impossible`] if the sizes do not agree.
    pub fn stage(
        &self,
        isa: Isa,
        state: &mut State<'_>,
        batch: Batch<'_>,
        (cursor, budget): (&mut Cursor, &mut Budget),
        logits: &mut [f32],
    ) -> Checked<bool> {
        let stage = Stage::of(cursor);
        let layer = cursor.layer as usize;
        let mut run = Run { isa, model: self, batch, layer, at: &mut cursor.at, budget };
        let done = match stage {
            Stage::Embed => run.embed(state),
            Stage::Attend => run.attend(state),
            Stage::Done => Ok(true),
            product => run.product(product, state, logits),
        }?;
        if done {
            cursor.at = 0;
            let last = layer + 1 == self.config.n_layer;
            (cursor.stage, cursor.layer) = match stage {
                Stage::Down if !last => (Stage::Qkv as u32, cursor.layer + 1),
                Stage::Down if batch.logits_from >= batch.ids.len() => (Stage::Done as u32, 0),
                stage => (stage as u32 + 1, cursor.layer),
            };
        }
        Ok(done)
    }
}

/// The first n vectors of `width` numbers.
fn first(all: &mut [f32], n: usize, width: usize) -> Checked<&mut [f32]> {
    all.get_mut(..n * width).ok_or(Impossible)
}

impl Run<'_, '_> {
    /// x = embedding of the token + embedding of the position
    fn embed(&mut self, s: &mut State<'_>) -> Checked<bool> {
        let width = self.model.config.n_embd.max(1);
        let tokens = self.model.matrix(0, TOKEN_EMBD)?;
        let positions = self.model.matrix(0, POSITION_EMBD)?;
        let rows = s.x.chunks_exact_mut(width).zip(s.h.chunks_exact_mut(width));
        for ((i, &id), (x, h)) in self.batch.ids.iter().enumerate().zip(rows) {
            tokens.read_row(id as usize, x)?;
            positions.read_row(self.batch.pos + i, h)?;
            tensor::add(x, h);
        }
        Ok(true)
    }

    /// Every other stage: a product with the input it takes, and what is done to its result.
    ///
    /// ```text
    /// Qkv     qkv = norm(x) W + b
    /// Output  x += att W + b
    /// Up      ff = activation(norm(x) W + b)
    /// Down    x += ff W + b
    /// Head    logits = norm(x) W + b, for the tokens that are asked for
    /// ```
    fn product(&mut self, stage: Stage, s: &mut State<'_>, logits: &mut [f32]) -> Checked<bool> {
        let Config { n_embd, n_ff, activation, .. } = self.model.config;
        let (layer, n_ids) = (self.layer, self.batch.ids.len());
        let from = if stage == Stage::Head { self.batch.logits_from.min(n_ids) } else { 0 };
        // Of some the input is first made by a norm.
        let (norm, tensor, input, out) = match stage {
            Stage::Qkv => (true, ATTN_QKV, &mut *s.h, &mut *s.qkv),
            Stage::Output => (false, ATTN_OUTPUT, &mut *s.att, &mut *s.h),
            Stage::Up => (true, FFN_UP, &mut *s.h, &mut *s.ff),
            Stage::Down => (false, FFN_DOWN, &mut *s.ff, &mut *s.h),
            _ => (true, OUTPUT, &mut *s.h, logits),
        };
        let n = n_ids - from;
        let w = self.model.matrix(layer, tensor)?;
        let bias = self.model.vector(layer, tensor + 1)?;
        let input = first(input, n, w.cols())?;
        if norm && *self.at == 0 {
            let x = s.x.get(from * n_embd..).ok_or(Impossible)?;
            self.model.norm(layer, tensor, x, input)?;
        }
        let input = (&*input, n);
        if !tensor::product(self.isa, &mut s.acts, (w, bias), input, out, self.at, self.budget)? {
            return Ok(false);
        }
        match stage {
            Stage::Up => activation.apply(first(out, n, n_ff)?),
            Stage::Output | Stage::Down => tensor::add(first(s.x, n, n_embd)?, out),
            _ => {}
        }
        Ok(true)
    }

    /// att = softmax(q K^T) V, head by head, token by token
    fn attend(&mut self, s: &mut State<'_>) -> Checked<bool> {
        let Config { n_embd, n_head, head_dim, .. } = self.model.config;
        let n_head = n_head.max(1);
        let rows = s.qkv.chunks_exact((3 * n_embd).max(1)).take(self.batch.ids.len());
        if *self.at == 0 {
            for (i, row) in rows.enumerate() {
                let kv = row.get(n_embd..).and_then(|kv| kv.split_at_checked(n_embd));
                let (k, v) = kv.ok_or(Impossible)?;
                s.cache.store(self.layer, self.batch.pos + i, k, v)?;
            }
        }
        while (*self.at as usize) < self.batch.ids.len() * n_head {
            if self.budget.is_spent() {
                return Ok(false);
            }
            let (i, head) = (*self.at as usize / n_head, *self.at as usize % n_head);
            let start = head * head_dim;
            let q = s.qkv.get(i * 3 * n_embd + start..).and_then(|q| q.get(..head_dim));
            let out = s.att.get_mut(i * n_embd + start..).and_then(|o| o.get_mut(..head_dim));
            let (q, out) = q.zip(out).ok_or(Impossible)?;
            let n_pos = self.batch.pos + i + 1;
            s.cache.attend(self.isa, (self.layer, head), q, n_pos, &mut s.scratch, out)?;
            if i + 1 == self.batch.ids.len() {
                let kept = s.weights.get_mut((self.layer * n_head + head) * s.n_ctx..);
                slices::copy(kept.unwrap_or_default(), s.scratch.weights(n_pos));
            }
            self.budget.spend(2 * (n_pos * head_dim) as u64);
            *self.at += 1;
        }
        Ok(true)
    }
}
