//! Building the wasm modules: cargo, then the export list, then wasm-opt.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;

use crate::checks::Module;
use crate::ctx::Ctx;
use crate::header;
use crate::setup::npm_program;
use crate::toolchain::{self, Choice, Road, TARGET};

/// What a module exports beside the header's functions.
pub const EXTRA_EXPORTS: [&str; 2] = ["memory", "__heap_base"];

/// What a page calls to predict from vectors.
const VECTORS: [&str; 10] = [
    "pagelm_model_probe",
    "pagelm_model_init",
    "pagelm_model_advance",
    "pagelm_session_probe",
    "pagelm_session_init",
    "pagelm_session_predict",
    "pagelm_session_predict_ids",
    "pagelm_session_read_state",
    "pagelm_session_write_state",
    "pagelm_session_reset",
];

#[derive(Clone, Copy, PartialEq)]
pub enum Variant {
    Scalar,
    Simd128,
    /// simd128 and relaxed-simd, for engines that have both.
    Relaxed,
    /// simd128 with GPT-2 alone, to know its size.
    Gpt2,
    /// simd128 with recurrent networks and character vocabularies alone, likewise.
    Recurrent,
    /// simd128 with recurrent networks as functions of vectors alone, and only
    /// the functions that such a page calls.
    Vectors,
    /// examples/filter: the same without the C interface.
    Filter,
    /// simd128 with the kernel suite as its only additional export.
    Check,
    /// The same with relaxed-simd.
    CheckRelaxed,
}

impl Variant {
    pub const SHIPPED: [Variant; 3] = [Variant::Simd128, Variant::Relaxed, Variant::Scalar];
    /// Builds that run the kernel suite on themselves.
    pub const CHECKS: [Variant; 2] = [Variant::Check, Variant::CheckRelaxed];
    /// Builds for pages with one kind of model: measured, not shipped.
    pub const PARTIAL: [Variant; 4] =
        [Variant::Gpt2, Variant::Recurrent, Variant::Vectors, Variant::Filter];

    /// The file's name, here and in bindings/js.
    pub fn file(self) -> &'static str {
        match self {
            Variant::Scalar => "pagelm-scalar.wasm",
            Variant::Simd128 => "pagelm.wasm",
            Variant::Relaxed => "pagelm-relaxed.wasm",
            Variant::Gpt2 => "pagelm-gpt2.wasm",
            Variant::Recurrent => "pagelm-rnn.wasm",
            Variant::Vectors => "pagelm-vectors.wasm",
            Variant::Filter => "pagelm-filter.wasm",
            Variant::Check => "check.wasm",
            Variant::CheckRelaxed => "check-relaxed.wasm",
        }
    }

    /// Exports that only this variant has.
    pub fn own_exports(self) -> &'static [&'static str] {
        match self {
            Variant::Check | Variant::CheckRelaxed => &["pagelm_check", "pagelm_check_product"],
            Variant::Filter => &["place", "input", "output", "load", "filter"],
            _ => &[],
        }
    }

    /// The functions of the header that it exports, where these are not all it has.
    fn only(self) -> Option<&'static [&'static str]> {
        match self {
            Variant::Vectors => Some(&VECTORS),
            Variant::Filter => Some(&[]),
            _ => None,
        }
    }

    /// What of the engine is in it, as arguments for cargo.
    fn features(self) -> &'static [&'static str] {
        match self {
            Variant::Scalar | Variant::Simd128 | Variant::Relaxed => &[],
            Variant::Gpt2 => &["--no-default-features", "--features", "gpt2,bpe,quant,messages"],
            Variant::Recurrent => {
                &["--no-default-features", "--features", "rnn,text,quant,messages"]
            }
            Variant::Vectors => &["--no-default-features", "--features", "rnn"],
            Variant::Filter => &[],
            Variant::Check | Variant::CheckRelaxed => &["--features", "_check"],
        }
    }

    /// The crate, and what cargo calls its module.
    fn package(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Variant::Filter => ("examples/filter", "pagelm-filter", "pagelm_filter.wasm"),
            _ => (".", "pagelm-c", "pagelm.wasm"),
        }
    }

    /// Bytes of the module's own stack. It lies below the data, so that using
    /// more is a trap and never overwrites anything.
    fn stack(self) -> u32 {
        match self {
            // The suite keeps whole matrices there.
            Variant::Check | Variant::CheckRelaxed => 1 << 20,
            _ => 1 << 16,
        }
    }

    fn rustflags(self) -> String {
        let mut flags = vec![
            format!("-Clink-arg=-zstack-size={}", self.stack()),
            "-Clink-arg=--stack-first".to_string(),
            // It rewrites addresses so that their constants no longer fit into the loads.
            "-Cllvm-args=-disable-lsr".to_string(),
        ];
        match self {
            Variant::Scalar => {}
            Variant::Relaxed | Variant::CheckRelaxed => {
                flags.push("-Ctarget-feature=+simd128,+relaxed-simd".to_string());
            }
            _ => flags.push("-Ctarget-feature=+simd128".to_string()),
        }
        // Cargo's separator for this variable.
        flags.join("\u{1f}")
    }
}

/// `cargo xtask wasm`: the shipped modules, put where the loader looks for them.
pub fn command(ctx: &Ctx, choice: Choice) -> Result<Road> {
    let road = toolchain::choose(ctx, choice)?;
    for variant in Variant::SHIPPED {
        let built = build(ctx, road, variant)?;
        let to = ship(ctx, variant, &built)?;
        println!("  {} ({} bytes)", ctx.show(&to), fs::metadata(&to)?.len());
    }
    Ok(road)
}

/// Copies a built module to bindings/js.
pub fn ship(ctx: &Ctx, variant: Variant, built: &Path) -> Result<PathBuf> {
    let to = ctx.path("bindings/js").join(variant.file());
    fs::copy(built, &to).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(to)
}

/// Where a finished module of this road and variant is.
pub fn path(ctx: &Ctx, road: Road, variant: Variant) -> PathBuf {
    ctx.target.join("wasm").join(road.name()).join(variant.file())
}

/// A finished module, rustup's if there is one.
pub fn best(ctx: &Ctx, variant: Variant) -> Result<PathBuf> {
    let paths = [Road::Rustup, Road::Debian].map(|road| path(ctx, road, variant));
    paths
        .into_iter()
        .find(|path| path.is_file())
        .with_context(|| format!("no road built {}", variant.file()))
}

fn flavour(road: Road, variant: Variant) -> String {
    format!("{}-{}", road.name(), variant.file().trim_end_matches(".wasm"))
}

/// A folder for each flavour: two compilers' or flags' products never mix, and
/// Debian's core is built once for each.
fn build_dir(ctx: &Ctx, road: Road, variant: Variant) -> PathBuf {
    ctx.target.join("wasm-build").join(flavour(road, variant))
}

/// The module as the linker left it, names and all.
pub fn linked(ctx: &Ctx, road: Road, variant: Variant) -> PathBuf {
    build_dir(ctx, road, variant).join(TARGET).join("dist").join(variant.package().2)
}

/// Builds one module. `prepare` of the road must have succeeded.
pub fn build(ctx: &Ctx, road: Road, variant: Variant) -> Result<PathBuf> {
    let name = flavour(road, variant);
    let target = build_dir(ctx, road, variant);
    let (folder, package, _) = variant.package();
    let mut job = road
        .cargo(ctx, &format!("wasm-{name}"), "rustc")
        .dir(&ctx.path(folder))
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_ENCODED_RUSTFLAGS", variant.rustflags())
        .args(["--package", package, "--lib", "--crate-type", "cdylib", "--profile", "dist"]);
    job = job.args(variant.features());
    job.run()?;
    let linked = linked(ctx, road, variant);
    let out = path(ctx, road, variant);
    fs::create_dir_all(out.parent().context("a path without a folder")?)?;
    let trimmed = out.with_extension("trimmed.wasm");
    trim_exports(ctx, &name, variant, &linked, &trimmed)?;
    optimise(ctx, &name, &trimmed, &out)?;
    fs::remove_file(&trimmed)?;
    Ok(out)
}

/// Drops every export that is not in the header, `memory` or `__heap_base`:
/// rustc also exports `__data_end`, which no host needs.
fn trim_exports(ctx: &Ctx, name: &str, variant: Variant, from: &Path, to: &Path) -> Result<()> {
    let mut keep = header::functions(ctx)?;
    keep.retain(|name| variant.only().is_none_or(|only| only.contains(&name.as_str())));
    keep.extend(EXTRA_EXPORTS.iter().chain(variant.own_exports()).map(|name| name.to_string()));
    let present = Module::read(from)?.exports;
    let kept: Vec<&String> = present.iter().filter(|name| keep.contains(*name)).collect();
    let mut graph = vec![json!({ "name": "host", "root": true, "reaches": kept })];
    graph.extend(kept.iter().map(|name| json!({ "name": name, "export": name })));
    let graph_file = to.with_extension("json");
    fs::write(&graph_file, serde_json::to_vec(&graph)?)?;
    npm_program(ctx, &format!("wasm-metadce-{name}"), "binaryen/bin/wasm-metadce")?
        .arg(from)
        .arg("-f")
        .arg(&graph_file)
        .arg("-o")
        .arg(to)
        .quiet()
        .run()?;
    fs::remove_file(graph_file)?;
    Ok(())
}

/// What is worth it rustc has inlined, and of what is left (an error noted, a key
/// looked up) each call is smaller than the function.
pub const NO_INLINING: [&str; 4] =
    ["--flexible-inline-max-function-size", "0", "--one-caller-inline-max-function-size", "0"];

/// wasm-opt, which learns the features from the module's own section; that
/// section and the others no browser reads are dropped at the very end.
///
/// The stack's far end lies in the lowest memory, which nothing addresses by
/// going round the end of all memory; so a constant added to an address can
/// become part of the load, which is one instruction less for most of them.
fn optimise(ctx: &Ctx, name: &str, from: &Path, to: &Path) -> Result<()> {
    npm_program(ctx, &format!("wasm-opt-{name}"), "binaryen/bin/wasm-opt")?
        .args(["-O3", "--converge", "--low-memory-unused"])
        .args(NO_INLINING)
        .args(["--strip-debug", "--strip-producers", "--strip-target-features"])
        .arg(from)
        .arg("-o")
        .arg(to)
        .quiet()
        .run()?;
    Ok(())
}
