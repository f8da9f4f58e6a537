//! `pagelm-bindgen TARGET IN.wasm OUT_DIR NAME`: wasm-bindgen over a module.
//!
//! TARGET is `web` (a page without a bundler), `bundler` or `nodejs`.
#![forbid(unsafe_code)]

use std::env;
use std::process::ExitCode;

use anyhow::{Result, bail};
use wasm_bindgen_cli_support::Bindgen;

fn run(args: &[String]) -> Result<()> {
    let [target, input, out, name] = args else {
        bail!("usage: pagelm-bindgen web|bundler|nodejs IN.wasm OUT_DIR NAME");
    };
    let mut bindgen = Bindgen::new();
    match target.as_str() {
        "web" => bindgen.web(true)?,
        "bundler" => bindgen.bundler(true)?,
        "nodejs" => bindgen.nodejs(true)?,
        other => bail!("{other} is none of web, bundler and nodejs"),
    };
    // `init()` finds the module beside its JavaScript by itself.
    bindgen.omit_default_module_path(false);
    bindgen.input_path(input).out_name(name).typescript(true).generate(out)
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
