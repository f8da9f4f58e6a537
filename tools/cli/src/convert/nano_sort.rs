//! The JSON checkpoints of llm-viz (minGPT's tensor names): one object with a
//! `config` and, under each tensor's name, its shape and base64 of its f32.
//!
//! Linear weights are `[out, in]` here, unlike in Hugging Face's GPT-2, and the
//! activation is minGPT's, which is the tanh form of GELU.
#![forbid(unsafe_code)]

use super::source::{Arch, Hparams, Source, SourceTensor, SpecialIds, Vocab, token_type};
use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

#[derive(Deserialize)]
struct File {
    config: Config,
    #[serde(flatten)]
    tensors: BTreeMap<String, Tensor>,
}

#[derive(Deserialize)]
struct Config {
    n_layer: usize,
    n_head: usize,
    n_embd: usize,
    vocab_size: usize,
    block_size: usize,
}

#[derive(Deserialize)]
struct Tensor {
    shape: Vec<usize>,
    dtype: String,
    data: String,
}

/// minGPT's names of a layer's tensors, and GGUF's.
const LAYER: [(&str, &str); 12] = [
    ("ln_1.weight", "attn_norm.weight"),
    ("ln_1.bias", "attn_norm.bias"),
    ("attn.c_attn.weight", "attn_qkv.weight"),
    ("attn.c_attn.bias", "attn_qkv.bias"),
    ("attn.c_proj.weight", "attn_output.weight"),
    ("attn.c_proj.bias", "attn_output.bias"),
    ("ln_2.weight", "ffn_norm.weight"),
    ("ln_2.bias", "ffn_norm.bias"),
    ("mlp.c_fc.weight", "ffn_up.weight"),
    ("mlp.c_fc.bias", "ffn_up.bias"),
    ("mlp.c_proj.weight", "ffn_down.weight"),
    ("mlp.c_proj.bias", "ffn_down.bias"),
];

/// Whether the text of a JSON file is such a checkpoint.
pub fn is_checkpoint(text: &str) -> bool {
    text.contains("\"transformer.wte.weight\"") && text.contains("\"config\"")
}

/// Reads a checkpoint.
pub fn read(path: &Path, text: &str) -> Result<Source> {
    let file: File = serde_json::from_str(text).with_context(|| {
        format!("{} is not a checkpoint in llm-viz's JSON form", path.display())
    })?;
    let c = &file.config;
    let mut names = vec![
        ("transformer.wte.weight".to_owned(), "token_embd.weight".to_owned()),
        ("transformer.wpe.weight".to_owned(), "position_embd.weight".to_owned()),
    ];
    for l in 0..c.n_layer {
        names.extend(
            LAYER.iter().map(|(a, b)| (format!("transformer.h.{l}.{a}"), format!("blk.{l}.{b}"))),
        );
    }
    names.push(("transformer.ln_f.weight".into(), "output_norm.weight".into()));
    names.push(("transformer.ln_f.bias".into(), "output_norm.bias".into()));
    names.push(("lm_head.weight".into(), "output.weight".into()));
    check_no_others(&file, &names)?;
    let n_ff =
        file.tensors.get("transformer.h.0.mlp.c_fc.bias").and_then(|t| t.shape.first()).copied();
    let hparams = Hparams {
        n_vocab: c.vocab_size,
        n_ctx: c.block_size,
        n_embd: c.n_embd,
        n_head: c.n_head,
        n_layer: c.n_layer,
        n_ff: n_ff.context("the checkpoint lacks the tensor transformer.h.0.mlp.c_fc.bias")?,
        norm_eps: 1e-5,
        activation: "gelu_new",
    };
    let vocab = digits(c.vocab_size);
    let file = Rc::new(file);
    let tensors = names
        .into_iter()
        .map(|(origin, name)| tensor(&file, origin, name))
        .collect::<Result<_>>()?;
    Ok(Source {
        arch: Arch::Gpt2(hparams),
        vocab,
        special: SpecialIds::default(),
        tensors,
        notes: Vec::new(),
    })
}

/// The vocabulary of a model that sorts digits: token 0 is "0", and so on.
/// Above ten there is no such reading, and the model takes ids only.
fn digits(n_vocab: usize) -> Vocab {
    if n_vocab > 10 {
        return Vocab::None;
    }
    let tokens = (0..n_vocab).map(|id| id.to_string().into_bytes()).collect();
    Vocab::Pieces { tokens, types: vec![token_type::NORMAL; n_vocab], word_bytes: None }
}

/// Refuses a checkpoint with a tensor that would be lost; causal masks are no loss.
fn check_no_others(file: &File, names: &[(String, String)]) -> Result<()> {
    for name in file.tensors.keys().filter(|name| !name.ends_with(".attn.bias")) {
        ensure!(
            names.iter().any(|(origin, _)| origin == name),
            "the tensor {name} has no place in a GPT-2 model"
        );
    }
    Ok(())
}

fn tensor(file: &Rc<File>, origin: String, name: String) -> Result<SourceTensor> {
    let t = file
        .tensors
        .get(&origin)
        .with_context(|| format!("the checkpoint lacks the tensor {origin}"))?;
    ensure!(
        t.dtype == "torch.float32",
        "the tensor {origin} has the type {}, and only torch.float32 is known here",
        t.dtype
    );
    let (rows, cols) = match t.shape[..] {
        [cols] => (None, cols),
        [rows, cols] => (Some(rows), cols),
        _ => bail!("the tensor {origin} has {} dimensions", t.shape.len()),
    };
    let (held, key) = (Rc::clone(file), origin.clone());
    let load = Box::new(move || decode(&key, &held.tensors[&key]));
    Ok(SourceTensor { name, origin, rows, cols, load })
}

fn decode(name: &str, tensor: &Tensor) -> Result<Vec<f32>> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(&tensor.data);
    let bytes = bytes.with_context(|| format!("the data of the tensor {name} is not base64"))?;
    let want: usize = tensor.shape.iter().product();
    ensure!(
        bytes.len() == want * 4,
        "the tensor {name} holds {} bytes where its shape asks for {}",
        bytes.len(),
        want * 4
    );
    Ok(super::numbers::f32s(&bytes))
}
