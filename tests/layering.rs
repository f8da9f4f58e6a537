//! The architecture, as a test: which module may use which, where `unsafe` may
//! stand, and how long a file may grow.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The rank of each module of `src/`: it may use modules of lower rank only.
/// Siblings of one rank do not know each other.
const RANKS: [(&str, u32); 16] = [
    ("error", 0),
    ("slices", 0),
    ("lanes", 1),
    ("math", 2),
    ("arena", 1),
    ("quant", 2),
    ("gguf", 3),
    ("kernels", 4),
    ("tensor", 5),
    ("attention", 6),
    ("tokenizer", 7),
    ("sample", 7),
    ("models", 8),
    ("session", 9),
    ("capi", 10),
    ("lib", 11),
];

/// The only places where `unsafe` may stand, each with the fact that makes it
/// sound in a SAFETY comment (which clippy demands).
const UNSAFE: [&str; 4] = ["kernels/aarch64.rs", "kernels/wasm32.rs", "kernels/x86_64.rs", "capi/"];

/// Lines a file may have; a flat kernel or table file may be longer.
const MAX_LINES: usize = 600;
const LONG: [&str; 1] = ["kernels/"];

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every source file, as its path below `src/` and its text.
fn files() -> Vec<(String, String)> {
    fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, out) } else { out.push(path) }
        }
    }
    let mut paths = Vec::new();
    walk(&src(), &mut paths);
    let name = |path: &Path| {
        let below = path.strip_prefix(src()).unwrap();
        below.to_str().unwrap().replace('\\', "/")
    };
    paths.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// The code of a file: no comments, no tests.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    code.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// The module of `src/` that a file belongs to.
fn module(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

/// The modules that `code` names as `crate::...`, single or in braces.
fn uses(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let word =
            |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        match rest.strip_prefix('{') {
            None => found.push(word(rest)),
            Some(list) => {
                let list = list.split('}').next().unwrap();
                found.extend(list.split(',').map(|item| word(item.trim())));
            }
        }
    }
    found
}

#[test]
fn modules_use_only_what_lies_below_them() {
    let ranks: BTreeMap<_, _> = RANKS.into();
    for (file, text) in files() {
        // Spellings that `uses` would not see.
        let code_only = code(&text);
        assert!(!code_only.contains("super::super") && !code_only.contains("crate::{"), "{file}");
        let own = module(&file);
        let rank =
            ranks.get(own).unwrap_or_else(|| panic!("{file}: give the module `{own}` a rank"));
        for used in uses(&code(&text)) {
            if let Some(other) = ranks.get(used.as_str()) {
                assert!(used == own || other < rank, "{file} must not use crate::{used}");
            }
        }
    }
}

#[test]
fn every_module_has_a_rank_and_every_rank_a_module() {
    let files = files();
    for (name, _) in RANKS {
        assert!(files.iter().any(|(file, _)| module(file) == name), "no module {name}");
    }
}

#[test]
fn unsafe_stands_only_where_it_may() {
    for (file, text) in files() {
        let may = UNSAFE.iter().any(|place| file.starts_with(place));
        let is_root = file == "lib.rs" || file == "kernels/mod.rs";
        let forbids = text.contains("#![forbid(unsafe_code)]");
        let has =
            code(&text).split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == "unsafe");
        assert!(may || !has, "{file} holds `unsafe`");
        // A `forbid` in a parent holds for its children too, so a folder with unsafe files in it
        // cannot have one.
        assert!(may || forbids || is_root, "{file} does not forbid unsafe code");
    }
}

#[test]
fn files_stay_readable() {
    for (file, text) in files() {
        let long = LONG.iter().any(|place| file.starts_with(place)) || file.contains("_table");
        let lines = text.lines().count();
        assert!(
            long || lines <= MAX_LINES,
            "{file} has {lines} lines: is there a second room inside?"
        );
        assert!(text.trim_start().starts_with("//!"), "{file} does not say what it is");
    }
}

#[test]
fn the_core_depends_on_three_crates() {
    let manifest =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let section = manifest.split("\n[dependencies]\n").nth(1).unwrap().split("\n[").next().unwrap();
    let names = section.lines().filter_map(|line| line.split_once(" =")).map(|(name, _)| name);
    assert_eq!(names.collect::<Vec<_>>(), ["bytemuck", "half", "libm"]);
}
