//! A description in JSON beside a file of weights (safetensors or npz): how
//! PyTorch models come in, which are code and cannot be read. docs/CONVERT.md
//! explains the description to those who write one.
#![forbid(unsafe_code)]

use super::arrays::{Array, Arrays, Matrix, blocks};
use super::net::{
    Cell, Direction, Input, Kind, Layer, Merge, NONE, Net, Recurrent, SIGMOID, TANH, activation,
};
use super::source::{SpecialIds, Vocab};
use super::{npz, numbers, vocab};
use anyhow::{Context, Result, bail, ensure};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

/// The description's name in a folder.
pub const FILE: &str = "pagelm.json";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    name: Option<String>,
    /// The file of weights, beside the description.
    #[serde(default = "default_weights")]
    weights: String,
    layers: Vec<Entry>,
    /// Texts of the tokens.
    vocabulary: Option<serde_json::Value>,
    /// Those among them that are no text.
    #[serde(default)]
    control: Vec<String>,
    bos: Option<String>,
    /// Whether a text is read with `bos` before it.
    add_bos: Option<bool>,
    eos: Option<String>,
    unknown: Option<String>,
    context_length: Option<usize>,
    /// Width of the input, where no layer says it.
    input_length: Option<usize>,
    /// Tensors that are not part of the model.
    #[serde(default)]
    ignore: Vec<String>,
}

fn default_weights() -> String {
    "model.safetensors".into()
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Entry {
    Embedding { module: Option<String>, weight: Option<String> },
    OneHot { size: usize },
    Rnn(Cells),
    Gru(Cells),
    Lstm(Cells),
    Dense(DenseEntry),
    Activation { function: String },
    Flatten { steps: usize },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DenseEntry {
    module: Option<String>,
    weight: Option<String>,
    bias: Option<String>,
    #[serde(default = "none")]
    activation: String,
}

fn none() -> String {
    NONE.into()
}

/// A module of PyTorch, all its layers at once, or one layer tensor by tensor.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cells {
    module: Option<String>,
    weight_ih: Option<String>,
    weight_hh: Option<String>,
    bias_ih: Option<String>,
    bias_hh: Option<String>,
    /// The candidate's function, or an Elman cell's: PyTorch's `nonlinearity`.
    activation: Option<String>,
    recurrent_activation: Option<String>,
    reset_after: Option<bool>,
    gate_order: Option<String>,
    #[serde(default)]
    forget_bias: f32,
}

/// Whether a text of JSON is such a description.
pub fn is_description(text: &str) -> bool {
    let json: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let typed = |l: &serde_json::Value| l.get("type").is_some_and(serde_json::Value::is_string);
    json.get("layers")
        .and_then(|l| l.as_array())
        .is_some_and(|l| !l.is_empty() && l.iter().all(typed))
}

/// The description of a folder, if it has one.
pub fn in_folder(dir: &Path) -> Option<PathBuf> {
    Some(dir.join(FILE)).filter(|p| p.is_file())
}

/// Reads a model; its name too if the description gives one.
pub fn read(path: &Path, no_tokenizer: bool) -> Result<(Net, Option<String>)> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let about = || format!("cannot use {}", path.display());
    let mut d: Description = serde_json::from_str(&text).with_context(about)?;
    // A description may come from afar: it names files of its folder, no others.
    let local = Path::new(&d.weights).components().count() == 1 && !d.weights.starts_with('.');
    ensure!(local, "{}: weights must be a file of the same folder", path.display());
    let weights = read_weights(&path.with_file_name(&d.weights))?;
    if no_tokenizer {
        d.vocabulary = None;
    }
    let net = net(&d, &weights).with_context(about)?;
    Ok((net, d.name))
}

fn read_weights(path: &Path) -> Result<Arrays> {
    if path.extension().is_some_and(|e| e == "npz") {
        return npz::read(path);
    }
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file = SafeTensors::deserialize(&bytes)
        .with_context(|| format!("{} is no safetensors file", path.display()))?;
    let mut arrays = Arrays::default();
    for (name, view) in file.iter() {
        let data = match view.dtype() {
            Dtype::F32 => numbers::f32s(view.data()),
            Dtype::F16 => numbers::f16s(view.data()),
            Dtype::BF16 => numbers::bf16s(view.data()),
            other => bail!(
                "the tensor {name} has the type {other:?}, and only F32, F16 and BF16 are known"
            ),
        };
        arrays.insert(name.to_owned(), Array::new(view.shape().to_vec(), data)?)?;
    }
    Ok(arrays)
}

fn net(d: &Description, weights: &Arrays) -> Result<Net> {
    let mut layers = Vec::new();
    let mut steps = None;
    for (at, entry) in d.layers.iter().enumerate() {
        read_entry(entry, weights, &mut layers, &mut steps)
            .with_context(|| format!("layer {at}"))?;
    }
    for name in &d.ignore {
        weights.get(name)?;
    }
    weights.check_all_used()?;
    let input = input(d, &layers)?;
    let (vocab, special) = vocabulary(d)?;
    let sequence = input == Input::Tokens
        || steps.is_some()
        || layers.iter().any(|l| matches!(l.kind, Kind::Recurrent(_)));
    let context = d.context_length;
    Ok(Net { input, steps, sequence, layers, vocab, special, context, notes: Vec::new() })
}

fn input(d: &Description, layers: &[Layer]) -> Result<Input> {
    let width = match layers.first().map(|l| &l.kind) {
        Some(Kind::Embedding(_)) => {
            ensure!(d.input_length.is_none(), "input_length is for models without an embedding");
            return Ok(Input::Tokens);
        }
        Some(Kind::Recurrent(r)) => Some(r.forward.ih.cols),
        Some(Kind::Dense { weight, .. }) => Some(weight.cols),
        _ => None,
    };
    let width = d.input_length.or(width);
    Ok(Input::Vectors(width.context("input_length is needed: the first layer does not tell it")?))
}

fn read_entry(
    entry: &Entry,
    weights: &Arrays,
    layers: &mut Vec<Layer>,
    steps: &mut Option<usize>,
) -> Result<()> {
    let (name, kind) = match entry {
        Entry::Embedding { module, weight } => {
            let name = one_of(module, ".weight", weight)?;
            (name.clone(), Kind::Embedding(weights.matrix(&name)?))
        }
        Entry::OneHot { size } => {
            ensure!((1..=1 << 16).contains(size), "size {size} makes no sense");
            ("one_hot".into(), Kind::Embedding(Matrix::identity(*size)))
        }
        Entry::Dense(dense) => read_dense(dense, weights)?,
        Entry::Activation { function } => {
            (function.clone(), Kind::Activation(activation(function)?))
        }
        Entry::Flatten { steps: n } => {
            *steps = Some(*n);
            ("flatten".into(), Kind::Flatten)
        }
        Entry::Rnn(c) => return read_cells("rnn", c, weights, layers),
        Entry::Gru(c) => return read_cells("gru", c, weights, layers),
        Entry::Lstm(c) => return read_cells("lstm", c, weights, layers),
    };
    layers.push(Layer { name, kind });
    Ok(())
}

/// A tensor's name, given by its module or as it is.
fn one_of(module: &Option<String>, suffix: &str, tensor: &Option<String>) -> Result<String> {
    match (module, tensor) {
        (Some(module), None) => Ok(format!("{module}{suffix}")),
        (None, Some(name)) => Ok(name.clone()),
        _ => bail!("give either module or the tensors"),
    }
}

fn read_dense(d: &DenseEntry, weights: &Arrays) -> Result<(String, Kind)> {
    let name = one_of(&d.module, ".weight", &d.weight)?;
    let weight = weights.matrix(&name)?;
    let own = d.module.as_ref().map(|m| format!("{m}.bias")).filter(|b| weights.has(b));
    let bias = d.bias.clone().or(own).map(|b| weights.vector(&b)).transpose()?;
    Ok((name, Kind::Dense { weight, bias, activation: activation(&d.activation)? }))
}

/// A cell with PyTorch's settings where the description says nothing.
fn cell(kind: &str, c: &Cells) -> Result<Cell> {
    let function =
        |given: &Option<String>, default| given.as_deref().map_or(Ok(default), activation);
    let candidate = function(&c.activation, TANH)?;
    let recurrent = function(&c.recurrent_activation, SIGMOID)?;
    ensure!(
        kind == "gru" || c.reset_after.is_none(),
        "reset_after is a setting of gru, and this is {kind}"
    );
    ensure!(kind == "lstm" || c.forget_bias == 0.0, "forget_bias is a setting of lstm");
    Ok(match kind {
        "rnn" => {
            ensure!(c.recurrent_activation.is_none(), "an rnn has no gates");
            Cell::Rnn { activation: candidate }
        }
        "gru" => Cell::Gru { reset_after: c.reset_after.unwrap_or(true), candidate, recurrent },
        _ => Cell::Lstm { candidate, recurrent },
    })
}

fn read_cells(kind: &str, c: &Cells, weights: &Arrays, layers: &mut Vec<Layer>) -> Result<()> {
    let cell = cell(kind, c)?;
    let Some(module) = &c.module else {
        let get = |name: &Option<String>, what| -> Result<String> {
            name.clone().with_context(|| format!("give either module or {what}"))
        };
        let names = [get(&c.weight_ih, "weight_ih")?, get(&c.weight_hh, "weight_hh")?];
        let biases = [c.bias_ih.clone(), c.bias_hh.clone()];
        let forward = direction(&cell, c, weights, &names, &biases)?;
        layers.push(layer(names[0].clone(), cell, forward, None));
        return Ok(());
    };
    let tensors = [&c.weight_ih, &c.weight_hh, &c.bias_ih, &c.bias_hh];
    ensure!(tensors.iter().all(|t| t.is_none()), "give either module or the tensors, not both");
    // nn.GRU numbers its layers, nn.GRUCell is one layer without a number.
    if weights.has(&format!("{module}.weight_ih")) {
        let forward = of_module(&cell, c, weights, module, "")?;
        layers.push(layer(module.clone(), cell, forward, None));
        return Ok(());
    }
    for l in 0.. {
        if l > 0 && !weights.has(&format!("{module}.weight_ih_l{l}")) {
            break;
        }
        let projected = format!("{module}.weight_hr_l{l}");
        ensure!(
            !weights.has(&projected),
            "the tensor {projected}: projected LSTMs (proj_size) are not supported"
        );
        let forward = of_module(&cell, c, weights, module, &format!("_l{l}"))?;
        let reverse = format!("_l{l}_reverse");
        let two = weights.has(&format!("{module}.weight_ih{reverse}"));
        let backward = two.then(|| of_module(&cell, c, weights, module, &reverse)).transpose()?;
        layers.push(layer(format!("{module} layer {l}"), cell.clone(), forward, backward));
    }
    Ok(())
}

fn layer(name: String, cell: Cell, forward: Direction, backward: Option<Direction>) -> Layer {
    let r = Recurrent { cell, forward, backward, merge: Merge::Concat, sequences: true };
    Layer { name, kind: Kind::Recurrent(Box::new(r)) }
}

fn of_module(cell: &Cell, c: &Cells, w: &Arrays, module: &str, end: &str) -> Result<Direction> {
    let names = ["weight_ih", "weight_hh"].map(|what| format!("{module}.{what}{end}"));
    let biases = ["bias_ih", "bias_hh"]
        .map(|what| Some(format!("{module}.{what}{end}")).filter(|n| w.has(n)));
    direction(cell, c, w, &names, &biases)
}

fn direction(
    cell: &Cell,
    c: &Cells,
    weights: &Arrays,
    names: &[String; 2],
    biases: &[Option<String>; 2],
) -> Result<Direction> {
    let bias = |name: &Option<String>| name.as_ref().map(|n| weights.vector(n)).transpose();
    let mut d = Direction {
        ih: weights.matrix(&names[0])?,
        hh: weights.matrix(&names[1])?,
        ih_bias: bias(&biases[0])?,
        hh_bias: bias(&biases[1])?,
    };
    let gates = cell.n_gates();
    ensure!(
        d.ih.rows.is_multiple_of(gates) && d.ih.rows == d.hh.rows && d.hh.rows == gates * d.hh.cols,
        "{} is {} x {} and {} is {} x {}, which is no {}",
        names[0],
        d.ih.rows,
        d.ih.cols,
        names[1],
        d.hh.rows,
        d.hh.cols,
        cell.name()
    );
    let ours = if gates == 4 { "ifgo" } else { "rzn" };
    if let Some(theirs) = c.gate_order.as_deref().filter(|&o| o != ours) {
        let order = gate_order(theirs, ours).filter(|_| gates > 1);
        let order = order.with_context(|| format!("gate_order {theirs} is no order of {ours}"))?;
        d.ih = d.ih.blocks(&order);
        d.hh = d.hh.blocks(&order);
        d.ih_bias = d.ih_bias.map(|b| blocks(&b, &order));
        d.hh_bias = d.hh_bias.map(|b| blocks(&b, &order));
    }
    if c.forget_bias != 0.0 {
        add_forget_bias(&mut d, c.forget_bias);
    }
    Ok(d)
}

/// Where each of our gates is found among theirs.
fn gate_order(theirs: &str, ours: &str) -> Option<Vec<usize>> {
    let order: Option<Vec<usize>> = ours.chars().map(|g| theirs.find(g)).collect();
    order.filter(|_| theirs.len() == ours.len())
}

/// Adds what an LSTM's maker adds to the forget gate at run time.
pub fn add_forget_bias(d: &mut Direction, forget_bias: f32) {
    let hidden = d.hh.cols;
    let bias = d.ih_bias.get_or_insert_with(|| vec![0.0; 4 * hidden]);
    bias[hidden..2 * hidden].iter_mut().for_each(|b| *b += forget_bias);
}

fn vocabulary(d: &Description) -> Result<(Vocab, SpecialIds)> {
    let Some(json) = &d.vocabulary else { return Ok((Vocab::None, SpecialIds::default())) };
    let mut tokens = vocab::tokens(json)?;
    for text in &d.control {
        tokens.set_control(text)?;
    }
    ensure!(d.bos.is_some() || d.add_bos != Some(true), "add_bos needs a bos");
    let mut special = tokens.special(d.bos.as_deref(), d.eos.as_deref(), d.unknown.as_deref())?;
    special.add_bos = d.add_bos;
    Ok((tokens.into_vocab(), special))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_found_by_their_letters() {
        assert_eq!(gate_order("zrn", "rzn"), Some(vec![1, 0, 2]));
        assert_eq!(gate_order("igfo", "ifgo"), Some(vec![0, 2, 1, 3]));
        assert_eq!(gate_order("ifg", "ifgo"), None);
        assert_eq!(gate_order("ifgoo", "ifgo"), None);
    }

    #[test]
    fn descriptions_are_told_from_other_json() {
        assert!(is_description(r#"{"layers": [{"type": "gru", "module": "rnn"}]}"#));
        assert!(!is_description(r#"{"layers": []}"#));
        assert!(!is_description(r#"{"modelTopology": {}}"#));
        assert!(!is_description("layers"));
    }
}
