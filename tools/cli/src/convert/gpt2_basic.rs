//! The folders of gpt2-basic: `GPT2CFG.TXT`, `GPT2WT.BIN` and, unless the
//! vocabulary is bytes, `VOCAB.BIN`.
//!
//! `GPT2WT.BIN` is raw little-endian f32, tensor-major: for each tensor all
//! layers together, matrices `[in, out]`, q, k and v apart, and an untied head
//! with a bias. `VOCAB.BIN` is a count and records of 24 bytes (length, 16
//! bytes of text, id), then merges (none in a lexicon), then sections that
//! guide upstream's sampler. The activation is the tanh form of GELU, as in
//! upstream's run-time.
#![forbid(unsafe_code)]

use super::numbers::f32s;
use super::source::{
    Arch, Hparams, Source, SourceTensor, SpecialIds, Vocab, token_type, transpose,
};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

const CONFIG: &str = "GPT2CFG.TXT";
const WEIGHTS: &str = "GPT2WT.BIN";
const VOCAB: &str = "VOCAB.BIN";
/// Ids 0 and 1: the end of a text, and the unknown.
const N_SPECIAL: usize = 2;
const N_BYTES: usize = 256;
/// A record of `VOCAB.BIN`: u32 length, 16 bytes of text, u32 id.
const RECORD: usize = 24;
const MAX_PIECE: usize = 16;
/// A lexicon's pieces are whole words, made of these bytes.
const WORD_BYTES: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz.+/_-";

/// Whether a folder is such a model.
pub fn is_model(dir: &Path) -> bool {
    dir.join(CONFIG).is_file() && dir.join(WEIGHTS).is_file()
}

/// Reads a model.
pub fn read(dir: &Path) -> Result<Source> {
    let hparams = read_config(&dir.join(CONFIG))?;
    let weights = dir.join(WEIGHTS);
    let layout = Layout::new(&hparams);
    let have =
        fs::metadata(&weights).with_context(|| format!("cannot read {}", weights.display()))?.len();
    let want = layout.end() * 4;
    ensure!(
        have == want as u64,
        "{} holds {have} bytes where {CONFIG} asks for {want}",
        weights.display()
    );
    let tensors = layout.tensors(&weights, &hparams);
    let vocab = read_vocab(dir, hparams.n_vocab)?;
    // Upstream separates texts by token 0 and stops there.
    let special = SpecialIds { bos: Some(0), eos: Some(0), unknown: None, add_bos: Some(false) };
    Ok(Source { arch: Arch::Gpt2(hparams), vocab, special, tensors, notes: Vec::new() })
}

fn read_config(path: &Path) -> Result<Hparams> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let get = |key: &str| -> Result<usize> {
        let value =
            text.lines().filter_map(|l| l.trim().split_once('=')).find(|(k, _)| k.trim() == key);
        let (_, value) = value.with_context(|| format!("{} lacks {key}", path.display()))?;
        value
            .trim()
            .parse()
            .ok()
            .filter(|&n: &usize| (1..=1 << 16).contains(&n))
            .with_context(|| format!("{}: {key}={value} makes no sense", path.display()))
    };
    Ok(Hparams {
        n_vocab: get("vocab_size")?,
        n_ctx: get("n_positions")?,
        n_embd: get("n_embd")?,
        n_head: get("n_head")?,
        n_layer: get("n_layer")?,
        n_ff: get("hidden_dim")?,
        norm_eps: 1e-5,
        activation: "gelu_new",
    })
}

/// Where each tensor begins in `GPT2WT.BIN`, counted in numbers.
struct Layout {
    /// (GGUF name with `#` for the layer, start, rows, cols, per layer).
    rows: Vec<Entry>,
}

struct Entry {
    name: &'static str,
    start: usize,
    /// As stored: `[rows, cols]`, or one row for a vector.
    rows: usize,
    cols: usize,
    layers: usize,
}

impl Layout {
    fn new(h: &Hparams) -> Self {
        let (d, f, v, l) = (h.n_embd, h.n_ff, h.n_vocab, h.n_layer);
        let shapes = [
            ("token_embd.weight", v, d, 1),
            ("position_embd.weight", h.n_ctx, d, 1),
            ("attn_norm.weight", 1, d, l),
            ("attn_norm.bias", 1, d, l),
            ("q.weight", d, d, l),
            ("q.bias", 1, d, l),
            ("k.weight", d, d, l),
            ("k.bias", 1, d, l),
            ("v.weight", d, d, l),
            ("v.bias", 1, d, l),
            ("attn_output.weight", d, d, l),
            ("attn_output.bias", 1, d, l),
            ("ffn_norm.weight", 1, d, l),
            ("ffn_norm.bias", 1, d, l),
            ("ffn_up.weight", d, f, l),
            ("ffn_up.bias", 1, f, l),
            ("ffn_down.weight", f, d, l),
            ("ffn_down.bias", 1, d, l),
            ("output_norm.weight", 1, d, 1),
            ("output_norm.bias", 1, d, 1),
            ("output.weight", d, v, 1),
            ("output.bias", 1, v, 1),
        ];
        let mut start = 0;
        let rows = shapes.map(|(name, rows, cols, layers)| {
            let entry = Entry { name, start, rows, cols, layers };
            start += rows * cols * layers;
            entry
        });
        Self { rows: rows.into() }
    }

    fn end(&self) -> usize {
        self.rows.last().map_or(0, |e| e.start + e.rows * e.cols * e.layers)
    }

    fn entry(&self, name: &str) -> &Entry {
        self.rows.iter().find(|e| e.name == name).expect("every name asked for is in the table")
    }

    fn tensors(&self, path: &Path, h: &Hparams) -> Vec<SourceTensor> {
        let mut all = vec![
            self.plain(path, "token_embd.weight", 0),
            self.plain(path, "position_embd.weight", 0),
        ];
        for l in 0..h.n_layer {
            all.extend(["attn_norm.weight", "attn_norm.bias"].map(|n| self.plain(path, n, l)));
            all.push(self.joined(path, "weight", l));
            all.push(self.joined(path, "bias", l));
            all.push(self.turned(path, "attn_output.weight", l));
            all.extend(
                ["attn_output.bias", "ffn_norm.weight", "ffn_norm.bias"]
                    .map(|n| self.plain(path, n, l)),
            );
            all.push(self.turned(path, "ffn_up.weight", l));
            all.push(self.plain(path, "ffn_up.bias", l));
            all.push(self.turned(path, "ffn_down.weight", l));
            all.push(self.plain(path, "ffn_down.bias", l));
        }
        all.extend(["output_norm.weight", "output_norm.bias"].map(|n| self.plain(path, n, 0)));
        all.push(self.turned(path, "output.weight", 0));
        all.push(self.plain(path, "output.bias", 0));
        all
    }

    /// A vector, or an embedding table, as it stands.
    fn plain(&self, path: &Path, name: &'static str, layer: usize) -> SourceTensor {
        let e = self.entry(name);
        let matrix = name.ends_with("embd.weight");
        let part = e.part(path, layer);
        SourceTensor {
            name: e.gguf_name(layer),
            origin: format!("{name} of layer {layer}"),
            rows: matrix.then_some(e.rows),
            cols: e.cols,
            load: Box::new(move || part.read()),
        }
    }

    /// A matrix `[in, out]`, turned into `[out, in]`.
    fn turned(&self, path: &Path, name: &'static str, layer: usize) -> SourceTensor {
        let e = self.entry(name);
        let (part, rows, cols) = (e.part(path, layer), e.rows, e.cols);
        SourceTensor {
            name: e.gguf_name(layer),
            origin: format!("{name} of layer {layer}"),
            rows: Some(cols),
            cols: rows,
            load: Box::new(move || Ok(transpose(&part.read()?, rows, cols))),
        }
    }

    /// q, k and v as one tensor, their rows one after the other.
    fn joined(&self, path: &Path, what: &'static str, layer: usize) -> SourceTensor {
        let entries = ["q", "k", "v"].map(|n| self.entry(&format!("{n}.{what}")));
        let parts = entries.map(|e| e.part(path, layer));
        let (rows, cols) = (entries[0].rows, entries[0].cols);
        let matrix = what == "weight";
        SourceTensor {
            name: format!("blk.{layer}.attn_qkv.{what}"),
            origin: format!("q, k and v {what} of layer {layer}"),
            rows: matrix.then_some(3 * cols),
            cols: if matrix { rows } else { 3 * cols },
            load: Box::new(move || {
                let mut all = Vec::new();
                for part in &parts {
                    // A vector is one row, which a transposition leaves alone.
                    all.extend(transpose(&part.read()?, rows, cols));
                }
                Ok(all)
            }),
        }
    }
}

impl Entry {
    fn gguf_name(&self, layer: usize) -> String {
        if self.layers == 1 && !self.name.starts_with("attn") && !self.name.starts_with("ffn") {
            return self.name.into();
        }
        format!("blk.{layer}.{}", self.name)
    }

    fn part(&self, path: &Path, layer: usize) -> Part {
        let len = self.rows * self.cols;
        Part { path: path.into(), start: self.start + layer * len, len }
    }
}

/// A run of numbers in `GPT2WT.BIN`.
struct Part {
    path: PathBuf,
    start: usize,
    len: usize,
}

impl Part {
    fn read(&self) -> Result<Vec<f32>> {
        let mut bytes = vec![0; self.len * 4];
        let mut read = || -> std::io::Result<()> {
            let mut file = fs::File::open(&self.path)?;
            file.seek(SeekFrom::Start(self.start as u64 * 4))?;
            file.read_exact(&mut bytes)
        };
        read().with_context(|| format!("cannot read {}", self.path.display()))?;
        Ok(f32s(&bytes))
    }
}

fn read_vocab(dir: &Path, n_vocab: usize) -> Result<Vocab> {
    let path = dir.join(VOCAB);
    let tokens = if path.is_file() {
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        parse_vocab(&bytes, n_vocab).with_context(|| format!("cannot use {}", path.display()))?
    } else {
        ensure!(
            n_vocab == N_SPECIAL + N_BYTES,
            "{} lacks {VOCAB}, which a vocabulary of {n_vocab} needs",
            dir.display()
        );
        let special = [&b"<|endoftext|>"[..], b"<|unk|>"].map(<[u8]>::to_vec);
        special.into_iter().chain((0..=255).map(|b| vec![b])).collect()
    };
    let types = (0..n_vocab).map(|id| match id {
        0..N_SPECIAL => token_type::CONTROL,
        _ if id < N_SPECIAL + N_BYTES => token_type::BYTE,
        _ => token_type::NORMAL,
    });
    let word_bytes = (n_vocab > N_SPECIAL + N_BYTES).then_some(WORD_BYTES);
    Ok(Vocab::Pieces { tokens, types: types.collect(), word_bytes })
}

fn parse_vocab(bytes: &[u8], n_vocab: usize) -> Result<Vec<Vec<u8>>> {
    let count = u32_at(bytes, 0)? as usize;
    ensure!(count == n_vocab, "it holds {count} tokens where {CONFIG} asks for {n_vocab}");
    let mut tokens = vec![Vec::new(); count];
    for i in 0..count {
        let at = 4 + i * RECORD;
        let (len, id) = (u32_at(bytes, at)? as usize, u32_at(bytes, at + 4 + MAX_PIECE)? as usize);
        ensure!((1..=MAX_PIECE).contains(&len), "token {i} has {len} bytes");
        ensure!(
            id < count && tokens[id].is_empty(),
            "token {i} has the id {id}, which is taken or too large"
        );
        tokens[id] = bytes[at + 4..at + 4 + len].to_vec();
    }
    if u32_at(bytes, 4 + count * RECORD)? != 0 {
        bail!("it is a byte-pair vocabulary with merges, and only bytes and lexicons are known");
    }
    Ok(tokens)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    let b = bytes
        .get(at..at + 4)
        .with_context(|| format!("it ends at byte {} where more is needed", bytes.len()))?;
    Ok(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}
