//! Keras models in files: HDF5 (`.h5`, Keras 1 to 3) and Keras 3's `.keras`, a
//! zip of a description and an HDF5 file of weights.
#![forbid(unsafe_code)]

use super::arrays::Array;
use super::keras_model::{self, Dialect};
use super::keras_order::KerasLayer;
use super::net::Net;
use anyhow::{Context, Result, ensure};
use hdf5_reader::group::Group;
use hdf5_reader::{Attribute, Dataset, Hdf5File};
use serde_json::Value;
use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;
use zip::ZipArchive;

/// What a file begins with.
pub const HDF5_MAGIC: &[u8] = b"\x89HDF";
pub const ZIP_MAGIC: &[u8] = b"PK\x03\x04";

/// What one file of a `.keras` archive may take unpacked.
const MAX_ENTRY: u64 = 4 << 30;

/// Reads an HDF5 file.
pub fn read_h5(path: &Path) -> Result<Net> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    from_h5(bytes).with_context(|| format!("cannot use {}", path.display()))
}

fn from_h5(bytes: Vec<u8>) -> Result<Net> {
    let file = Hdf5File::from_vec(bytes).context("it is no HDF5 file that can be read")?;
    let root = file.root_group()?;
    let description = root
        .attribute("model_config")
        .ok()
        .context("it holds weights without a model; save the whole model with model.save")?;
    let model: Value =
        serde_json::from_str(&description.read_string()?).context("its model_config is damaged")?;
    let group = root.group("model_weights").context("it holds no weights")?;
    let version = [&root, &group].into_iter().find_map(|g| g.attribute("keras_version").ok());
    let version = version.and_then(|v| v.read_string().ok()).unwrap_or_default();
    let weights = |layer: &KerasLayer| h5_weights(&group, layer.name);
    keras_model::net(&model, &weights, Dialect::of_version(&version))
}

/// The arrays of a layer, in the order of its `weight_names`.
fn h5_weights(group: &Group, layer: &str) -> Result<Vec<Array>> {
    let group = group.group(layer).context("the file holds no weights of it")?;
    let mut names = Vec::new();
    match group.attribute("weight_names") {
        Ok(list) => names = strings(&list),
        // Long lists are cut into numbered pieces.
        Err(_) => {
            for i in 0.. {
                let Ok(part) = group.attribute(&format!("weight_names{i}")) else { break };
                names.extend(strings(&part));
            }
        }
    }
    names.iter().map(|name| dataset(&find(&group, name)?)).collect()
}

/// A list of texts; an empty one is stored as numbers.
fn strings(attribute: &Attribute) -> Vec<String> {
    attribute.read_strings().unwrap_or_default()
}

fn find(group: &Group, path: &str) -> Result<Dataset> {
    let mut parts = path.split('/').collect::<Vec<_>>();
    let last = parts.pop().unwrap_or_default();
    let mut at = group.clone();
    for part in parts {
        at = at.group(part).with_context(|| format!("the weights {path} are missing"))?;
    }
    at.dataset(last).with_context(|| format!("the weights {path} are missing"))
}

fn dataset(dataset: &Dataset) -> Result<Array> {
    let shape = dataset.shape().iter().map(|&d| usize::try_from(d)).collect::<Result<_, _>>()?;
    let data = match dataset.read_array::<f32>() {
        Ok(data) => data.iter().copied().collect(),
        // Keras writes f64 where a user asked for it.
        Err(_) => {
            let wide = dataset.read_array::<f64>();
            let wide =
                wide.with_context(|| format!("{} holds no f32 and no f64", dataset.name()))?;
            wide.iter().map(|&x| x as f32).collect()
        }
    };
    Array::new(shape, data)
}

/// Reads a `.keras` file.
pub fn read_keras(path: &Path) -> Result<Net> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    from_keras(bytes).with_context(|| format!("cannot use {}", path.display()))
}

fn from_keras(bytes: Vec<u8>) -> Result<Net> {
    let mut zip = ZipArchive::new(Cursor::new(bytes)).context("it is no zip archive")?;
    let mut entry = |name: &str| -> Result<Vec<u8>> {
        let file = zip.by_name(name);
        let file = file.with_context(|| format!("it holds no {name}, so it is no .keras file"))?;
        let mut bytes = Vec::new();
        file.take(MAX_ENTRY).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let model: Value =
        serde_json::from_slice(&entry("config.json")?).context("its config.json is damaged")?;
    let metadata: Value = entry("metadata.json")
        .ok()
        .and_then(|m| serde_json::from_slice(&m).ok())
        .unwrap_or_default();
    let version = metadata.get("keras_version").and_then(Value::as_str).unwrap_or("3");
    let file = Hdf5File::from_vec(entry("model.weights.h5")?)
        .context("its model.weights.h5 cannot be read")?;
    let root = file.root_group()?;
    let layers = root.group("layers").context("its model.weights.h5 holds no layers")?;
    let weights = |layer: &KerasLayer| keras_weights(&layers, layer);
    keras_model::net(&model, &weights, Dialect::of_version(version))
}

/// Groups are named after classes, not after layers: `dense`, `dense_1`, ...
/// A wrapper's or a recurrent layer's arrays lie in groups inside, the forward
/// direction's before the backward one's.
fn keras_weights(layers: &Group, layer: &KerasLayer) -> Result<Vec<Array>> {
    let mut name = snake_case(layer.class);
    if layer.nth_of_class > 0 {
        name.push_str(&format!("_{}", layer.nth_of_class));
    }
    let group = layers.group(&name).with_context(|| format!("the file holds no layers/{name}"))?;
    let mut arrays = Vec::new();
    for path in
        ["vars", "cell/vars", "layer/vars", "forward_layer/cell/vars", "backward_layer/cell/vars"]
    {
        collect_vars(&group, path, &mut arrays)?;
    }
    ensure!(!arrays.is_empty(), "layers/{name} holds no weights");
    Ok(arrays)
}

/// The arrays `0`, `1`, ... of a group, if there is one.
fn collect_vars(group: &Group, path: &str, arrays: &mut Vec<Array>) -> Result<()> {
    let mut at = group.clone();
    for part in path.split('/') {
        match at.group(part) {
            Ok(inner) => at = inner,
            Err(_) => return Ok(()),
        }
    }
    for i in 0.. {
        match at.dataset(&i.to_string()) {
            // A layer's random generator is no weight.
            Ok(d) if d.shape().is_empty() => {}
            Ok(d) => arrays.push(dataset(&d)?),
            Err(_) => break,
        }
    }
    Ok(())
}

/// `SimpleRNN` as Keras names its group: `simple_rnn`.
fn snake_case(class: &str) -> String {
    let mut out = String::new();
    let mut last_lower = false;
    for c in class.chars() {
        if c.is_uppercase() && last_lower {
            out.push('_');
        }
        last_lower = c.is_lowercase();
        out.extend(c.to_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::snake_case;

    #[test]
    fn groups_are_named_as_keras_does() {
        for (class, name) in [
            ("Dense", "dense"),
            ("SimpleRNN", "simple_rnn"),
            ("LSTM", "lstm"),
            ("TimeDistributed", "time_distributed"),
        ] {
            assert_eq!(snake_case(class), name);
        }
    }
}
