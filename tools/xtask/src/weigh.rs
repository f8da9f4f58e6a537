//! Looks into a linked module, which still has its names: which functions are
//! large, and which can reach a panic.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use wasmparser::{KnownCustom, Name, Operator, Parser, Payload, TypeRef};

/// One function of a module.
struct Function {
    name: String,
    size: usize,
    calls: BTreeSet<u32>,
}

/// The functions that a module defines, by their index.
pub struct Functions(BTreeMap<u32, Function>);

impl Functions {
    pub fn read(path: &Path) -> Result<Functions> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let (mut functions, mut next) = (BTreeMap::new(), 0);
        for payload in Parser::new(0).parse_all(&bytes) {
            match payload? {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        next += u32::from(matches!(import?.ty, TypeRef::Func(_)));
                    }
                }
                Payload::CodeSectionEntry(body) => {
                    let mut calls = BTreeSet::new();
                    for operator in body.get_operators_reader()? {
                        if let Operator::Call { function_index } = operator? {
                            calls.insert(function_index);
                        }
                    }
                    let name = format!("function {next}");
                    functions.insert(next, Function { name, size: body.range().len(), calls });
                    next += 1;
                }
                Payload::CustomSection(section) => {
                    if let KnownCustom::Name(names) = section.as_known() {
                        for part in names {
                            take_names(part?, &mut functions)?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(Functions(functions))
    }

    /// The largest, and how many bytes each has.
    pub fn largest(&self, count: usize) -> Vec<(usize, &str)> {
        let mut all: Vec<_> = self.0.values().map(|f| (f.size, f.name.as_str())).collect();
        all.sort_by_key(|(size, name)| (usize::MAX - size, *name));
        all.truncate(count);
        all
    }

    /// Functions outside core that call into a panic, and how: inlining puts a
    /// panic into the function that its source was inlined into.
    pub fn panicking(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut seen: BTreeSet<u32> = BTreeSet::new();
        let mut reach: Vec<(u32, String)> =
            self.named("panic").map(|(i, f)| (i, f.name.clone())).collect();
        while let Some((target, how)) = reach.pop() {
            if !seen.insert(target) {
                continue;
            }
            for (index, caller) in self.0.iter().filter(|(_, f)| f.calls.contains(&target)) {
                if is_core(&caller.name) {
                    reach.push((*index, caller.name.clone()));
                } else if *index != target {
                    found.push(format!("{} calls {how}", caller.name));
                }
            }
        }
        found.sort();
        found.dedup();
        found
    }

    fn named<'a>(&'a self, word: &'a str) -> impl Iterator<Item = (u32, &'a Function)> {
        self.0
            .iter()
            .filter(move |(_, f)| is_core(&f.name) && f.name.contains(word))
            .map(|(i, f)| (*i, f))
    }
}

fn take_names(part: Name, functions: &mut BTreeMap<u32, Function>) -> Result<()> {
    if let Name::Function(names) = part {
        for naming in names {
            let naming = naming?;
            if let Some(function) = functions.get_mut(&naming.index) {
                function.name = format!("{:#}", rustc_demangle::demangle(naming.name));
            }
        }
    }
    Ok(())
}

/// Functions of core, also those generic over somebody's type.
fn is_core(name: &str) -> bool {
    name.trim_start_matches(['<', '[']).starts_with("core::") || name.contains(" as core::fmt::")
}
