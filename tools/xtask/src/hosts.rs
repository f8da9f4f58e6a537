//! The same tokens from every host: one model, a prompt, a seed, one hash.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::ctx::Ctx;
use crate::dist;
use crate::native::{self, LANGUAGES};
use crate::setup::{Browser, node};
use crate::tally::{Tally, excused, not_run};
use crate::toolchain::Road;
use crate::wasm::{self, Variant};
use crate::web;

/// Trained models with a tokenizer and room for the prompt and 64 tokens.
pub const MODEL: &str = "examples/models/gpt2-basic-lexicon.gguf";
pub const BYTES_MODEL: &str = "examples/models/gpt2-basic-bytes.gguf";
pub const PROMPT: &str = "The ";
pub const TOKENS: usize = 64;

/// One request that every host is given.
pub struct Request {
    pub name: &'static str,
    pub model: &'static str,
    pub temperature: &'static str,
    pub seed: &'static str,
    /// What is to come out, of every version and on every machine.
    pub hash: &'static str,
}

pub const REQUESTS: [Request; 2] = [
    Request { name: "greedy", model: MODEL, temperature: "0", seed: "0", hash: "0f452fa7a70c3f84" },
    Request {
        name: "sampled",
        model: BYTES_MODEL,
        temperature: "0.8",
        seed: "42",
        hash: "166b3f2a5d968e12",
    },
];

/// FNV-1a, 64 bits, over the ids as little-endian u32: what `--hash` of the C
/// and C++ examples prints.
fn hash(ids: &[u32]) -> String {
    let bytes = ids.iter().flat_map(|id| id.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    format!("{hash:016x}")
}

pub fn step(ctx: &Ctx, tally: &mut Tally) -> Result<()> {
    command_line(ctx)?;
    dist::build(ctx)?;
    web::ship(ctx)?;
    for request in &REQUESTS {
        // The command line is what the others are held against: its numbers
        // are checked against PyTorch by the Rust tests.
        let Some(want) = tally.value(
            &format!("{}: the command line's {TOKENS} tokens", request.name),
            cli(ctx, request),
        ) else {
            continue;
        };
        let known = ensure_same(&want, request.hash);
        tally.check(&format!("{}: it is the known text, hash {want}", request.name), known);
        for (host, got) in others(ctx, request) {
            let same = got.and_then(|got| ensure_same(&got, &want));
            tally.check(&format!("{}: {host}", request.name), same);
        }
    }
    Ok(())
}

fn ensure_same(got: &str, want: &str) -> Result<()> {
    ensure!(got == want, "hash {got}, not {want}");
    Ok(())
}

/// Every other host's hash.
fn others(ctx: &Ctx, request: &Request) -> Vec<(String, Result<String>)> {
    let mut hosts = vec![];
    for language in &LANGUAGES {
        let hash = native::compile(ctx, language, false)
            .and_then(|program| program_hash(ctx, &program, request));
        hosts.push((format!("{} program", language.name), hash));
    }
    for (road, variant) in [Road::Rustup, Road::Debian]
        .into_iter()
        .flat_map(|road| Variant::SHIPPED.map(|v| (road, v)))
    {
        hosts.push((
            format!("Node.js, {} of {}", variant.file(), road.name()),
            in_node(ctx, road, variant, request),
        ));
    }
    for browser in [Browser::Chromium, Browser::Firefox] {
        for build in ["simd128", "relaxed", "scalar"] {
            hosts.push((
                format!("{}, {build}", browser.name()),
                in_browser(ctx, browser, build, request),
            ));
        }
    }
    hosts
}

/// The command-line program, built.
pub fn command_line(ctx: &Ctx) -> Result<PathBuf> {
    ctx.job("build-cli", "cargo").args(["build", "--release", "--package", "pagelm-cli"]).run()?;
    Ok(ctx.target.join("release/pagelm"))
}

fn cli(ctx: &Ctx, request: &Request) -> Result<String> {
    let program = ctx.target.join("release/pagelm");
    let job = ctx
        .job("host-cli", &program.to_string_lossy())
        .quiet()
        .arg("generate")
        .arg(ctx.path(request.model));
    let job = job.args(["--prompt", PROMPT, "--tokens", &TOKENS.to_string(), "--json"]);
    let output = job.args(["--temperature", request.temperature, "--seed", request.seed]).run()?;
    hash_of_answer(&output.stdout)
}

/// The hash that a C or C++ example prints as its last line.
pub fn program_hash(ctx: &Ctx, program: &Path, request: &Request) -> Result<String> {
    let job =
        ctx.job("host-native", &program.to_string_lossy()).quiet().arg(ctx.path(request.model));
    let output = job
        .args([PROMPT, &TOKENS.to_string(), request.temperature, request.seed, "--hash"])
        .run()?;
    Ok(output.stdout.lines().last().context("it printed nothing")?.trim().to_string())
}

fn in_node(ctx: &Ctx, road: Road, variant: Variant, request: &Request) -> Result<String> {
    node(ctx)?;
    let wasm = wasm::path(ctx, road, variant);
    if !wasm.is_file() {
        let reason = format!("{} was not built", ctx.show(&wasm));
        return Err(if road == Road::Rustup { excused(reason) } else { not_run(reason) });
    }
    let mut asked = asked(request);
    asked["model"] = json!(ctx.path(request.model));
    asked["wasm"] = json!(wasm);
    let job = ctx.job(&format!("host-node-{}", road.name()), "node").quiet();
    hash_of_answer(
        &job.arg(ctx.path("tools/web/complete.mjs")).arg(asked.to_string()).run()?.stdout,
    )
}

fn in_browser(ctx: &Ctx, browser: Browser, build: &str, request: &Request) -> Result<String> {
    let mut asked = asked(request);
    asked["model"] = json!(format!("/{}", request.model));
    asked["build"] = json!(build);
    hash_of_ids(&web::in_browser(ctx, browser, "complete", &asked.to_string())?)
}

fn asked(request: &Request) -> Value {
    let number = |text: &str| text.parse::<f64>().expect("the requests above are numbers");
    let options = json!({ "maxTokens": TOKENS, "temperature": number(request.temperature), "seed": number(request.seed) });
    json!({ "prompt": PROMPT, "options": options })
}

fn hash_of_answer(text: &str) -> Result<String> {
    hash_of_ids(&serde_json::from_str(text).with_context(|| format!("not JSON: {text}"))?)
}

/// The hash of an answer's `ids`, which must be all that were asked for.
pub fn hash_of_ids(answer: &Value) -> Result<String> {
    let ids = answer["ids"].as_array().context("the answer has no ids")?;
    let ids: Vec<u32> =
        ids.iter().filter_map(Value::as_u64).filter_map(|id| u32::try_from(id).ok()).collect();
    ensure!(ids.len() == TOKENS, "{} tokens came, not {TOKENS}: {answer}", ids.len());
    Ok(hash(&ids))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        assert_eq!(hash(&[]), "cbf29ce484222325");
        // The published value for the four bytes "abcd".
        assert_eq!(hash(&[u32::from_le_bytes(*b"abcd")]), "fc179f83ee0724dd");
    }

    #[test]
    fn too_few_tokens_are_no_answer() {
        assert!(hash_of_answer(r#"{"ids": [1, 2, 3]}"#).is_err());
        assert!(hash_of_answer("text").is_err());
    }
}
