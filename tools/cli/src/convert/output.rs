//! Writes a model: chooses each tensor's format, quantises row by row, and
//! puts the finished file in its place in one step.
#![forbid(unsafe_code)]

use super::gguf_writer::{TensorShape, header, pad};
use super::source::{Source, SourceTensor};
use crate::model_file::{Aligned, check_header};
use crate::progress;
use anyhow::{Context, Result, bail, ensure};
use pagelm::quant::{DType, dequantize_row, quantize_row};
use std::fs::{self, File};
use std::io::{BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

/// What was written, for the report.
#[derive(Default)]
pub struct Report {
    pub bytes: u64,
    pub n_tensors: usize,
    pub n_params: u64,
    /// Matrices whose rows are not whole blocks and stay f16.
    pub kept_f16: Vec<String>,
    /// Matrices that are q8_0 although q4_0 was asked for.
    pub raised: Vec<String>,
}

/// ggml's numbers for "mostly" this format.
fn file_type(wanted: DType) -> u32 {
    match wanted {
        DType::F32 => 0,
        DType::F16 => 1,
        DType::Q4_0 => 2,
        DType::Q8_0 => 7,
    }
}

/// The format of one tensor. Vectors and positions stay f32; with q4_0 the
/// token embedding and the head get q8_0, since every token passes them; rows
/// that are not whole blocks stay f16.
fn choose(t: &SourceTensor, wanted: DType, report: &mut Report) -> DType {
    if t.rows.is_none() || t.name == "position_embd.weight" {
        return DType::F32;
    }
    let ends = matches!(t.name.as_str(), "token_embd.weight" | "output.weight");
    let target = if ends && wanted == DType::Q4_0 { DType::Q8_0 } else { wanted };
    if target.row_bytes(t.cols).is_none() {
        report.kept_f16.push(t.name.clone());
        return DType::F16;
    }
    if target != wanted {
        report.raised.push(t.name.clone());
    }
    target
}

/// Writes `source` to `path`.
pub fn write(source: &Source, name: &str, wanted: DType, path: &Path) -> Result<Report> {
    let mut report = Report::default();
    let shapes: Vec<TensorShape> = source
        .tensors
        .iter()
        .map(|t| TensorShape {
            name: t.name.clone(),
            rows: t.rows,
            cols: t.cols,
            dtype: choose(t, wanted, &mut report),
        })
        .collect();
    let quantized = shapes.iter().any(|s| s.dtype.is_quantized());
    let meta = source.metadata(name, file_type(wanted), quantized)?;
    let head = header(&meta, &shapes)?;
    // The engine binds a model by its header, so it can say now what it will not run.
    let checked = check_header(Aligned::copy(&head)?.bytes());
    checked.map_err(anyhow::Error::msg).context("the engine would not run this model")?;
    let mut partial = Partial::create(path)?;
    let total = shapes.iter().map(TensorShape::size).sum::<Result<u64>>()?;
    let bar = progress::bytes("converting", total);
    partial.file.write_all(&head)?;
    for (tensor, shape) in source.tensors.iter().zip(&shapes) {
        let numbers =
            (tensor.load)().with_context(|| format!("cannot read the tensor {}", tensor.origin))?;
        let want = tensor.rows.unwrap_or(1) * tensor.cols;
        ensure!(
            numbers.len() == want,
            "the tensor {} has {} numbers where its shape asks for {want}",
            tensor.origin,
            numbers.len()
        );
        write_tensor(tensor, shape.dtype, &numbers, &mut partial.file, &bar)?;
        report.n_params += want as u64;
    }
    report.n_tensors = shapes.len();
    report.bytes = partial.finish()?;
    bar.finish_and_clear();
    Ok(report)
}

fn write_tensor(
    t: &SourceTensor,
    dtype: DType,
    numbers: &[f32],
    out: &mut (impl Write + Seek),
    bar: &indicatif::ProgressBar,
) -> Result<()> {
    if let Some(bad) = numbers.iter().find(|x| !x.is_finite()) {
        bail!("the tensor {} holds {bad}, which no model can use", t.origin);
    }
    let mut row = vec![0; dtype.row_bytes(t.cols).context("the row was measured before")?];
    let mut back = vec![0.0; t.cols];
    for x in numbers.chunks_exact(t.cols) {
        quantize_row(dtype, x, &mut row)?;
        // A number beyond the format's range shows when it is read back.
        dequantize_row(dtype, &row, &mut back)?;
        if let Some(i) = back.iter().position(|x| !x.is_finite()) {
            bail!(
                "the tensor {} holds {}, which is too large for {}; use --quantize f32",
                t.origin,
                x[i],
                dtype.name()
            );
        }
        out.write_all(&row)?;
        bar.inc(row.len() as u64);
    }
    pad(out)
}

/// A name for a temporary file in the target's folder.
pub fn beside(target: &Path, what: &str) -> Result<PathBuf> {
    let name =
        target.file_name().with_context(|| format!("{} is not a file name", target.display()))?;
    Ok(target.with_file_name(format!(".{}.{}.{what}", name.to_string_lossy(), std::process::id())))
}

/// A file that is not yet in its place; if it never gets there, it goes.
pub struct Partial {
    pub file: BufWriter<File>,
    temporary: PathBuf,
    target: PathBuf,
    done: bool,
}

impl Partial {
    /// Opens a temporary file beside the target.
    pub fn create(target: &Path) -> Result<Self> {
        let temporary = beside(target, "part")?;
        ensure!(!target.is_dir(), "{} is a folder", target.display());
        let file = File::create(&temporary)
            .with_context(|| format!("cannot write {}", temporary.display()))?;
        Ok(Self {
            file: BufWriter::with_capacity(1 << 20, file),
            temporary,
            target: target.into(),
            done: false,
        })
    }

    /// Puts the file in its place and returns its size.
    pub fn finish(mut self) -> Result<u64> {
        let flush = |out: &mut BufWriter<File>| -> std::io::Result<u64> {
            out.flush()?;
            out.get_ref().sync_all()?;
            out.stream_position()
        };
        let size = flush(&mut self.file)
            .with_context(|| format!("cannot write {}", self.temporary.display()))?;
        fs::rename(&self.temporary, &self.target)
            .with_context(|| format!("cannot write {}", self.target.display()))?;
        self.done = true;
        Ok(size)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.done {
            // The error that brought us here is the one to tell.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}
