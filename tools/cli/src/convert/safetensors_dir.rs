//! A folder's safetensors files as one set of tensors, read one at a time.
//!
//! Only headers are held. Files are read, not mapped: mapping needs `unsafe`,
//! and a file that shrinks under a mapping kills the process.
#![forbid(unsafe_code)]

use super::numbers;
use anyhow::{Context, Result, bail, ensure};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A header of GPT-2's largest form has 60 KB.
const MAX_HEADER: u64 = 100 << 20;

/// The tensors of a checkpoint, by name without the `transformer.` prefix.
pub struct Checkpoint {
    tensors: BTreeMap<String, Entry>,
}

struct Entry {
    file: PathBuf,
    dtype: Dtype,
    shape: Vec<usize>,
    start: u64,
    len: usize,
}

impl Checkpoint {
    /// Reads the headers of `model.safetensors`, or of the files its index names.
    pub fn open(dir: &Path) -> Result<Self> {
        let mut checkpoint = Self { tensors: BTreeMap::new() };
        for file in files(dir)? {
            checkpoint.add(&file).with_context(|| format!("cannot use {}", file.display()))?;
        }
        Ok(checkpoint)
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut head = vec![0; 8];
        file.read_exact(&mut head).context("it is shorter than its own header")?;
        let n = u64::from_le_bytes(head[..8].try_into().expect("eight bytes were read"));
        ensure!(n <= size.saturating_sub(8), "its header states {n} bytes, more than the file has");
        ensure!(n <= MAX_HEADER, "its header states {n} bytes, more than any model needs");
        head.resize(n as usize, 0);
        file.read_exact(&mut head)?;
        let metadata: Metadata = serde_json::from_slice(&head).context("its header is damaged")?;
        let data = 8 + n;
        for (name, info) in metadata.tensors() {
            let (start, end) = info.data_offsets;
            ensure!(
                size_of(info).is_some_and(|n| start.checked_add(n) == Some(end)),
                "the size of the tensor {name} does not fit its shape"
            );
            ensure!(
                end as u64 <= size - data,
                "the tensor {name} ends beyond the file; download it again"
            );
            let entry = Entry {
                file: path.into(),
                dtype: info.dtype,
                shape: info.shape.clone(),
                start: data + start as u64,
                len: end - start,
            };
            let short = name.strip_prefix("transformer.").unwrap_or(&name).to_owned();
            ensure!(self.tensors.insert(short, entry).is_none(), "the tensor {name} occurs twice");
        }
        Ok(())
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.tensors.keys()
    }

    /// Whether there is such a tensor.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// A tensor's shape, outermost dimension first.
    pub fn shape(&self, name: &str) -> Result<&[usize]> {
        Ok(&self.entry(name)?.shape)
    }

    fn entry(&self, name: &str) -> Result<&Entry> {
        self.tensors.get(name).with_context(|| format!("the checkpoint lacks the tensor {name}"))
    }

    /// A tensor's numbers.
    pub fn read(&self, name: &str) -> Result<Vec<f32>> {
        let bytes = self.bytes(name)?;
        Ok(match self.entry(name)?.dtype {
            Dtype::F32 => numbers::f32s(&bytes),
            Dtype::F16 => numbers::f16s(&bytes),
            Dtype::BF16 => numbers::bf16s(&bytes),
            other => bail!(
                "the tensor {name} has the type {other:?}, and only F32, F16 and BF16 are known"
            ),
        })
    }

    /// Whether two tensors hold the same bits.
    pub fn same(&self, a: &str, b: &str) -> Result<bool> {
        let (x, y) = (self.entry(a)?, self.entry(b)?);
        Ok(x.dtype == y.dtype && x.shape == y.shape && self.bytes(a)? == self.bytes(b)?)
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        let entry = self.entry(name)?;
        let mut bytes = vec![0; entry.len];
        let mut read = || -> std::io::Result<()> {
            let mut file = File::open(&entry.file)?;
            file.seek(SeekFrom::Start(entry.start))?;
            file.read_exact(&mut bytes)
        };
        read().with_context(|| format!("cannot read {}", entry.file.display()))?;
        Ok(bytes)
    }
}

/// The bytes that a tensor's shape and type ask for.
fn size_of(info: &TensorInfo) -> Option<usize> {
    let numbers = info.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
    numbers.checked_mul(info.dtype.bitsize()).map(|bits| bits / 8)
}

/// The checkpoint's files.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let single = dir.join("model.safetensors");
    if single.is_file() {
        return Ok(vec![single]);
    }
    let index = dir.join("model.safetensors.index.json");
    if !index.is_file() {
        let old = dir.join("pytorch_model.bin").is_file();
        let why = if old {
            "; its pytorch_model.bin can be saved anew as safetensors by transformers"
        } else {
            ""
        };
        bail!(
            "{} holds neither model.safetensors nor model.safetensors.index.json{why}",
            dir.display()
        );
    }
    let text =
        fs::read_to_string(&index).with_context(|| format!("cannot read {}", index.display()))?;
    let json: Value =
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON", index.display()))?;
    let map = json.get("weight_map").and_then(Value::as_object);
    let map = map.with_context(|| format!("{} lacks weight_map", index.display()))?;
    let mut names: Vec<&str> = map.values().filter_map(Value::as_str).collect();
    names.sort_unstable();
    names.dedup();
    // An index comes from afar: it may name files of this folder, no others.
    let local = names.iter().all(|n| Path::new(n).components().count() == 1 && !n.starts_with('.'));
    ensure!(
        local && !names.is_empty(),
        "{} names files outside its folder, or none",
        index.display()
    );
    Ok(names.iter().map(|n| dir.join(n)).collect())
}
