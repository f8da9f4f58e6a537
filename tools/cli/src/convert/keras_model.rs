//! Keras models: their JSON description and their layers' weights, whether they
//! came in an HDF5 file, a `.keras` file or a TensorFlow.js folder.
//!
//! Sequential models and functional ones that are a chain. Kernels are
//! (inputs, outputs); an LSTM's gates are i, f, c, o, a GRU's z, r, h.
#![forbid(unsafe_code)]

use super::arrays::{Array, Matrix, blocks};
use super::keras_order::{KerasLayer, in_order};
use super::net::{
    Cell, Direction, HARD_SIGMOID, HARD_SIGMOID_6, Input, Kind, Layer, Merge, NONE, Net, Recurrent,
    SIGMOID, SOFTMAX, TANH,
};
use super::source::{SpecialIds, Vocab};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// What every error about a layer that we do not know ends with.
const SUPPORTED: &str = "Dense, Embedding, SimpleRNN, GRU, LSTM, Bidirectional, TimeDistributed(Dense), Dropout, Flatten, Activation, ReLU, Softmax, InputLayer";

/// Layers that do nothing when a model runs.
const TRAINING_ONLY: [&str; 7] = [
    "Dropout",
    "SpatialDropout1D",
    "GaussianNoise",
    "GaussianDropout",
    "AlphaDropout",
    "ActivityRegularization",
    "InputLayer",
];

/// Gives a layer's arrays in Keras' order: kernel, recurrent kernel, bias; of
/// two directions the forward ones first.
pub type Weights<'a> = dyn Fn(&KerasLayer) -> Result<Vec<Array>> + 'a;

/// Where Keras' versions mean different things by one word.
#[derive(Clone, Copy)]
pub struct Dialect {
    /// What `hard_sigmoid` is.
    hard_sigmoid: &'static str,
}

impl Dialect {
    /// Keras 1 and 2, and TensorFlow.js whoever made the model.
    pub const OLD: Self = Self { hard_sigmoid: HARD_SIGMOID };

    /// The dialect of this `keras_version`.
    pub fn of_version(version: &str) -> Self {
        let major: u32 = version.split('.').next().and_then(|v| v.parse().ok()).unwrap_or(2);
        if major >= 3 { Self { hard_sigmoid: HARD_SIGMOID_6 } } else { Self::OLD }
    }

    fn activation(self, value: Option<&Value>) -> Result<&'static str> {
        let name = match value {
            None | Some(Value::Null) => return Ok(NONE),
            Some(Value::String(name)) => name.as_str(),
            // Keras 3 wraps functions: {"class_name": "function", "config": "relu"}.
            Some(other) => {
                let inner = ["config", "class_name"].iter().find_map(|k| other.get(k)?.as_str());
                inner.context("the activation is neither a name nor a known object")?
            }
        };
        Ok(match name {
            "linear" => NONE,
            "relu" => "relu",
            "tanh" => TANH,
            "sigmoid" => SIGMOID,
            "hard_sigmoid" | "hardSigmoid" => self.hard_sigmoid,
            "softmax" => SOFTMAX,
            "gelu" => "gelu_erf",
            other => bail!(
                "the activation {other} is not supported; supported are linear, relu, tanh, sigmoid, hard_sigmoid, softmax and gelu"
            ),
        })
    }
}

/// Reads a model from its description (`class_name` and `config`).
pub fn net(model: &Value, weights: &Weights, dialect: Dialect) -> Result<Net> {
    let layers = in_order(model)?;
    let mut reader = Reader { dialect, weights, layers: Vec::new(), notes: Vec::new() };
    for layer in &layers {
        reader.add(layer).with_context(|| format!("the layer {}", layer.name))?;
    }
    let shape = input_shape(model, &layers);
    let starts_flat = layers
        .iter()
        .find(|l| !TRAINING_ONLY.contains(&l.class))
        .is_some_and(|l| l.class == "Flatten");
    let (input, steps, sequence) = input(shape.as_deref(), &reader.layers, starts_flat)?;
    Ok(Net {
        input,
        steps,
        sequence,
        layers: reader.layers,
        vocab: Vocab::None,
        special: SpecialIds::default(),
        context: None,
        notes: reader.notes,
    })
}

/// The shape of the input without the batch, unknown sizes as `None`.
fn input_shape(model: &Value, layers: &[KerasLayer]) -> Option<Vec<Option<usize>>> {
    let keys = ["batch_input_shape", "batch_shape", "batchInputShape"];
    let of_layer = layers.first().and_then(|l| keys.iter().find_map(|k| l.config.get(*k)));
    let shape = of_layer.or_else(|| model.get("config")?.get("build_input_shape"))?.as_array()?;
    let sizes = shape.iter().skip(1).map(|d| d.as_u64().and_then(|d| usize::try_from(d).ok()));
    Some(sizes.collect())
}

/// What comes in: kind, number of steps if known, whether there are steps.
fn input(
    shape: Option<&[Option<usize>]>,
    layers: &[Layer],
    starts_flat: bool,
) -> Result<(Input, Option<usize>, bool)> {
    if matches!(layers.first().map(|l| &l.kind), Some(Kind::Embedding(_))) {
        let steps = shape.and_then(|s| s.first().copied().flatten());
        return Ok((Input::Tokens, steps, true));
    }
    match shape {
        Some([width]) => {
            Ok((Input::Vectors(width.context("the input's width is open")?), None, false))
        }
        Some([steps, width]) => {
            Ok((Input::Vectors(width.context("the input's width is open")?), *steps, true))
        }
        Some([steps, rest @ ..]) if starts_flat => {
            let width: Option<usize> = rest.iter().copied().product();
            Ok((Input::Vectors(width.context("the input's shape is open")?), *steps, true))
        }
        Some([]) => bail!("the model takes single numbers without a shape"),
        Some(other) => {
            bail!("the input has {} axes, and at most steps and numbers are supported", other.len())
        }
        None => match layers.first().map(|l| &l.kind) {
            Some(Kind::Dense { weight, .. }) => Ok((Input::Vectors(weight.cols), None, false)),
            Some(Kind::Recurrent(r)) => Ok((Input::Vectors(r.forward.ih.cols), None, true)),
            _ => bail!("the model does not say what its input is"),
        },
    }
}

struct Reader<'a> {
    dialect: Dialect,
    weights: &'a Weights<'a>,
    layers: Vec<Layer>,
    notes: Vec<String>,
}

impl Reader<'_> {
    fn add(&mut self, l: &KerasLayer) -> Result<()> {
        let kind = match l.class {
            class if TRAINING_ONLY.contains(&class) => return Ok(()),
            "Masking" => {
                self.note_masking(l);
                return Ok(());
            }
            "Embedding" => self.embedding(l)?,
            "Dense" => self.dense(l, l.config)?,
            "TimeDistributed" => self.time_distributed(l)?,
            "SimpleRNN" | "GRU" | "LSTM" => self.one_way(l)?,
            "Bidirectional" => self.bidirectional(l)?,
            "Flatten" => Kind::Flatten,
            "Activation" => Kind::Activation(self.dialect.activation(l.config.get("activation"))?),
            "ReLU" => relu(l)?,
            "Softmax" => {
                let axis = l.config.get("axis").and_then(Value::as_i64).unwrap_or(-1);
                ensure!(axis == -1, "a softmax over axis {axis} is not supported");
                Kind::Activation(SOFTMAX)
            }
            other => {
                bail!("layers of the class {other} are not supported; supported are {SUPPORTED}")
            }
        };
        self.layers.push(Layer { name: l.name.into(), kind });
        Ok(())
    }

    fn note_masking(&mut self, l: &KerasLayer) {
        self.notes.push(format!(
            "{} masks padding: leave the padding out of the input, which gives the same",
            l.name
        ));
    }

    fn embedding(&mut self, l: &KerasLayer) -> Result<Kind> {
        if flag(l.config, "mask_zero") {
            self.note_masking(l);
        }
        let [table] = self.arrays(l)?;
        Ok(Kind::Embedding(matrix(table)?))
    }

    /// The layer's arrays, which must be so many.
    fn arrays<const N: usize>(&self, l: &KerasLayer) -> Result<[Array; N]> {
        let list = (self.weights)(l)?;
        let have = list.len();
        list.try_into()
            .ok()
            .with_context(|| format!("it has {have} arrays of weights where {N} are needed"))
    }

    fn dense(&self, l: &KerasLayer, config: &Value) -> Result<Kind> {
        let activation = self.dialect.activation(config.get("activation"))?;
        let (kernel, bias) = if flag_or(config, "use_bias", true) {
            let [kernel, bias] = self.arrays(l)?;
            (kernel, Some(bias.data))
        } else {
            let [kernel] = self.arrays(l)?;
            (kernel, None)
        };
        Ok(Kind::Dense { weight: matrix(kernel)?.transposed(), bias, activation })
    }

    fn time_distributed(&self, l: &KerasLayer) -> Result<Kind> {
        let (class, config) = wrapped(l.config.get("layer"))?;
        ensure!(
            class == "Dense",
            "TimeDistributed of {class} is not supported; supported are {SUPPORTED}"
        );
        self.dense(l, config)
    }

    fn one_way(&self, l: &KerasLayer) -> Result<Kind> {
        ensure!(!flag(l.config, "go_backwards"), "go_backwards is only supported in Bidirectional");
        let cell = self.cell(l.class, l.config)?;
        let (cell, forward) = direction(cell, l.config, (self.weights)(l)?)?;
        self.recurrent(l.config, cell, forward, None, Merge::Concat)
    }

    fn bidirectional(&self, l: &KerasLayer) -> Result<Kind> {
        let (class, config) = wrapped(l.config.get("layer"))?;
        if let Some(back) = l.config.get("backward_layer").filter(|b| !b.is_null()) {
            let (other, settings) = wrapped(Some(back))?;
            let same = |key: &str| config.get(key) == settings.get(key);
            let keys = ["activation", "recurrent_activation", "units", "reset_after", "use_bias"];
            ensure!(
                other == class && keys.iter().all(|k| same(k)),
                "its two directions have different settings"
            );
        }
        let merge = match l.config.get("merge_mode") {
            None => Merge::Concat,
            Some(Value::String(mode)) if mode == "concat" => Merge::Concat,
            Some(Value::String(mode)) if mode == "sum" => Merge::Sum,
            Some(Value::String(mode)) if mode == "ave" => Merge::Mean,
            Some(other) => {
                bail!("the merge_mode {other} is not supported; supported are concat, sum and ave")
            }
        };
        let mut list = (self.weights)(l)?;
        let second = list.split_off(list.len() / 2);
        let cell = self.cell(class, config)?;
        let (cell, forward) = direction(cell, config, list)?;
        let (_, backward) = direction(cell.clone(), config, second)?;
        self.recurrent(config, cell, forward, Some(backward), merge)
    }

    fn recurrent(
        &self,
        config: &Value,
        cell: Cell,
        forward: Direction,
        backward: Option<Direction>,
        merge: Merge,
    ) -> Result<Kind> {
        ensure!(!flag(config, "return_state"), "return_state is not supported");
        ensure!(!flag(config, "time_major"), "time_major is not supported");
        let sequences = flag(config, "return_sequences");
        Ok(Kind::Recurrent(Box::new(Recurrent { cell, forward, backward, merge, sequences })))
    }

    fn cell(&self, class: &str, config: &Value) -> Result<Cell> {
        let function = |key: &str| self.dialect.activation(config.get(key));
        let candidate = function("activation")?;
        Ok(match class {
            "SimpleRNN" => Cell::Rnn { activation: candidate },
            // Older files do not say reset_after; then the bias tells.
            "GRU" => Cell::Gru {
                reset_after: flag(config, "reset_after"),
                candidate,
                recurrent: function("recurrent_activation")?,
            },
            "LSTM" => Cell::Lstm { candidate, recurrent: function("recurrent_activation")? },
            other => bail!("Bidirectional of {other} is not supported; supported are {SUPPORTED}"),
        })
    }
}

fn relu(l: &KerasLayer) -> Result<Kind> {
    let plain = |key: &str| match l.config.get(key) {
        None | Some(Value::Null) => true,
        Some(v) => v.as_f64() == Some(0.0),
    };
    let capped = l.config.get("max_value").is_some_and(|v| !v.is_null());
    ensure!(
        !capped && plain("negative_slope") && plain("threshold"),
        "only the plain ReLU is supported"
    );
    Ok(Kind::Activation("relu"))
}

/// The class and config of a layer inside a layer.
fn wrapped(layer: Option<&Value>) -> Result<(&str, &Value)> {
    let layer = layer.context("the wrapper is empty")?;
    let class = layer
        .get("class_name")
        .and_then(Value::as_str)
        .context("the wrapped layer has no class_name")?;
    let config = layer.get("config").context("the wrapped layer has no config")?;
    Ok((class, config))
}

fn flag(config: &Value, key: &str) -> bool {
    flag_or(config, key, false)
}

fn flag_or(config: &Value, key: &str, default: bool) -> bool {
    config.get(key).and_then(Value::as_bool).unwrap_or(default)
}

fn matrix(array: Array) -> Result<Matrix> {
    match array.shape[..] {
        [rows, cols] => Ok(Matrix { rows, cols, data: array.data }),
        _ => bail!("its kernel has the shape {:?}, and a matrix is needed", array.shape),
    }
}

/// One direction's weights in our conventions, and the cell with `reset_after`
/// as the bias shows it.
fn direction(cell: Cell, config: &Value, list: Vec<Array>) -> Result<(Cell, Direction)> {
    let have = list.len();
    let mut list = list.into_iter();
    let (Some(kernel), Some(recurrent), bias, None) =
        (list.next(), list.next(), list.next(), list.next())
    else {
        bail!(
            "it has {have} arrays of weights where a kernel, a recurrent kernel and perhaps a bias are needed"
        )
    };
    ensure!(bias.is_some() == flag_or(config, "use_bias", true), "its bias is missing or too many");
    let (mut ih, mut hh) = (matrix(kernel)?.transposed(), matrix(recurrent)?.transposed());
    let two = bias.as_ref().is_some_and(|b| b.shape.len() == 2);
    let (mut ih_bias, mut hh_bias) = match bias {
        Some(b) if two => {
            ensure!(b.shape[0] == 2, "its bias has the shape {:?}", b.shape);
            let half = b.data.len() / 2;
            (Some(b.data[..half].to_vec()), Some(b.data[half..].to_vec()))
        }
        other => (other.map(|b| b.data), None),
    };
    let cell = match cell {
        Cell::Gru { reset_after, candidate, recurrent } => {
            ensure!(
                two || !reset_after || ih_bias.is_none(),
                "a GRU with reset_after needs two biases"
            );
            // z, r, h -> r, z, n
            const ORDER: [usize; 3] = [1, 0, 2];
            let whole = |n: usize| n.is_multiple_of(3);
            ensure!(whole(ih.rows) && whole(hh.rows), "its matrices are not three gates");
            (ih, hh) = (ih.blocks(&ORDER), hh.blocks(&ORDER));
            ih_bias = ih_bias.map(|b| blocks(&b, &ORDER));
            hh_bias = hh_bias.map(|b| blocks(&b, &ORDER));
            Cell::Gru { reset_after: reset_after || two, candidate, recurrent }
        }
        other => {
            ensure!(!two, "its bias has two rows, which only a GRU may have");
            other
        }
    };
    Ok((cell, Direction { ih, ih_bias, hh, hh_bias }))
}
