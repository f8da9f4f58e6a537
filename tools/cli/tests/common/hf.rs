//! Hugging Face GPT-2 folders, made on the spot.
#![forbid(unsafe_code)]

use super::Rng;
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The sizes of a model.
#[derive(Clone, Copy)]
pub struct Sizes {
    pub n_vocab: usize,
    pub n_ctx: usize,
    pub n_embd: usize,
    pub n_head: usize,
    pub n_layer: usize,
    pub n_ff: usize,
}

/// A checkpoint that can still be changed.
pub struct Model {
    pub config: Map<String, Value>,
    /// Name -> (shape, numbers), written as f32 unless told otherwise.
    pub tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    pub dtype: Dtype,
}

impl Model {
    /// Random weights, tied head.
    pub fn random(s: Sizes, seed: u64) -> Self {
        let mut rng = Rng(seed);
        let (d, f) = (s.n_embd, s.n_ff);
        let mut shapes: Vec<(String, Vec<usize>)> = vec![
            ("wte.weight".into(), vec![s.n_vocab, d]),
            ("wpe.weight".into(), vec![s.n_ctx, d]),
        ];
        for l in 0..s.n_layer {
            let mut put = |name: &str, shape: &[usize]| {
                shapes.push((format!("h.{l}.{name}"), shape.to_vec()))
            };
            for norm in ["ln_1", "ln_2"] {
                put(&format!("{norm}.weight"), &[d]);
                put(&format!("{norm}.bias"), &[d]);
            }
            let linears = [
                ("attn.c_attn", d, 3 * d),
                ("attn.c_proj", d, d),
                ("mlp.c_fc", d, f),
                ("mlp.c_proj", f, d),
            ];
            for (name, inputs, outputs) in linears {
                put(&format!("{name}.weight"), &[inputs, outputs]);
                put(&format!("{name}.bias"), &[outputs]);
            }
        }
        shapes.push(("ln_f.weight".into(), vec![d]));
        shapes.push(("ln_f.bias".into(), vec![d]));
        let numbers = |shape: Vec<usize>| (shape.clone(), rng.floats(shape.iter().product()));
        let tensors = shapes.into_iter().map({
            let mut numbers = numbers;
            move |(name, shape)| (format!("transformer.{name}"), numbers(shape))
        });
        Self { config: config(s), tensors: tensors.collect(), dtype: Dtype::F32 }
    }

    /// A model that answers token i with token i + 1, and the last with the first.
    pub fn counting(n: usize, n_ctx: usize) -> Self {
        let s = Sizes { n_vocab: n, n_ctx, n_embd: n, n_head: 1, n_layer: 1, n_ff: 4 };
        let mut model = Self::random(s, 1);
        for (name, (_, numbers)) in &mut model.tensors {
            let value = if name.contains("ln_") && name.ends_with("weight") { 1.0 } else { 0.0 };
            numbers.fill(value);
        }
        let unit = |from: usize| {
            (0..n * n).map(|i| if i % n == (i / n + from) % n { 1.0 } else { 0.0 }).collect()
        };
        model.set("transformer.wte.weight", &[n, n], unit(0));
        model.set("lm_head.weight", &[n, n], unit(n - 1));
        model.config.insert("tie_word_embeddings".into(), json!(false));
        model
    }

    pub fn set(&mut self, name: &str, shape: &[usize], numbers: Vec<f32>) {
        self.tensors.insert(name.into(), (shape.to_vec(), numbers));
    }

    pub fn numbers(&self, name: &str) -> &[f32] {
        &self.tensors[name].1
    }

    /// Writes the folder with one file of weights.
    pub fn write(&self, dir: &Path) {
        self.write_config(dir);
        self.write_part(&dir.join("model.safetensors"), |_| true);
    }

    pub fn write_config(&self, dir: &Path) {
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join("config.json"), serde_json::to_string_pretty(&self.config).unwrap())
            .unwrap();
    }

    /// Writes the folder with the weights in two files and an index.
    pub fn write_sharded(&self, dir: &Path) {
        self.write_config(dir);
        let names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
        let middle = self.tensors.keys().nth(self.tensors.len() / 2).unwrap().clone();
        self.write_part(&dir.join(names[0]), |name| name < middle.as_str());
        self.write_part(&dir.join(names[1]), |name| name >= middle.as_str());
        let map: Map<String, Value> = self
            .tensors
            .keys()
            .map(|name| (name.clone(), json!(names[usize::from(*name >= middle)])))
            .collect();
        let index = json!({ "metadata": { "total_size": 0 }, "weight_map": map });
        fs::write(dir.join("model.safetensors.index.json"), index.to_string()).unwrap();
    }

    fn write_part(&self, path: &Path, wanted: impl Fn(&str) -> bool) {
        let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = self
            .tensors
            .iter()
            .filter(|(name, _)| wanted(name))
            .map(|(name, (shape, numbers))| (name.clone(), shape.clone(), self.bytes(numbers)))
            .collect();
        let views = bytes.iter().map(|(name, shape, bytes)| {
            (name.as_str(), TensorView::new(self.dtype, shape.clone(), bytes).unwrap())
        });
        serialize_to_file(views, None, path).unwrap();
    }

    fn bytes(&self, numbers: &[f32]) -> Vec<u8> {
        match self.dtype {
            Dtype::F32 => numbers.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Dtype::F16 => {
                numbers.iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect()
            }
            Dtype::BF16 => {
                numbers.iter().flat_map(|&x| half::bf16::from_f32(x).to_le_bytes()).collect()
            }
            Dtype::I32 => numbers.iter().flat_map(|&x| (x as i32).to_le_bytes()).collect(),
            other => panic!("{other:?}"),
        }
    }
}

fn config(s: Sizes) -> Map<String, Value> {
    let value = json!({
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "n_ctx": s.n_ctx,
        "n_positions": s.n_ctx,
        "n_embd": s.n_embd,
        "n_head": s.n_head,
        "n_layer": s.n_layer,
        "n_inner": s.n_ff,
        "vocab_size": s.n_vocab,
        "layer_norm_epsilon": 1e-5,
        "bos_token_id": 50256,
        "eos_token_id": 50256,
    });
    value.as_object().unwrap().clone()
}

/// GPT-2's printable form of a byte.
pub fn spelling(byte: u8) -> char {
    let plain = |b: u8| (0x21..=0x7e).contains(&b) || (0xa1..=0xac).contains(&b) || b >= 0xae;
    if plain(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|&b| !plain(b)).count() as u32;
    char::from_u32(256 + before).unwrap()
}

/// A vocabulary of the given bytes, in that order.
pub fn byte_vocab(bytes: &[u8]) -> Map<String, Value> {
    bytes.iter().enumerate().map(|(id, &b)| (spelling(b).to_string(), json!(id))).collect()
}
