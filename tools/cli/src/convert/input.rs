//! Tells by its content what the input is, and reads it.
#![forbid(unsafe_code)]

use super::arrays::Matrix;
use super::net::{Input, Kind, Layer, Net};
use super::source::Source;
use super::{gpt2_basic, hf_gpt2, keras, ml5, nano_sort, net_write, pytorch_rnn, tfjs, vocab};
use anyhow::{Context, Result, bail, ensure};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

/// A model as it was read.
pub struct Read {
    pub source: Source,
    /// What the input was, for the report.
    pub kind: &'static str,
    /// The name that the input gives itself.
    pub name: Option<String>,
}

const KNOWN: &str = "a Hugging Face GPT-2 folder, a gpt2-basic folder, llm-viz's JSON, a Keras .h5 or .keras file, a TensorFlow.js model.json, an ml5 charRNN folder, or a pagelm.json beside weights";

/// Reads any model that we know.
pub fn read(path: &Path, vocabulary: Option<&Path>, no_tokenizer: bool) -> Result<Read> {
    ensure!(path.exists(), "{} does not exist", path.display());
    let found = if path.is_dir() { folder(path, no_tokenizer)? } else { file(path, no_tokenizer)? };
    let (net, kind, name) = match found {
        Found::Source(source, kind) => {
            ensure!(vocabulary.is_none(), "--vocabulary is for recurrent models");
            return Ok(Read { source, kind, name: None });
        }
        Found::Net(net, kind, name) => (net, kind, name),
    };
    let net = match vocabulary {
        Some(path) => with_vocabulary(net, path)?,
        None => net,
    };
    Ok(Read { source: net_write::source(net)?, kind, name })
}

enum Found {
    Source(Source, &'static str),
    Net(Net, &'static str, Option<String>),
}

fn folder(path: &Path, no_tokenizer: bool) -> Result<Found> {
    if gpt2_basic::is_model(path) {
        return Ok(Found::Source(gpt2_basic::read(path)?, "gpt2-basic folder"));
    }
    if let Some(file) = pytorch_rnn::in_folder(path) {
        let (net, name) = pytorch_rnn::read(&file, no_tokenizer)?;
        return Ok(Found::Net(net, "described model", name));
    }
    if ml5::is_model(path) {
        return Ok(Found::Net(ml5::read(path, no_tokenizer)?, "ml5 charRNN folder", None));
    }
    if hf_gpt2::is_model(path) {
        let source = hf_gpt2::read(path, no_tokenizer)?;
        return Ok(Found::Source(source, "Hugging Face GPT-2 folder"));
    }
    let model = path.join("model.json");
    if model.is_file() {
        return file(&model, no_tokenizer);
    }
    bail!("{} holds no model that convert knows; give {KNOWN}", path.display());
}

fn file(path: &Path, no_tokenizer: bool) -> Result<Found> {
    let mut head = Vec::new();
    File::open(path)
        .and_then(|f| f.take(4).read_to_end(&mut head))
        .with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(
        head != *b"GGUF" && head != *b"PLM1",
        "{} is a model file already; pagelm pack packs it",
        path.display()
    );
    if head == keras::HDF5_MAGIC {
        return Ok(Found::Net(keras::read_h5(path)?, "Keras HDF5 file", None));
    }
    if head == keras::ZIP_MAGIC {
        ensure!(
            path.extension().is_none_or(|e| e != "npz"),
            "{} holds arrays without a model; describe it in a JSON file (docs/CONVERT.md) and convert that",
            path.display()
        );
        return Ok(Found::Net(keras::read_keras(path)?, "Keras file", None));
    }
    let unknown = || format!("{} is no format that convert knows; give {KNOWN}", path.display());
    ensure!(head.trim_ascii_start().starts_with(b"{"), unknown());
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = String::from_utf8(bytes).ok().with_context(unknown)?;
    if tfjs::is_model(&text) {
        return Ok(Found::Net(tfjs::read(path, &text)?, "TensorFlow.js layers model", None));
    }
    if nano_sort::is_checkpoint(&text) {
        return Ok(Found::Source(nano_sort::read(path, &text)?, "llm-viz checkpoint"));
    }
    ensure!(pytorch_rnn::is_description(&text), unknown());
    let (net, name) = pytorch_rnn::read(path, no_tokenizer)?;
    Ok(Found::Net(net, "described model", name))
}

/// Gives a network a vocabulary; if it takes one-hot vectors of that width, it
/// takes tokens from now on.
fn with_vocabulary(mut net: Net, path: &Path) -> Result<Net> {
    let tokens = vocab::read(path)?;
    let n = tokens.texts.len();
    if let Input::Vectors(width) = net.input {
        ensure!(
            width == n,
            "{} has {n} texts, and the model takes vectors of {width} numbers",
            path.display()
        );
        let table = Kind::Embedding(Matrix::identity(n));
        net.layers.insert(0, Layer { name: "one_hot".into(), kind: table });
        net.input = Input::Tokens;
        net.notes.push("the model takes vectors as wide as the vocabulary: taken for one-hot, and read as tokens".into());
    }
    net.vocab = tokens.into_vocab();
    Ok(net)
}
