//! TensorFlow.js layers models: `model.json` with the topology in Keras' words
//! and a manifest of weights, which lie in binary shards beside it.
#![forbid(unsafe_code)]

use super::arrays::Array;
use super::keras_model::{self, Dialect};
use super::keras_order::KerasLayer;
use super::net::Net;
use super::numbers;
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;
use std::fs;
use std::path::Path;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    format: Option<String>,
    model_topology: Value,
    #[serde(default)]
    weights_manifest: Vec<Group>,
}

/// Shards that are one stream of bytes, and the tensors in it.
#[derive(Deserialize)]
struct Group {
    paths: Vec<String>,
    weights: Vec<Spec>,
}

#[derive(Deserialize)]
struct Spec {
    name: String,
    shape: Vec<usize>,
    dtype: String,
    quantization: Option<Quantization>,
}

/// `min` and `scale` are missing for float16.
#[derive(Deserialize)]
struct Quantization {
    dtype: String,
    min: Option<f64>,
    scale: Option<f64>,
}

/// Whether the text of a JSON file is such a model.
pub fn is_model(text: &str) -> bool {
    text.contains("\"modelTopology\"")
}

/// Reads a model from its `model.json`.
pub fn read(path: &Path, text: &str) -> Result<Net> {
    from_text(path, text).with_context(|| format!("cannot use {}", path.display()))
}

fn from_text(path: &Path, text: &str) -> Result<Net> {
    let file: File = serde_json::from_str(text)?;
    let format = file.format.as_deref().unwrap_or("layers-model");
    ensure!(
        format == "layers-model",
        "it is a {format}; only layers models keep their layers (tf.loadLayersModel reads them)"
    );
    // Models that Python wrote have the topology one level deeper.
    let topology = file.model_topology.get("model_config").unwrap_or(&file.model_topology);
    let mut all = Vec::new();
    for group in &file.weights_manifest {
        read_group(path, group, &mut all)?;
    }
    let weights = |layer: &KerasLayer| of_layer(&all, layer.name);
    keras_model::net(topology, &weights, Dialect::OLD)
}

fn read_group(path: &Path, group: &Group, all: &mut Vec<(String, Array)>) -> Result<()> {
    let mut bytes = Vec::new();
    for shard in &group.paths {
        let local = Path::new(shard).components().count() == 1 && !shard.starts_with('.');
        ensure!(local, "the shard {shard} lies outside the folder");
        let shard = path.with_file_name(shard);
        bytes.extend(fs::read(&shard).with_context(|| format!("cannot read {}", shard.display()))?);
    }
    let mut rest = &bytes[..];
    for spec in &group.weights {
        let array = take(spec, &mut rest).with_context(|| format!("the weights {}", spec.name))?;
        all.push((spec.name.clone(), array));
    }
    ensure!(rest.is_empty(), "the shards hold {} bytes more than the manifest says", rest.len());
    Ok(())
}

/// Reads one tensor off the front of the bytes.
fn take(spec: &Spec, rest: &mut &[u8]) -> Result<Array> {
    let n = spec.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    let stored = spec.quantization.as_ref().map_or(&spec.dtype, |q| &q.dtype);
    let width = match stored.as_str() {
        "float32" => 4,
        "float16" | "uint16" => 2,
        "uint8" => 1,
        other => bail!("are of the type {other}, and float32, float16, uint16 and uint8 are known"),
    };
    let len = n.and_then(|n| n.checked_mul(width)).filter(|&len| len <= rest.len());
    let (data, more) = rest.split_at(len.context("end beyond the shards; download them again")?);
    *rest = more;
    let data = match (stored.as_str(), &spec.quantization) {
        ("float32", _) => numbers::f32s(data),
        ("float16", _) => numbers::f16s(data),
        (_, Some(Quantization { min: Some(min), scale: Some(scale), .. })) => {
            let steps: Vec<u16> = match width {
                1 => data.iter().map(|&b| b.into()).collect(),
                _ => data.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect(),
            };
            // In TensorFlow.js' order of operations, which rounds each.
            steps.iter().map(|&q| (f64::from(q) * scale + min) as f32).collect()
        }
        _ => bail!("are integers without min and scale"),
    };
    Array::new(spec.shape.clone(), data)
}

/// A layer's arrays in the manifest's order.
fn of_layer(all: &[(String, Array)], layer: &str) -> Result<Vec<Array>> {
    let own = |name: &str| name.split('/').next() == Some(layer);
    let list: Vec<Array> = all.iter().filter(|(n, _)| own(n)).map(|(_, a)| a.clone()).collect();
    ensure!(!list.is_empty(), "the manifest names no weights of it");
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(shape: &[usize], dtype: &str, quantization: Option<Quantization>) -> Spec {
        Spec { name: "w".into(), shape: shape.to_vec(), dtype: dtype.into(), quantization }
    }

    fn quantized(dtype: &str) -> Option<Quantization> {
        Some(Quantization { dtype: dtype.into(), min: Some(-1.0), scale: Some(0.5) })
    }

    #[test]
    fn quantised_weights_are_spread_again() {
        let bytes = [0u8, 1, 255, 9];
        let mut rest = &bytes[..];
        let got = take(&spec(&[3], "float32", quantized("uint8")), &mut rest).unwrap();
        assert_eq!(got.data, [-1.0, -0.5, 126.5]);
        assert_eq!(rest, [9]);
        let got = take(&spec(&[2, 1], "float32", quantized("uint16")), &mut &bytes[..]).unwrap();
        assert_eq!(got.data, [127.0, (255.0 + 256.0 * 9.0) * 0.5 - 1.0]);
    }

    #[test]
    fn short_and_strange_weights_are_refused() {
        assert!(take(&spec(&[2], "float32", None), &mut &[0u8; 7][..]).is_err());
        assert!(take(&spec(&[1], "int32", None), &mut &[0u8; 7][..]).is_err());
        assert!(take(&spec(&[1], "uint8", None), &mut &[0u8; 7][..]).is_err());
        assert!(take(&spec(&[usize::MAX, 2], "float32", None), &mut &[0u8; 7][..]).is_err());
    }
}
