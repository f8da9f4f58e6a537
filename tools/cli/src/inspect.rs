//! `pagelm inspect`: what a model file holds, and the memory it will take, to
//! the byte, from its header alone.
#![forbid(unsafe_code)]

use crate::model_file::{about, check_header, read_header};
use anyhow::Result;
use clap::Args as ClapArgs;
use pagelm::gguf::{Array, Gguf, Value};
use pagelm::{ModelInfo, SessionParams};
use serde::Serialize;
use serde_json::{Map, Value as Json, json};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Arrays longer than this are counted, and only their beginning is shown.
const SHOWN: usize = 6;

#[derive(ClapArgs)]
pub struct Args {
    /// A model file, plain or packed
    model: PathBuf,
    /// The context to measure the memory for [default: the model's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    context: Option<u32>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Bytes, each piece as a host will have to give it.
#[derive(Serialize)]
struct Memory {
    context: u32,
    file: usize,
    model: usize,
    session: usize,
    total: usize,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let path = args.model.as_path();
    let (head, on_disk) = read_header(path)?;
    let gguf = Gguf::parse(head.bytes()).map_err(|e| about(path, e))?;
    // A file that is no model of ours can be looked at all the same.
    let info = pagelm::probe(head.bytes());
    let memory = match &info {
        Ok(info) => Some(measure(path, head.bytes(), info, args.context)?),
        Err(_) => None,
    };
    if args.json {
        print_json(&gguf, on_disk, info.as_ref().ok(), memory.as_ref())?;
    } else {
        print_text(path, &gguf, on_disk, info.as_ref().ok(), memory.as_ref())?;
    }
    check_header(head.bytes()).map_err(|e| about(path, e))?;
    anyhow::ensure!(
        on_disk >= gguf.file_size() as u64,
        "{}: the header asks for {} bytes and the file has {on_disk}; download it again",
        path.display(),
        gguf.file_size()
    );
    Ok(())
}

fn measure(path: &Path, head: &[u8], info: &ModelInfo, context: Option<u32>) -> Result<Memory> {
    let params = SessionParams { n_ctx: context.unwrap_or(0), ..SessionParams::default() };
    let session = pagelm::Session::probe(head, &params).map_err(|e| about(path, e))?;
    let (file, model) = (info.file_size, info.model_mem_size);
    let total = file + model + session;
    Ok(Memory { context: context.unwrap_or(info.n_ctx), file, model, session, total })
}

fn print_json(
    gguf: &Gguf<'_>,
    on_disk: u64,
    info: Option<&ModelInfo>,
    memory: Option<&Memory>,
) -> Result<()> {
    let metadata: Map<String, Json> =
        gguf.metadata().map(|(key, value)| (lossy(key), json_value(&value))).collect();
    let tensors: Vec<Json> = gguf
        .tensors()
        .map(|t| {
            let shape = if t.n_dims == 1 { vec![t.cols] } else { vec![t.rows, t.cols] };
            json!({ "name": lossy(t.name), "type": t.dtype.name(), "shape": shape, "offset": t.offset, "bytes": t.size })
        })
        .collect();
    crate::print_json(&json!({
        "packed": gguf.is_packed(),
        "header_bytes": gguf.data_start(),
        "file_bytes": on_disk,
        "parameters": info.map(|i| i.n_params),
        "metadata": metadata,
        "tensors": tensors,
        "memory": memory,
    }))
}

fn json_value(value: &Value<'_>) -> Json {
    match value {
        Value::U64(v) => json!(v),
        Value::I64(v) => json!(v),
        Value::F64(v) => float(*v),
        Value::Bool(v) => json!(v),
        Value::Str(v) => json!(lossy(v)),
        Value::Array(a) => {
            json!({ "length": a.len(), "first": first(a).map(|v| json_value(&v)).collect::<Vec<_>>() })
        }
        _ => Json::Null,
    }
}

/// A number as short as it can be; most are f32, widened by the reader.
fn float(number: f64) -> Json {
    let narrow = number as f32;
    let short = if f64::from(narrow) == number { narrow.to_string().parse() } else { Ok(number) };
    short.map_or(Json::Null, |n| json!(n))
}

fn first<'a>(array: &Array<'a>) -> impl Iterator<Item = Value<'a>> {
    array.iter().take(SHOWN)
}

fn print_text(
    path: &Path,
    gguf: &Gguf<'_>,
    on_disk: u64,
    info: Option<&ModelInfo>,
    memory: Option<&Memory>,
) -> Result<()> {
    let mut out = String::new();
    let form = if gguf.is_packed() { "packed" } else { "GGUF" };
    writeln!(
        out,
        "{}: {form}, {on_disk} bytes, header {} bytes",
        path.display(),
        gguf.data_start()
    )?;
    writeln!(out, "\nMetadata")?;
    for (key, value) in gguf.metadata() {
        writeln!(out, "  {:<40} {}", lossy(key), text_value(&value))?;
    }
    writeln!(out, "\nTensors")?;
    for t in gguf.tensors() {
        let shape =
            if t.n_dims == 1 { t.cols.to_string() } else { format!("{} x {}", t.rows, t.cols) };
        writeln!(
            out,
            "  {:<28} {:<5} {shape:>14} {:>12} bytes at {}",
            lossy(t.name),
            t.dtype.name(),
            t.size,
            t.offset
        )?;
    }
    if let (Some(info), Some(m)) = (info, memory) {
        writeln!(out, "\n{} parameters", info.n_params)?;
        writeln!(out, "\nMemory, in bytes")?;
        writeln!(out, "  file     {:>14}", m.file)?;
        writeln!(out, "  model    {:>14}", m.model)?;
        writeln!(out, "  session  {:>14}   at a context of {}", m.session, m.context)?;
        writeln!(out, "  total    {:>14}", m.total)?;
    }
    std::io::stdout().write_all(out.as_bytes())?;
    Ok(())
}

fn text_value(value: &Value<'_>) -> String {
    match value {
        Value::Str(v) => format!("{:?}", lossy(v)),
        Value::Array(a) => {
            let shown: Vec<String> = first(a).map(|v| text_value(&v)).collect();
            let more = if a.len() > SHOWN { ", ..." } else { "" };
            format!("{} of [{}{more}]", a.len(), shown.join(", "))
        }
        other => json_value(other).to_string(),
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
