//! bindings/wasm-bindgen: built with each allocator, weighed, watched while its
//! memory grows, and used in Node.js and in Chromium.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::ctx::Ctx;
use crate::hosts::hash_of_ids;
use crate::process::Output;
use crate::setup::{Browser, node, npm_program, web_tools};
use crate::sizes::Size;
use crate::tally::{Tally, excused};
use crate::toolchain::{self, Choice, Road, TARGET, Target};
use crate::wasm::NO_INLINING;
use crate::web::tap_total;

pub const CRATE: &str = "bindings/wasm-bindgen";
const PAGE: &str = "docs/WASM_BINDGEN.md";
const TOOL: &str = "tools/bindgen";
const DOC: &str = "bindings/wasm-bindgen/README.md";
const BEGIN: &str = "<!-- allocators: begin, written by `cargo xtask bindgen` -->";
const END: &str = "<!-- allocators: end -->";
/// Compilers of different versions differ by less than this, in percent.
const TOLERANCE: u64 = 2;
/// What the hosts' greedy text has for a hash; `hosts` says where from.
const GREEDY: &str = "0f452fa7a70c3f84";

const WASM: Target = Target { triple: TARGET, crates: "core,alloc,compiler_builtins" };

/// What a module may take for blocks that come and go.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Growth {
    /// Not much more than what is in use at a time, however long it goes on.
    Flat,
    /// More and more.
    Leaks,
}

struct Allocator {
    feature: &'static str,
    growth: Growth,
}

/// The features of the crate; the first is its default.
const ALLOCATORS: [Allocator; 4] = [
    Allocator { feature: "rlsf", growth: Growth::Flat },
    Allocator { feature: "talc", growth: Growth::Flat },
    Allocator { feature: "std", growth: Growth::Flat },
    Allocator { feature: "wee_alloc", growth: Growth::Leaks },
];

/// A pattern of bindings/wasm-bindgen/growth: how often, and the most bytes of
/// memory that a good allocator needs for it.
struct Pattern {
    name: &'static str,
    times: &'static str,
    most: u64,
}

const PATTERNS: [Pattern; 2] = [
    Pattern { name: "large", times: "400", most: 32 << 20 },
    Pattern { name: "small", times: "200000", most: 2 << 20 },
];

/// One allocator's row of the table.
#[derive(Debug, PartialEq)]
struct Row {
    allocator: String,
    /// Of the module: raw, gzip, brotli.
    size: [u64; 3],
    /// For each pattern: bytes after a quarter, and after all.
    memory: [[u64; 2]; 2],
}

/// `cargo xtask bindgen`: the package for pages and the one for bundlers, and the table.
pub fn command(ctx: &Ctx, choice: Choice) -> Result<()> {
    let road = toolchain::choose(ctx, choice)?;
    package(ctx, road)?;
    for folder in ["pkg", "pkg-bundler"] {
        println!("  {CRATE}/{folder}");
    }
    if road != Road::Rustup {
        println!("  note: the table is kept for rustup's compiler; it is as it was");
        return Ok(());
    }
    let rows: Vec<Row> = ALLOCATORS.iter().map(|a| measure(ctx, a)).collect::<Result<_>>()?;
    let text = fs::read_to_string(ctx.path(DOC)).context(DOC)?;
    let (begin, end) = between(&text)?;
    let table = table(&rows);
    fs::write(ctx.path(DOC), format!("{}\n{table}{}", &text[..begin], &text[end..]))?;
    print!("{table}");
    Ok(())
}

pub fn step(ctx: &Ctx, tally: &mut Tally) -> Result<()> {
    println!("  Node.js {}", node(ctx)?);
    tool(ctx)?;
    let mut roads = 0;
    for road in [Road::Debian, Road::Rustup] {
        let name = road.name();
        // Rustup's, built last, is what the checks below look at.
        let built = toolchain::prepare(ctx, road).and_then(|_| package(ctx, road));
        if tally.value(&format!("{name} builds the package"), built).is_none() {
            continue;
        }
        roads += 1;
        node_tests(ctx, tally, name)?;
    }
    ensure!(roads > 0, "no road built {CRATE}");
    let tsc = npm_program(ctx, "bindgen-tsc", "typescript/bin/tsc")?;
    let types = tsc.args(["--noEmit", "--project"]).arg(ctx.path(CRATE).join("test/tsconfig.json"));
    tally.check("tsc accepts what uses the declarations", types.run().map(drop));
    tally.check("the bundler's form is a module that imports its wasm", bundler(ctx));
    if let Err(error) = pages(ctx, tally) {
        tally.record("chromium: the pages", &error);
    }
    tally.check("clippy", clippy(ctx));
    tally.check(&format!("{PAGE} shows the shortest page as it is"), documented(ctx));
    let doctest = ctx.job("bindgen-doctest", "cargo").dir(&ctx.path(CRATE));
    let doctest = doctest.env("CARGO_TARGET_DIR", ctx.target.join("bindgen/doctest"));
    let doctest = doctest.args(["test", "--doc", "--no-default-features", "--features", "std"]);
    tally.check(
        &format!("the Rust of {PAGE} runs"),
        one_passed(doctest.args(["--package", "pagelm-wasm-bindgen"]).run()),
    );
    if let Err(missing) = toolchain::prepare(ctx, Road::Rustup) {
        let why = excused(format!("the table is kept for rustup's compiler: {missing:#}"));
        tally.check(&format!("the table of {DOC} is true"), Err(why));
        return Ok(());
    }
    allocators(ctx, tally)
}

/// Sizes and growth of each allocator, against the table and what is promised.
fn allocators(ctx: &Ctx, tally: &mut Tally) -> Result<()> {
    let mut rows = Vec::new();
    for allocator in &ALLOCATORS {
        let name = allocator.feature;
        let Some(row) = tally.value(&format!("{name}: builds"), measure(ctx, allocator)) else {
            continue;
        };
        let what = match allocator.growth {
            Growth::Flat => "memory stays near what is in use",
            Growth::Leaks => "memory grows on and on, as its section in the README says",
        };
        tally.check(&format!("{name}: {what}"), grows(&row, allocator.growth));
        rows.push(row);
    }
    print!("{}", table(&rows));
    let truth = fs::read_to_string(ctx.path(DOC))
        .context(DOC)
        .and_then(|text| compare(&recorded(&text)?, &rows));
    tally.check(&format!("the table of {DOC} is true"), truth);
    Ok(())
}

/// wasm-bindgen's own tool, built once.
fn tool(ctx: &Ctx) -> Result<PathBuf> {
    let target = ctx.target.join("bindgen-tool");
    let program = target.join("release/pagelm-bindgen");
    if !program.is_file() {
        println!("building {TOOL} into {}, which takes a minute or two", ctx.show(&target));
    }
    let job = ctx.job("bindgen-tool", "cargo").dir(&ctx.path(TOOL)).args(["build", "--release"]);
    job.env("CARGO_TARGET_DIR", &target).run()?;
    Ok(program)
}

/// Builds a crate of that workspace with one allocator; the linked module.
fn build(ctx: &Ctx, road: Road, package: &str, feature: &str) -> Result<PathBuf> {
    let target = ctx.target.join("bindgen").join(road.name());
    let job = road.cargo_for(ctx, &format!("bindgen-{package}-{feature}"), "build", &WASM);
    let job = job.dir(&ctx.path(CRATE)).args(["--release", "--package", package]);
    let job = job.args(["--no-default-features", "--features", feature]);
    let job = job.env("CARGO_TARGET_DIR", &target);
    job.env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+simd128").run()?;
    let file = match package {
        "pagelm-growth" => "pagelm_growth.wasm",
        _ => "pagelm_web.wasm",
    };
    Ok(target.join(TARGET).join("release").join(file))
}

/// wasm-bindgen's files for a module, its wasm optimised.
fn bindgen(ctx: &Ctx, linked: &Path, form: &str, out: &Path) -> Result<()> {
    if out.exists() {
        fs::remove_dir_all(out)?;
    }
    let program = tool(ctx)?;
    let job = ctx.job("bindgen", &program.to_string_lossy()).arg(form).arg(linked);
    job.arg(out).arg("pagelm").quiet().run()?;
    let wasm = out.join("pagelm_bg.wasm");
    npm_program(ctx, "bindgen-wasm-opt", "binaryen/bin/wasm-opt")?
        .arg("-O3")
        .args(NO_INLINING)
        .args(["--strip-debug", "--strip-producers", "--strip-target-features"])
        .arg(&wasm)
        .arg("-o")
        .arg(&wasm)
        .quiet()
        .run()?;
    Ok(())
}

/// The package with the default allocator: `pkg` and `pkg-bundler`.
pub fn package(ctx: &Ctx, road: Road) -> Result<()> {
    let linked = build(ctx, road, "pagelm-wasm-bindgen", ALLOCATORS[0].feature)?;
    bindgen(ctx, &linked, "web", &ctx.path(CRATE).join("pkg"))?;
    bindgen(ctx, &linked, "bundler", &ctx.path(CRATE).join("pkg-bundler"))
}

/// What a page downloads of the package, for the table of docs/SIZES.md.
pub fn sizes(ctx: &Ctx, road: Road) -> Result<[Size; 2]> {
    package(ctx, road)?;
    let pkg = ctx.path(CRATE).join("pkg");
    let read = |path: &Path| fs::read(path).with_context(|| path.display().to_string());
    let mut script = read(&pkg.join("pagelm.js"))?;
    for snippet in fs::read_dir(pkg.join("snippets"))? {
        script.extend(read(&snippet?.path().join("js/glue.js"))?);
    }
    Ok([
        Size::of_bytes("wasm-bindgen: pagelm_bg.wasm".into(), &read(&pkg.join("pagelm_bg.wasm"))?)?,
        Size::of_bytes("wasm-bindgen: pagelm.js and glue.js".into(), &script)?,
    ])
}

/// One allocator: the module's size, and how memory grows.
fn measure(ctx: &Ctx, allocator: &Allocator) -> Result<Row> {
    let feature = allocator.feature;
    let linked = build(ctx, Road::Rustup, "pagelm-wasm-bindgen", feature)?;
    let out = ctx.target.join("bindgen/pkg").join(feature);
    bindgen(ctx, &linked, "web", &out)?;
    let size = Size::of(&out.join("pagelm_bg.wasm"))?.numbers().map(|(_, n)| n);
    let growth = build(ctx, Road::Rustup, "pagelm-growth", feature)?;
    let mut memory = [[0; 2]; 2];
    for (pattern, memory) in PATTERNS.iter().zip(&mut memory) {
        let job = ctx.job("bindgen-growth", "node").arg(ctx.path("tools/web/growth.mjs"));
        let job = job.arg(&growth).args([pattern.name, pattern.times]).quiet();
        let said: Value = serde_json::from_str(&job.limit(300).run()?.stdout)?;
        let bytes = |key: &str| said[key].as_u64().context("no number of bytes");
        *memory = [bytes("quarter")?, bytes("whole")?];
    }
    Ok(Row { allocator: feature.to_string(), size, memory })
}

/// Whether memory grew as is promised.
fn grows(row: &Row, growth: Growth) -> Result<()> {
    for (pattern, [quarter, whole]) in PATTERNS.iter().zip(row.memory) {
        let found = match whole {
            whole if whole <= pattern.most => Growth::Flat,
            whole if whole > 2 * quarter => Growth::Leaks,
            _ => bail!("{}: {quarter}, then {whole} bytes: neither flat nor leaking", pattern.name),
        };
        ensure!(found == growth, "{}: {quarter}, then {whole} bytes: {found:?}", pattern.name);
    }
    Ok(())
}

fn node_tests(ctx: &Ctx, tally: &mut Tally, road: &str) -> Result<()> {
    let job = ctx.job(&format!("bindgen-node-{road}"), "node");
    let job = job.args(["--test", "--test-reporter=tap"]);
    let output = job.arg(ctx.path(CRATE).join("test/model.test.mjs")).limit(600).finish()?;
    let count = |word: &str| tap_total(&output.stdout, word);
    let (passed, failed) = (count("pass"), count("fail") + count("cancelled") + count("skipped"));
    tally.add(&format!("{road}: node --test"), passed, failed);
    ensure!(passed + failed > 0, "node --test ran nothing");
    output.explain(failed > 0)
}

/// The bundler's form, by Node.js, which can import wasm as bundlers do.
fn bundler(ctx: &Ctx) -> Result<()> {
    let job = ctx.job("bindgen-bundler", "node").args(["--experimental-wasm-modules"]);
    let job = job.arg(ctx.path(CRATE).join("test/bundler.mjs"));
    expect_greedy(&serde_json::from_str(&job.arg(ctx.path("examples/models")).run()?.stdout)?)
}

fn documented(ctx: &Ctx) -> Result<()> {
    let program = fs::read_to_string(ctx.path(CRATE).join("example/shortest.html"))?;
    let page = fs::read_to_string(ctx.path(PAGE))?;
    ensure!(page.contains(&format!("```html\n{program}```")), "copy it there anew");
    Ok(())
}

fn one_passed(output: Result<Output>) -> Result<()> {
    ensure!(output?.stdout.contains("1 passed"), "no program was found in it");
    Ok(())
}

/// The example page in Chromium: as it is, by Vite and by webpack, and the shortest one.
fn pages(ctx: &Ctx, tally: &mut Tally) -> Result<()> {
    web_tools(ctx)?;
    let browser = Browser::Chromium;
    let program = browser.find_or_install(ctx)?;
    let folder = ctx.target.join("bindgen/pages");
    let job = ctx.job("bindgen-pages", "node").arg(ctx.path("tools/web/bindgen.mjs")).arg(&folder);
    let output = job.env(browser.variable(), program).limit(900).run()?;
    // Builders may say something first.
    let line = output.stdout.lines().last().context("no answer")?;
    let answers: Value = serde_json::from_str(line)?;
    for (place, how) in [("page", "as it is"), ("vite", "by Vite"), ("webpack", "by webpack")] {
        let what = format!("chromium: the page, {how}, used as a visitor would");
        tally.check(&what, expect_greedy(&answers[place]));
    }
    let (long, short) = (&answers["page"]["text"], &answers["shortest"]["text"]);
    let same = (long.is_string() && long == short).then_some(());
    let same = same.with_context(|| format!("it wrote {short}, the page {long}"));
    tally.check("chromium: the shortest page writes the same", same);
    println!("  screenshots in {}", ctx.show(&folder));
    Ok(())
}

fn expect_greedy(answer: &Value) -> Result<()> {
    let hash = hash_of_ids(answer)?;
    ensure!(hash == GREEDY, "hash {hash}, not {GREEDY}");
    println!("          hash {hash}");
    Ok(())
}

fn clippy(ctx: &Ctx) -> Result<()> {
    toolchain::prepare(ctx, Road::Rustup)?;
    let job = Road::Rustup.cargo_for(ctx, "bindgen-clippy", "clippy", &WASM);
    let job = job.dir(&ctx.path(CRATE)).args(["--workspace", "--features", "rlsf"]);
    let job = job.args(["--no-deps", "--release", "--", "-D", "warnings"]);
    job.env("CARGO_TARGET_DIR", ctx.target.join("bindgen/rustup")).run()?;
    Ok(())
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| allocator | raw | gzip -9 | brotli 11 | large: KiB after 100 | after 400 | small: KiB after 50,000 | after 200,000 |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for Row { allocator, size: [raw, gzip, brotli], memory } in rows {
        let [[a, b], [c, d]] = memory.map(|pattern| pattern.map(|bytes| bytes / 1024));
        text += &format!("| {allocator} | {raw} | {gzip} | {brotli} | {a} | {b} | {c} | {d} |\n");
    }
    text
}

/// Start and end of what stands between the two marks.
fn between(text: &str) -> Result<(usize, usize)> {
    let begin = text.find(BEGIN).with_context(|| format!("{DOC}: no {BEGIN}"))? + BEGIN.len();
    let end = text[begin..].find(END).with_context(|| format!("{DOC}: no {END}"))?;
    Ok((begin, begin + end))
}

/// The table's rows as numbers.
fn recorded(text: &str) -> Result<Vec<Row>> {
    let (begin, end) = between(text)?;
    let rows = text[begin..end].lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let numbers: Vec<u64> =
            cells.iter().skip(1).map(|cell| cell.parse()).collect::<Result<_, _>>()?;
        let [raw, gzip, brotli, a, b, c, d] = numbers[..] else {
            bail!("{DOC}: `{row}`");
        };
        let memory = [[a, b], [c, d]].map(|pattern| pattern.map(|kib| kib * 1024));
        Ok(Row { allocator: cells[0].to_string(), size: [raw, gzip, brotli], memory })
    })
    .collect()
}

fn compare(recorded: &[Row], measured: &[Row]) -> Result<()> {
    let names = |rows: &[Row]| rows.iter().map(|row| row.allocator.clone()).collect::<Vec<_>>();
    let (old, new) = (names(recorded), names(measured));
    ensure!(old == new, "the table lists {old:?}, not {new:?}; run `cargo xtask bindgen`");
    for (old, new) in recorded.iter().zip(measured) {
        let numbers = |row: &Row| [&row.size[..], row.memory.as_flattened()].concat();
        for (old_n, new_n) in numbers(old).into_iter().zip(numbers(new)) {
            ensure!(
                old_n.abs_diff(new_n) * 100 <= old_n * TOLERANCE,
                "{}: the table says {old_n}, it is {new_n}; run `cargo xtask bindgen`",
                old.allocator
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(raw: u64, whole: u64) -> Row {
        let memory = [[9 << 20, whole], [1 << 20, 1 << 20]];
        Row { allocator: "a".to_string(), size: [raw, raw / 2, raw / 3], memory }
    }

    #[test]
    fn the_table_reads_back() {
        let rows = vec![row(3000, 10 << 20), row(999, 300 << 20)];
        let doc = format!("# Read me\n\n{BEGIN}\n{}{END}\nmore\n", table(&rows));
        assert_eq!(recorded(&doc).unwrap(), rows);
        assert!(compare(&rows, &rows).is_ok());
        assert!(compare(&rows[..1], &rows).is_err());
        assert!(compare(&[row(3000, 10 << 20)], &[row(3100, 10 << 20)]).is_err());
    }

    #[test]
    fn a_leak_is_told_from_a_flat_one() {
        assert!(grows(&row(1, 12 << 20), Growth::Flat).is_ok());
        assert!(grows(&row(1, 400 << 20), Growth::Flat).is_err());
        let memory = [[50 << 20, 250 << 20], [9 << 20, 40 << 20]];
        let leak = Row { memory, ..row(1, 0) };
        assert!(grows(&leak, Growth::Leaks).is_ok());
        assert!(grows(&row(1, 12 << 20), Growth::Leaks).is_err());
    }
}
