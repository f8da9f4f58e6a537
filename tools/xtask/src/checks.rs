//! What a built module must be: no imports, exactly the header's exports, no
//! panic machinery, accepted by a WebAssembly engine.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use wasmparser::{ExternalKind, Operator, Parser, Payload};

use crate::ctx::Ctx;
use crate::header;
use crate::tally::Tally;
use crate::wasm::{EXTRA_EXPORTS, Variant};
use crate::weigh::Functions;

/// The import that bindings/c's panic handler calls. It exists nowhere, so a
/// panic that the optimiser could not prove away stays visible as an import.
pub const PANIC_IMPORT: &str = "env.pagelm_panic_is_reachable";

/// How many functions that can panic are named.
const SHOWN: usize = 30;

/// Words of core's panic messages.
const PANIC_WORDS: [&str; 18] = [
    "panicked at",
    "index out of bounds",
    "out of range for slice",
    "slice index starts at",
    "called `Option::unwrap",
    "called `Result::unwrap",
    "attempt to add",
    "attempt to subtract",
    "attempt to multiply",
    "attempt to divide",
    "attempt to calculate",
    "attempt to shift",
    "internal error: entered unreachable",
    "copy_from_slice",
    "assertion",
    "must be non-zero",
    "mid > len",
    "range end index",
];

/// What a module says of itself.
pub struct Module {
    pub imports: Vec<String>,
    pub exports: BTreeSet<String>,
    /// Names of the exported functions, memories and globals by kind.
    functions: BTreeSet<String>,
    /// `unreachable` instructions in its code.
    traps: usize,
    pub has_simd: bool,
    /// Instructions of relaxed-simd, whose results may differ from machine to machine.
    relaxed: BTreeSet<String>,
    can_grow: bool,
    has_max_memory: bool,
    bytes: Vec<u8>,
}

impl Module {
    pub fn read(path: &Path) -> Result<Module> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut module = Module {
            imports: Vec::new(),
            exports: BTreeSet::new(),
            functions: BTreeSet::new(),
            traps: 0,
            has_simd: false,
            relaxed: BTreeSet::new(),
            can_grow: false,
            has_max_memory: false,
            bytes: Vec::new(),
        };
        for payload in Parser::new(0).parse_all(&bytes) {
            module.take(payload?)?;
        }
        module.bytes = bytes;
        Ok(module)
    }

    fn take(&mut self, payload: Payload) -> Result<()> {
        match payload {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    self.imports.push(format!("{}.{}", import.module, import.name));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    self.exports.insert(export.name.to_string());
                    if export.kind == ExternalKind::Func {
                        self.functions.insert(export.name.to_string());
                    }
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    self.has_max_memory |= memory?.maximum.is_some();
                }
            }
            Payload::CodeSectionEntry(body) => {
                for operator in body.get_operators_reader()? {
                    let operator = operator?;
                    self.traps += usize::from(matches!(operator, Operator::Unreachable));
                    self.has_simd |= is_simd(&operator);
                    let name = format!("{operator:?}");
                    if name.contains("Relaxed") {
                        self.relaxed.insert(name);
                    }
                    self.can_grow |= matches!(operator, Operator::MemoryGrow { .. });
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn no_imports(&self) -> Result<()> {
        if self.imports.iter().any(|name| name == PANIC_IMPORT) {
            bail!("a panic path is left: the module imports {PANIC_IMPORT}");
        }
        ensure!(self.imports.is_empty(), "the module imports {}", self.imports.join(", "));
        Ok(())
    }

    /// The one that the kernels use inside its exact range, and none that the
    /// compiler chose by itself.
    fn relaxed_is(&self, wanted: Option<&str>) -> Result<()> {
        let wanted: BTreeSet<String> = wanted.into_iter().map(String::from).collect();
        ensure!(self.relaxed == wanted, "it has {:?}", self.relaxed);
        Ok(())
    }

    fn no_panic_words(&self) -> Result<()> {
        let found: Vec<&str> =
            PANIC_WORDS.into_iter().filter(|word| contains(&self.bytes, word.as_bytes())).collect();
        ensure!(found.is_empty(), "the binary holds core's panic words {found:?}");
        if let Some(path) = source_path(&self.bytes) {
            bail!("the binary holds a panic's source path, {path}");
        }
        Ok(())
    }

    fn exports_are(&self, header: &BTreeSet<String>) -> Result<()> {
        let mut want = header.clone();
        want.extend(EXTRA_EXPORTS.map(String::from));
        let missing: Vec<_> = want.difference(&self.exports).collect();
        let surplus: Vec<_> = self.exports.difference(&want).collect();
        ensure!(
            missing.is_empty() && surplus.is_empty(),
            "missing exports {missing:?}, surplus exports {surplus:?}"
        );
        let not_functions: Vec<_> = header.difference(&self.functions).collect();
        ensure!(not_functions.is_empty(), "exported, but not as functions: {not_functions:?}");
        Ok(())
    }
}

fn is_simd(operator: &Operator) -> bool {
    matches!(
        operator,
        Operator::V128Load { .. } | Operator::V128Store { .. } | Operator::V128Const { .. }
    )
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

/// A path of a Rust source file, which every panic carries.
fn source_path(bytes: &[u8]) -> Option<String> {
    let is_path = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-/.".contains(byte);
    let ends = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(b".rs"));
    let paths = ends.map(|end| {
        let length = bytes[..end].iter().rev().take_while(|byte| is_path(byte)).count();
        &bytes[end - length..end + 3]
    });
    // Shorter ones are chance: a few bytes of code may spell anything.
    let mut real = paths.filter(|path| path.len() >= 8);
    real.next().map(|path| String::from_utf8_lossy(path).into_owned())
}

/// All checks of one shipped module, each counted. `linked` is the module
/// before it was optimised, which has names to tell what is wrong.
pub fn shipped(
    ctx: &Ctx,
    tally: &mut Tally,
    road: &str,
    variant: Variant,
    path: &Path,
    linked: &Path,
) -> Result<()> {
    let module = Module::read(path)?;
    let header = header::functions(ctx)?;
    let label = |what: &str| format!("{road} {}: {what}", variant.file());
    let pure =
        tally.check(&label("no imports, so no path to the panic handler"), module.no_imports());
    if !pure {
        let callers = Functions::read(linked)?.panicking();
        callers.iter().take(SHOWN).for_each(|line| println!("          {line}"));
        println!("          ({} functions can reach a panic)", callers.len());
    }
    tally.check(&label("none of core's panic messages in the binary"), module.no_panic_words());
    tally.check(
        &label(&format!(
            "exports the header's {} functions and {}",
            header.len(),
            EXTRA_EXPORTS.join(", ")
        )),
        module.exports_are(&header),
    );
    let simd = variant != Variant::Scalar;
    tally.check(
        &label(if simd { "has SIMD instructions" } else { "has no SIMD instruction" }),
        as_wanted(module.has_simd, simd),
    );
    let relaxed = variant == Variant::Relaxed;
    tally.check(
        &label(if relaxed {
            "relaxed: the dot product alone"
        } else {
            "has no relaxed instruction"
        }),
        module.relaxed_is(relaxed.then_some("I32x4RelaxedDotI8x16I7x16AddS")),
    );
    tally.check(
        &label("has no instruction that grows its memory"),
        as_wanted(module.can_grow, false),
    );
    tally.check(&label("memory has no fixed maximum"), as_wanted(module.has_max_memory, false));
    tally.check(&label("accepted by WebAssembly.validate"), validate(ctx, path));
    println!(
        "          ({} `unreachable` instructions, {} bytes)",
        module.traps,
        module.bytes.len()
    );
    Ok(())
}

fn as_wanted(is: bool, wanted: bool) -> Result<()> {
    ensure!(is == wanted, "it is not so");
    Ok(())
}

/// Asks a real engine, as binaryen once wrote an invalid module with status 0.
fn validate(ctx: &Ctx, path: &Path) -> Result<()> {
    // Node.js 20 has relaxed-simd behind a flag; engines that do not know the flag need none.
    const SCRIPT: &str = "require('node:v8').setFlagsFromString('--experimental-wasm-relaxed-simd');\
        const b = require('node:fs').readFileSync(process.argv[1]);\
        new WebAssembly.Module(b); process.exit(WebAssembly.validate(b) ? 0 : 1);";
    ctx.job("wasm-validate", "node").arg("-e").arg(SCRIPT).arg(path).quiet().run()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, bytes: &[u8]) -> Module {
        let path =
            std::env::temp_dir().join(format!("pagelm-xtask-{}-{name}.wasm", std::process::id()));
        fs::write(&path, bytes).unwrap();
        let module = Module::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        module
    }

    /// (module (import "env" "pagelm_panic_is_reachable" (func)) (export "f" (func 0)))
    const PANICS: &[u8] = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02\x21\x01\x03env\x19pagelm_panic_is_reachable\0\0\x07\x05\x01\x01f\0\0";

    #[test]
    fn a_reachable_panic_is_seen() {
        let module = read("panics", PANICS);
        assert_eq!(module.imports, [PANIC_IMPORT]);
        assert!(module.no_imports().unwrap_err().to_string().contains("panic path"));
    }

    #[test]
    fn panic_words_are_seen() {
        let mut bytes = b"\0asm\x01\0\0\0".to_vec();
        assert!(read("empty", &bytes).no_panic_words().is_ok());
        // A custom section named "x" that holds a message.
        bytes.extend(b"\0\x15\x01xindex out of bounds");
        assert!(read("words", &bytes).no_panic_words().is_err());
        assert_eq!(
            source_path(b"\0\x05.rs\0src/models/a.rs\x01").as_deref(),
            Some("src/models/a.rs")
        );
        assert_eq!(source_path(b"\0\x05ab.rs\0"), None);
    }

    #[test]
    fn missing_and_surplus_exports_are_seen() {
        let module = read("exports", PANICS);
        let error = module.exports_are(&BTreeSet::from(["g".to_string()])).unwrap_err().to_string();
        assert!(error.contains("\"g\"") && error.contains("surplus exports [\"f\"]"), "{error}");
    }
}
