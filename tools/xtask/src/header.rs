//! include/pagelm.h: generated from src/capi by cbindgen, and compared.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::ctx::Ctx;
use crate::tally::Tally;

const HEADER: &str = "include/pagelm.h";
const SOURCE: &str = "src/capi";
const CONFIG: &str = "cbindgen.toml";
/// The files the header is made of, in its order; functions anywhere else in
/// src/capi are found missing by name.
const PARTS: [&str; 6] = ["types.rs", "model.rs", "session.rs", "text.rs", "view.rs", "predict.rs"];

/// `cargo xtask header`.
pub fn command(ctx: &Ctx, check: bool) -> Result<()> {
    let made = generate(ctx)?;
    let path = ctx.path(HEADER);
    if check {
        return same_text(&fs::read_to_string(&path).context(HEADER)?, &made);
    }
    fs::create_dir_all(ctx.path("include"))?;
    fs::write(&path, &made).context(HEADER)?;
    println!("  {HEADER}: {} functions", function_names(&made).len());
    Ok(())
}

/// The test step: by text, and by set of names on both sides, because a
/// cbindgen that does not know an attribute drops the function silently.
pub fn step(ctx: &Ctx, tally: &mut Tally) -> Result<()> {
    let checked_in = fs::read_to_string(ctx.path(HEADER)).context(HEADER)?;
    let made = generate(ctx)?;
    tally.check("the header is what cbindgen makes of src/capi", same_text(&checked_in, &made));
    let source = source_functions(ctx)?;
    tally.check(
        &format!("the header names the {} functions of src/capi", source.len()),
        same_names(&source, &function_names(&checked_in)),
    );
    Ok(())
}

/// The functions of the checked-in header.
pub fn functions(ctx: &Ctx) -> Result<BTreeSet<String>> {
    let names = function_names(&fs::read_to_string(ctx.path(HEADER)).context(HEADER)?);
    ensure!(!names.is_empty(), "{HEADER} declares no function");
    Ok(names)
}

fn source_files(ctx: &Ctx) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(ctx.path(SOURCE)).context(SOURCE)?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    Ok(paths.into_iter().filter(|path| path.extension().is_some_and(|ext| ext == "rs")).collect())
}

fn generate(ctx: &Ctx) -> Result<String> {
    let config = cbindgen::Config::from_file(ctx.path(CONFIG))
        .map_err(anyhow::Error::msg)
        .context(CONFIG)?;
    let mut builder = cbindgen::Builder::new().with_config(config);
    for part in PARTS {
        builder = builder.with_src(ctx.path(SOURCE).join(part));
    }
    let mut text = Vec::new();
    builder.generate().context("cbindgen")?.write(&mut text);
    Ok(String::from_utf8(text)?)
}

fn same_text(checked_in: &str, made: &str) -> Result<()> {
    let differs = checked_in.lines().zip(made.lines()).position(|(a, b)| a != b);
    if let Some(line) = differs {
        let (a, b) =
            (checked_in.lines().nth(line).unwrap_or(""), made.lines().nth(line).unwrap_or(""));
        anyhow::bail!(
            "{HEADER} line {}: has `{a}`, cbindgen makes `{b}`; run `cargo xtask header`",
            line + 1
        );
    }
    ensure!(
        checked_in == made,
        "{HEADER} and cbindgen's text differ in length; run `cargo xtask header`"
    );
    Ok(())
}

fn same_names(source: &BTreeSet<String>, header: &BTreeSet<String>) -> Result<()> {
    let missing: Vec<_> = source.difference(header).collect();
    let surplus: Vec<_> = header.difference(source).collect();
    ensure!(
        missing.is_empty() && surplus.is_empty(),
        "not in the header: {missing:?}; only in the header: {surplus:?}"
    );
    Ok(())
}

/// Names `pagelm_...(` declared in a C header, comments apart.
fn function_names(header: &str) -> BTreeSet<String> {
    called_names(&without_c_comments(header))
        .into_iter()
        .filter(|name| name.starts_with("pagelm_"))
        .collect()
}

/// Names of the exported `extern "C" fn` items of src/capi.
fn source_functions(ctx: &Ctx) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for file in source_files(ctx)? {
        let text = fs::read_to_string(&file)?;
        for rest in text.split("extern \"C\" fn ").skip(1) {
            let name: String = rest.chars().take_while(|c| is_word(*c)).collect();
            if name.starts_with("pagelm_") {
                names.insert(name);
            }
        }
    }
    Ok(names)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn without_c_comments(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("/*") {
        out.push_str(&rest[..start]);
        rest = rest[start..].find("*/").map_or("", |end| &rest[start + end + 2..]);
    }
    out.push_str(rest);
    out.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

/// Every word that stands directly before an opening parenthesis.
fn called_names(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut word = String::new();
    for c in text.chars() {
        if is_word(c) {
            word.push(c);
            continue;
        }
        if c == '(' && !word.is_empty() {
            names.insert(word.clone());
        }
        word.clear();
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_declarations_only() {
        let header = "/* pagelm_old(int) */ int32_t pagelm_new(void *p);\n// pagelm_gone(void)\ntypedef struct pagelm_error pagelm_error;\nvoid other(void);";
        assert_eq!(function_names(header), BTreeSet::from(["pagelm_new".to_string()]));
    }

    #[test]
    fn a_changed_line_is_named() {
        let error = same_text("a\nb\n", "a\nc\n").unwrap_err().to_string();
        assert!(
            error.contains("line 2") && error.contains("`b`") && error.contains("`c`"),
            "{error}"
        );
        assert!(same_text("a\n", "a\nb\n").is_err());
        assert!(same_text("a\n", "a\n").is_ok());
    }

    #[test]
    fn both_sides_of_the_names_are_compared() {
        let set = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<BTreeSet<_>>();
        assert!(same_names(&set(&["a"]), &set(&["a", "b"])).is_err());
        assert!(same_names(&set(&["a", "b"]), &set(&["a"])).is_err());
        assert!(same_names(&set(&["a"]), &set(&["a"])).is_ok());
    }
}
