//! What every input format is turned into before it is written: the model's
//! numbers of shape, its vocabulary, and its tensors by their GGUF names.
#![forbid(unsafe_code)]

use super::gguf_writer::{Meta, u32_of};
use super::net_write;
use anyhow::Result;

/// Reads a tensor's numbers, row after row, in GGUF's orientation `[out, in]`.
pub type Load = Box<dyn Fn() -> Result<Vec<f32>>>;

/// A tensor that can be read when its turn comes.
pub struct SourceTensor {
    /// Its name in the GGUF file.
    pub name: String,
    /// Its name in the checkpoint, for messages.
    pub origin: String,
    /// Rows of a matrix; `None` for a vector.
    pub rows: Option<usize>,
    pub cols: usize,
    pub load: Load,
}

/// The shape of a GPT-2 model.
#[derive(Debug)]
pub struct Hparams {
    pub n_vocab: usize,
    pub n_ctx: usize,
    pub n_embd: usize,
    pub n_head: usize,
    pub n_layer: usize,
    pub n_ff: usize,
    pub norm_eps: f32,
    /// Hugging Face's name of the activation function.
    pub activation: &'static str,
}

impl Hparams {
    /// In the order and with the keys of llama.cpp's converter;
    /// `gpt2.vocab_size` and `gpt2.activation_function` are additions.
    fn metadata(&self, meta: &mut Vec<(String, Meta)>) -> Result<()> {
        let numbers = [
            ("gpt2.block_count", self.n_layer),
            ("gpt2.context_length", self.n_ctx),
            ("gpt2.embedding_length", self.n_embd),
            ("gpt2.feed_forward_length", self.n_ff),
            ("gpt2.attention.head_count", self.n_head),
            ("gpt2.vocab_size", self.n_vocab),
        ];
        for (key, value) in numbers {
            meta.push((key.into(), u32_of(key, value)?));
        }
        meta.push(("gpt2.attention.layer_norm_epsilon".into(), Meta::F32(self.norm_eps)));
        meta.push(("gpt2.activation_function".into(), Meta::str(self.activation)));
        Ok(())
    }
}

/// How text becomes token ids.
pub enum Vocab {
    /// Not at all: the model takes ids only.
    None,
    /// GPT-2's byte-level byte-pair encoding.
    Bpe { tokens: Vec<Vec<u8>>, types: Vec<i32>, merges: Vec<Vec<u8>> },
    /// Pieces of raw bytes, the longest match first.
    /// A piece that ends in one of `word_bytes` is not taken before another.
    Pieces { tokens: Vec<Vec<u8>>, types: Vec<i32>, word_bytes: Option<&'static str> },
}

/// The kinds of token that GGUF tells apart.
pub mod token_type {
    pub const NORMAL: i32 = 1;
    pub const CONTROL: i32 = 3;
    pub const USER_DEFINED: i32 = 4;
    pub const UNUSED: i32 = 5;
    pub const BYTE: i32 = 6;
}

/// The tokens that mean something to the one who runs the model.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct SpecialIds {
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    /// What stands for text that no token spells.
    pub unknown: Option<u32>,
    pub add_bos: Option<bool>,
}

/// What kind of network the tensors are, and its numbers of shape.
pub enum Arch {
    Gpt2(Hparams),
    Recurrent(net_write::Shape),
}

/// A model, ready to be written.
pub struct Source {
    pub arch: Arch,
    pub vocab: Vocab,
    pub special: SpecialIds,
    pub tensors: Vec<SourceTensor>,
    /// What the user should know about this conversion.
    pub notes: Vec<String>,
}

impl Source {
    /// The metadata: what the model is, then its tokenizer.
    pub fn metadata(
        &self,
        name: &str,
        file_type: u32,
        quantized: bool,
    ) -> Result<Vec<(String, Meta)>> {
        let arch = match &self.arch {
            Arch::Gpt2(_) => "gpt2",
            Arch::Recurrent(shape) => shape.arch,
        };
        let mut meta = vec![
            ("general.architecture".into(), Meta::str(arch)),
            ("general.type".into(), Meta::str("model")),
            ("general.name".into(), Meta::str(name)),
        ];
        match &self.arch {
            Arch::Gpt2(hparams) => hparams.metadata(&mut meta)?,
            Arch::Recurrent(shape) => shape.metadata(&mut meta)?,
        }
        meta.push(("general.file_type".into(), Meta::U32(file_type)));
        if quantized {
            meta.push(("general.quantization_version".into(), Meta::U32(2)));
        }
        self.tokenizer_metadata(&mut meta);
        Ok(meta)
    }

    fn tokenizer_metadata(&self, meta: &mut Vec<(String, Meta)>) {
        let mut put = |key: &str, value| meta.push((format!("tokenizer.ggml.{key}"), value));
        match &self.vocab {
            // llama.cpp's own word for it; it then counts tokens by gpt2.vocab_size.
            Vocab::None => put("model", Meta::str("none")),
            Vocab::Bpe { tokens, types, merges } => {
                put("model", Meta::str("gpt2"));
                put("pre", Meta::str("gpt-2"));
                put("tokens", Meta::Strings(tokens.clone()));
                put("token_type", Meta::I32s(types.clone()));
                put("merges", Meta::Strings(merges.clone()));
            }
            Vocab::Pieces { tokens, types, .. } => {
                put("model", Meta::str("pagelm.pieces"));
                put("tokens", Meta::Strings(tokens.clone()));
                put("token_type", Meta::I32s(types.clone()));
            }
        }
        if let Some(id) = self.special.bos {
            put("bos_token_id", Meta::U32(id));
        }
        if let Some(id) = self.special.eos {
            put("eos_token_id", Meta::U32(id));
        }
        if let Some(id) = self.special.unknown {
            put("unknown_token_id", Meta::U32(id));
        }
        if let Some(add) = self.special.add_bos {
            put("add_bos_token", Meta::Bool(add));
        }
        if let Vocab::Pieces { word_bytes: Some(bytes), .. } = self.vocab {
            meta.push(("tokenizer.pagelm.word_bytes".into(), Meta::str(bytes)));
        }
    }
}

/// Turns `[rows, cols]` into `[cols, rows]`.
pub fn transpose(numbers: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(numbers.len());
    for c in 0..cols {
        out.extend((0..rows).map(|r| numbers[r * cols + c]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::transpose;

    #[test]
    fn transpose_swaps_the_sides() {
        assert_eq!(
            transpose(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, 3),
            [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]
        );
    }
}
