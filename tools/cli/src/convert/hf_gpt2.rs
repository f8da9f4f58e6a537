//! Hugging Face GPT-2 folders: `config.json`, `model.safetensors` (or shards
//! with an index), tokenizer files if there are any.
//!
//! The weights of their `Conv1D` are `[in, out]` and are turned. What GGUF's
//! `gpt2` cannot say is refused by the name of its key, except for the two
//! scalings of attention, which go into the query's rows.
#![forbid(unsafe_code)]

use super::safetensors_dir::Checkpoint;
use super::source::{Arch, Hparams, Load, Source, SourceTensor, transpose};
use super::tokenizer;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::rc::Rc;

/// What Hugging Face calls the activations, and what GGUF's key then says.
const ACTIVATIONS: [(&str, &str); 6] = [
    ("gelu_new", "gelu_new"),
    ("gelu_pytorch_tanh", "gelu_pytorch_tanh"),
    ("gelu_fast", "gelu_fast"),
    ("gelu", "gelu"),
    ("gelu_python", "gelu"),
    ("relu", "relu"),
];

/// Whether a folder looks like one of Hugging Face's.
pub fn is_model(dir: &Path) -> bool {
    dir.join("config.json").is_file()
}

/// Reads a model. With `no_tokenizer` its tokenizer files are left alone.
pub fn read(dir: &Path, no_tokenizer: bool) -> Result<Source> {
    let config = Config::read(&dir.join("config.json"))?;
    let checkpoint = Rc::new(Checkpoint::open(dir)?);
    let hparams = config.hparams()?;
    let mut tensors = Binder { checkpoint: &checkpoint, used: BTreeSet::new() };
    let all = tensors.bind(&config, &hparams)?;
    tensors.refuse_others()?;
    let mut notes = Vec::new();
    let ids = named_ids(dir, &config)?;
    let (vocab, special) = if no_tokenizer {
        (super::source::Vocab::None, tokenizer::ids_only(&ids, hparams.n_vocab))
    } else {
        tokenizer::read(dir, &ids, hparams.n_vocab, &mut notes)?
    };
    Ok(Source { arch: Arch::Gpt2(hparams), vocab, special, tensors: all, notes })
}

/// The ids of special tokens, by the file that rules generation before `config.json`.
fn named_ids(dir: &Path, config: &Config) -> Result<Value> {
    let generation = tokenizer::optional_json(&dir.join("generation_config.json"))?;
    let get = |key: &str| generation.get(key).filter(|v| !v.is_null()).or(config.get(key));
    Ok(json!({ "bos_token_id": get("bos_token_id"), "eos_token_id": get("eos_token_id") }))
}

/// `config.json`, with the defaults of Hugging Face's `GPT2Config`.
struct Config {
    json: Value,
}

impl Config {
    fn read(path: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let json: Value = serde_json::from_str(&text)
            .with_context(|| format!("{} is not JSON", path.display()))?;
        let kind = json.get("model_type").and_then(Value::as_str).unwrap_or("missing");
        ensure!(kind == "gpt2", "config.json: model_type is {kind}, and convert knows gpt2");
        Ok(Self { json })
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.json.get(key).filter(|v| !v.is_null())
    }

    fn size(&self, key: &str, default: usize) -> Result<usize> {
        let Some(value) = self.get(key) else { return Ok(default) };
        let size = value.as_u64().filter(|n| (1..=1 << 24).contains(n));
        Ok(size.with_context(|| format!("config.json: {key} is {value}, which makes no sense"))?
            as usize)
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value.as_bool().with_context(|| {
            format!("config.json: {key} is {value} where true or false was expected")
        })
    }

    fn hparams(&self) -> Result<Hparams> {
        ensure!(
            !self.flag("add_cross_attention", false)?,
            "config.json: add_cross_attention is true, and cross attention is not supported"
        );
        let n_embd = self.size("n_embd", 768)?;
        let n_head = self.size("n_head", 12)?;
        ensure!(
            n_embd % n_head == 0,
            "config.json: n_embd {n_embd} is not a multiple of n_head {n_head}"
        );
        let eps = self.get("layer_norm_epsilon").map_or(Some(1e-5), Value::as_f64);
        let eps = eps.filter(|e| e.is_finite() && *e >= 0.0);
        Ok(Hparams {
            n_vocab: self.size("vocab_size", 50257)?,
            n_ctx: self.size("n_positions", self.size("n_ctx", 1024)?)?,
            n_embd,
            n_head,
            n_layer: self.size("n_layer", 12)?,
            n_ff: self.size("n_inner", 4 * n_embd)?,
            norm_eps: eps.context("config.json: layer_norm_epsilon makes no sense")? as f32,
            activation: self.activation()?,
        })
    }

    fn activation(&self) -> Result<&'static str> {
        let name = self.get("activation_function").map_or(Some("gelu_new"), Value::as_str);
        let name = name.context("config.json: activation_function is not a string")?;
        let known = ACTIVATIONS.iter().find(|(theirs, _)| *theirs == name);
        let Some((_, ours)) = known else {
            bail!(
                "config.json: activation_function is {name}, and only gelu_new, gelu_pytorch_tanh, gelu_fast, gelu and relu are supported"
            );
        };
        Ok(ours)
    }

    /// What the query must be multiplied by, so that dividing the scores by
    /// sqrt(head size), which the engine always does, gives what this model means.
    fn query_scale(&self, h: &Hparams, layer: usize) -> Result<Option<f32>> {
        let mut scale = 1.0f64;
        if !self.flag("scale_attn_weights", true)? {
            scale *= ((h.n_embd / h.n_head) as f64).sqrt();
        }
        if self.flag("scale_attn_by_inverse_layer_idx", false)? {
            scale /= (layer + 1) as f64;
        }
        Ok((scale != 1.0).then_some(scale as f32))
    }
}

/// Gives GGUF's names to a checkpoint's tensors and checks their shapes.
struct Binder<'a> {
    checkpoint: &'a Rc<Checkpoint>,
    used: BTreeSet<String>,
}

impl Binder<'_> {
    fn bind(&mut self, config: &Config, h: &Hparams) -> Result<Vec<SourceTensor>> {
        let (d, f) = (h.n_embd, h.n_ff);
        let mut all = vec![
            self.matrix("wte.weight", "token_embd.weight", h.n_vocab, d)?,
            self.matrix("wpe.weight", "position_embd.weight", h.n_ctx, d)?,
        ];
        for l in 0..h.n_layer {
            let scale = config.query_scale(h, l)?;
            all.extend(self.norm(&format!("h.{l}.ln_1"), &format!("blk.{l}.attn_norm"), d)?);
            all.extend(self.linear(
                &format!("h.{l}.attn.c_attn"),
                &format!("blk.{l}.attn_qkv"),
                3 * d,
                d,
                scale,
            )?);
            all.extend(self.linear(
                &format!("h.{l}.attn.c_proj"),
                &format!("blk.{l}.attn_output"),
                d,
                d,
                None,
            )?);
            all.extend(self.norm(&format!("h.{l}.ln_2"), &format!("blk.{l}.ffn_norm"), d)?);
            all.extend(self.linear(
                &format!("h.{l}.mlp.c_fc"),
                &format!("blk.{l}.ffn_up"),
                f,
                d,
                None,
            )?);
            all.extend(self.linear(
                &format!("h.{l}.mlp.c_proj"),
                &format!("blk.{l}.ffn_down"),
                d,
                f,
                None,
            )?);
        }
        all.extend(self.norm("ln_f", "output_norm", d)?);
        self.head(config, h, &mut all)?;
        Ok(all)
    }

    /// The output head, unless it is the token embedding once more.
    fn head(&mut self, config: &Config, h: &Hparams, all: &mut Vec<SourceTensor>) -> Result<()> {
        let tied = config.flag("tie_word_embeddings", true)?;
        if self.checkpoint.has("lm_head.weight") {
            let head = self.matrix("lm_head.weight", "output.weight", h.n_vocab, h.n_embd)?;
            if !self.checkpoint.same("lm_head.weight", "wte.weight")? {
                ensure!(
                    !tied,
                    "config.json: tie_word_embeddings is true (its default), but lm_head.weight is not equal to wte.weight; set it to false if the head is meant to differ"
                );
                all.push(head);
            }
        } else {
            ensure!(
                tied,
                "config.json: tie_word_embeddings is false, but the checkpoint lacks the tensor lm_head.weight"
            );
        }
        if self.checkpoint.has("lm_head.bias") {
            all.push(self.vector("lm_head.bias", "output.bias", h.n_vocab)?);
        }
        Ok(())
    }

    fn norm(&mut self, theirs: &str, ours: &str, n: usize) -> Result<Vec<SourceTensor>> {
        let mut both =
            vec![self.vector(&format!("{theirs}.weight"), &format!("{ours}.weight"), n)?];
        self.bias(theirs, ours, n, &mut both)?;
        Ok(both)
    }

    /// A `Conv1D`: its weight is stored `[cols, rows]`. `scale` is for the
    /// first third of the rows, which is the query's.
    fn linear(
        &mut self,
        theirs: &str,
        ours: &str,
        rows: usize,
        cols: usize,
        scale: Option<f32>,
    ) -> Result<Vec<SourceTensor>> {
        let (from, to) = (format!("{theirs}.weight"), format!("{ours}.weight"));
        let stored = self.load(&from, &[cols, rows])?;
        let turned = move || Ok(scaled(transpose(&stored()?, cols, rows), scale));
        let mut both = vec![SourceTensor {
            name: to,
            origin: from,
            rows: Some(rows),
            cols,
            load: Box::new(turned),
        }];
        self.bias(theirs, ours, rows, &mut both)?;
        if let (Some(_), Some(bias)) = (scale, both.get_mut(1)) {
            let plain = std::mem::replace(&mut bias.load, Box::new(|| Ok(Vec::new())));
            bias.load = Box::new(move || Ok(scaled(plain()?, scale)));
        }
        Ok(both)
    }

    /// Some GPT-2 variants have no biases; an absent one is zero.
    fn bias(
        &mut self,
        theirs: &str,
        ours: &str,
        n: usize,
        both: &mut Vec<SourceTensor>,
    ) -> Result<()> {
        let from = format!("{theirs}.bias");
        if self.checkpoint.has(&from) {
            both.push(self.vector(&from, &format!("{ours}.bias"), n)?);
        }
        Ok(())
    }

    fn matrix(
        &mut self,
        theirs: &str,
        ours: &str,
        rows: usize,
        cols: usize,
    ) -> Result<SourceTensor> {
        let load = self.load(theirs, &[rows, cols])?;
        Ok(SourceTensor { name: ours.into(), origin: theirs.into(), rows: Some(rows), cols, load })
    }

    fn vector(&mut self, theirs: &str, ours: &str, n: usize) -> Result<SourceTensor> {
        let load = self.load(theirs, &[n])?;
        Ok(SourceTensor { name: ours.into(), origin: theirs.into(), rows: None, cols: n, load })
    }

    /// Checks the shape now, reads later.
    fn load(&mut self, name: &str, shape: &[usize]) -> Result<Load> {
        let have = self.checkpoint.shape(name)?;
        ensure!(
            have == shape,
            "the tensor {name} has the shape {have:?} where config.json asks for {shape:?}"
        );
        self.used.insert(name.to_owned());
        let (checkpoint, name) = (Rc::clone(self.checkpoint), name.to_owned());
        Ok(Box::new(move || checkpoint.read(&name)))
    }

    /// Refuses a tensor that would be lost; causal masks are no loss.
    fn refuse_others(&self) -> Result<()> {
        for name in self.checkpoint.names() {
            let mask = name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias");
            ensure!(
                mask || self.used.contains(name),
                "the tensor {name} has no place in a GPT-2 language model"
            );
        }
        Ok(())
    }
}

/// Multiplies the first third of the numbers.
fn scaled(mut numbers: Vec<f32>, scale: Option<f32>) -> Vec<f32> {
    let third = numbers.len() / 3;
    if let Some(scale) = scale {
        numbers[..third].iter_mut().for_each(|x| *x *= scale);
    }
    numbers
}
