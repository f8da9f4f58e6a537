//! What a visitor downloads: measured, written to docs/SIZES.md, kept true.
#![forbid(unsafe_code)]

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::bindgen;
use crate::ctx::Ctx;
use crate::package;
use crate::tally::{Tally, excused};
use crate::toolchain::{Choice, Road};
use crate::wasm::{self, Variant};
use crate::web;
use crate::weigh::Functions;

const DOC: &str = "docs/SIZES.md";
const BEGIN: &str = "<!-- sizes: begin, written by `cargo xtask sizes` -->";
const END: &str = "<!-- sizes: end -->";
/// Compilers of different versions differ by less than this, in percent.
const TOLERANCE: u64 = 2;

/// The files a page loads, and the most each may weigh in brotli.
const LOADED: [(&str, u64); 3] = [
    ("bindings/js/pagelm.wasm", 40 * 1024),
    ("bindings/js/pagelm-relaxed.wasm", 40 * 1024),
    ("bindings/js/pagelm.js", 4 * 1024),
];
/// Measured beside them, without a budget of its own.
const BESIDE: [&str; 2] = ["bindings/js/pagelm-scalar.wasm", "bindings/js/node.js"];
/// The most that modules with a part of it may weigh in brotli: GPT-2 alone, and
/// recurrent networks as functions of vectors alone, with the C interface and
/// behind a Rust program's own functions.
const PARTIAL: [(Variant, u64); 3] =
    [(Variant::Gpt2, 33 * 1024), (Variant::Vectors, 16 * 1024), (Variant::Filter, 10 * 1024)];

#[derive(Debug, PartialEq)]
pub struct Size {
    file: String,
    raw: u64,
    gzip: u64,
    brotli: u64,
}

impl Size {
    pub fn of(file: &Path) -> Result<Size> {
        let bytes = fs::read(file).with_context(|| {
            format!("{} (`cargo xtask wasm` makes the .wasm files)", file.display())
        })?;
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Size::of_bytes(name, &bytes)
    }

    /// Of what is loaded together under one name.
    pub fn of_bytes(file: String, bytes: &[u8]) -> Result<Size> {
        Ok(Size { file, raw: bytes.len() as u64, gzip: gzip(bytes)?, brotli: brotli(bytes)? })
    }

    pub fn numbers(&self) -> [(&'static str, u64); 3] {
        [("raw", self.raw), ("gzip -9", self.gzip), ("brotli 11", self.brotli)]
    }
}

fn gzip(bytes: &[u8]) -> Result<u64> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.len() as u64)
}

fn brotli(bytes: &[u8]) -> Result<u64> {
    let mut out = Vec::new();
    let params = brotli::enc::BrotliEncoderParams { quality: 11, lgwin: 22, ..Default::default() };
    brotli::BrotliCompress(&mut &bytes[..], &mut out, &params)?;
    Ok(out.len() as u64)
}

fn measure(ctx: &Ctx, road: Road) -> Result<Vec<Size>> {
    let files = LOADED.iter().map(|(file, _)| *file).chain(BESIDE);
    let mut sizes: Vec<Size> =
        files.map(|file| Size::of(&ctx.path(file))).collect::<Result<_>>()?;
    for variant in Variant::PARTIAL {
        sizes.push(Size::of(&wasm::build(ctx, road, variant)?)?);
    }
    sizes.extend(bindgen::sizes(ctx, road)?);
    Ok(sizes)
}

/// Every budget, and whether it is kept.
fn budgets(sizes: &[Size]) -> Vec<(String, Result<()>)> {
    let partial = PARTIAL.map(|(variant, budget)| (variant.file(), budget));
    let all = LOADED.iter().copied().chain(partial);
    all.map(|(file, budget)| {
        let name = file.rsplit('/').next().unwrap_or(file);
        let size = sizes.iter().find(|size| size.file == name).context("not measured");
        let kept = size.and_then(|size| within(size, file, budget));
        (format!("{name} is at most {budget} bytes in brotli"), kept)
    })
    .collect()
}

/// `cargo xtask sizes`.
pub fn command(ctx: &Ctx, check: bool, functions: Option<usize>) -> Result<()> {
    let road = wasm::command(ctx, Choice::Auto)?;
    if road != Road::Rustup {
        println!("  note: the table is kept for rustup's compiler; this is {}", road.title());
    }
    if let Some(count) = functions {
        list_functions(&wasm::linked(ctx, road, Variant::Simd128), count)?;
    }
    let sizes = measure(ctx, road)?;
    let table = table(&sizes);
    print!("\n{table}\n");
    for (_, kept) in budgets(&sizes) {
        kept?;
    }
    if check {
        return compare(&recorded(&fs::read_to_string(ctx.path(DOC)).context(DOC)?)?, &sizes);
    }
    let text = fs::read_to_string(ctx.path(DOC)).context(DOC)?;
    fs::write(ctx.path(DOC), replaced(&text, &table)?)?;
    package::write_sizes(ctx)?;
    println!("  wrote {DOC}");
    Ok(())
}

/// Where the bytes are, before wasm-opt and compression.
fn list_functions(linked: &Path, count: usize) -> Result<()> {
    let functions = Functions::read(linked)?;
    println!("\n  the largest functions, in bytes before wasm-opt");
    functions.largest(count).iter().for_each(|(size, name)| println!("  {size:7} {name}"));
    let panicking = functions.panicking();
    println!("\n  {} functions can reach a panic", panicking.len());
    panicking.iter().for_each(|line| println!("          {line}"));
    Ok(())
}

/// The test step: budgets, and the table against what was built.
pub fn step(ctx: &Ctx, tally: &mut Tally) -> Result<()> {
    web::ship(ctx)?;
    let rustup = wasm::path(ctx, Road::Rustup, Variant::Simd128).is_file();
    let sizes = measure(ctx, if rustup { Road::Rustup } else { Road::Debian })?;
    print!("{}", table(&sizes));
    for (name, kept) in budgets(&sizes) {
        tally.check(&name, kept);
    }
    let truth = if rustup {
        fs::read_to_string(ctx.path(DOC))
            .context(DOC)
            .and_then(|text| compare(&recorded(&text)?, &sizes))
    } else {
        Err(excused("the table is kept for the modules that rustup's compiler makes"))
    };
    tally.check(&format!("the table of {DOC} is true"), truth);
    Ok(())
}

fn within(size: &Size, file: &str, budget: u64) -> Result<()> {
    ensure!(
        size.brotli <= budget,
        "{file} is {} bytes in brotli, {} over its budget of {budget}",
        size.brotli,
        size.brotli - budget
    );
    Ok(())
}

fn table(sizes: &[Size]) -> String {
    let mut text = String::from("| file | raw | gzip -9 | brotli 11 |\n|---|---:|---:|---:|\n");
    for size in sizes {
        text += &format!("| {} | {} | {} | {} |\n", size.file, size.raw, size.gzip, size.brotli);
    }
    text
}

/// Start and end of what stands between the two marks.
fn between(text: &str) -> Result<(usize, usize)> {
    let begin =
        text.find(BEGIN).with_context(|| format!("{DOC} has no line {BEGIN}"))? + BEGIN.len();
    let end =
        begin + text[begin..].find(END).with_context(|| format!("{DOC} has no line {END}"))?;
    Ok((begin, end))
}

fn replaced(text: &str, table: &str) -> Result<String> {
    let (begin, end) = between(text)?;
    Ok(format!("{}\n{table}{}", &text[..begin], &text[end..]))
}

/// The table's rows as numbers.
fn recorded(text: &str) -> Result<Vec<Size>> {
    let (begin, end) = between(text)?;
    let rows = text[begin..end].lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let number = |i: usize| {
            cells
                .get(i)
                .and_then(|cell| cell.parse().ok())
                .with_context(|| format!("{DOC}: `{row}`"))
        };
        Ok(Size {
            file: cells[0].to_string(),
            raw: number(1)?,
            gzip: number(2)?,
            brotli: number(3)?,
        })
    })
    .collect()
}

fn compare(recorded: &[Size], measured: &[Size]) -> Result<()> {
    let names = |sizes: &[Size]| sizes.iter().map(|size| size.file.clone()).collect::<Vec<_>>();
    ensure!(
        names(recorded) == names(measured),
        "the table lists {:?}, not {:?}; run `cargo xtask sizes`",
        names(recorded),
        names(measured)
    );
    for (old, new) in recorded.iter().zip(measured) {
        for ((what, old_n), (_, new_n)) in old.numbers().into_iter().zip(new.numbers()) {
            if old_n.abs_diff(new_n) * 100 > old_n * TOLERANCE {
                bail!(
                    "{} {what}: the table says {old_n}, it is {new_n}; run `cargo xtask sizes`",
                    old.file
                );
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(file: &str, raw: u64) -> Size {
        Size { file: file.to_string(), raw, gzip: raw / 2, brotli: raw / 3 }
    }

    #[test]
    fn the_table_reads_back() {
        let sizes = vec![size("a.wasm", 3000), size("b.js", 999)];
        let doc = format!("# Sizes\n\n{BEGIN}\n\nold\n{END}\nmore\n");
        let written = replaced(&doc, &table(&sizes)).unwrap();
        assert!(
            written.starts_with("# Sizes\n")
                && written.ends_with("\nmore\n")
                && !written.contains("old")
        );
        assert_eq!(recorded(&written).unwrap(), sizes);
        assert_eq!(replaced(&written, &table(&sizes)).unwrap(), written);
    }

    #[test]
    fn two_percent_pass_and_more_does_not() {
        assert!(compare(&[size("a", 6000)], &[size("a", 6120)]).is_ok());
        assert!(compare(&[size("a", 6000)], &[size("a", 6126)]).is_err());
        assert!(compare(&[size("a", 6000)], &[size("b", 6000)]).is_err());
        assert!(compare(&[size("a", 6000)], &[]).is_err());
    }

    #[test]
    fn a_broken_budget_says_by_how_much() {
        let error = within(&size("a", 303), "a", 100).unwrap_err().to_string();
        assert!(error.contains("1 over"), "{error}");
        assert!(within(&size("a", 300), "a", 100).is_ok());
    }
}
