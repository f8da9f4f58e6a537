//! examples/cortex-m in QEMU: the same tokens from a board without a system.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::ctx::Ctx;
use crate::hosts::{self, BYTES_MODEL, MODEL};
use crate::process::{Job, find};
use crate::setup::apt_install;
use crate::tally::{Tally, not_run};
use crate::toolchain::{self, Road, Target};

const EXAMPLE: &str = "examples/cortex-m";
const PROGRAM: &str = "pagelm-cortex-m";
/// The program that docs/BARE_METAL.md shows.
const SHORTEST: &str = "shortest";
const DOC: &str = "docs/BARE_METAL.md";
const QEMU: &str = "qemu-system-arm";
const BOARD: Target = Target { triple: "thumbv7em-none-eabihf", crates: "core,compiler_builtins" };

/// A text that the board writes, as the command line is asked for it.
struct Text {
    name: &'static str,
    model: &'static str,
    arguments: &'static [&'static str],
}

const TEXTS: [Text; 3] = [
    Text { name: "greedy", model: MODEL, arguments: &["--prompt", "The "] },
    Text {
        name: "sampled",
        model: BYTES_MODEL,
        arguments: &["--prompt", "The ", "--temperature", "0.8", "--seed", "42"],
    },
    Text {
        name: "names",
        model: "examples/models/names.gguf",
        arguments: &["--temperature", "0.8", "--seed", "7", "--ignore-eos"],
    },
];

pub fn step(ctx: &Ctx, tally: &mut Tally) -> Result<()> {
    hosts::command_line(ctx)?;
    TEXTS.iter().try_for_each(|text| pack(ctx, text.model))?;
    tally.check(&format!("{DOC} shows the shortest program as it is"), documented(ctx));
    tally.check("clippy", clippy(ctx));
    let want: Vec<Value> = TEXTS.iter().map(|text| host(ctx, text)).collect::<Result<_>>()?;
    let Some(qemu) = tally.value("QEMU for ARM", Qemu::find(ctx)) else { return Ok(()) };
    for road in [Road::Rustup, Road::Debian] {
        let name = road.name();
        let Some(programs) = tally.value(&format!("{name} builds it"), build(ctx, road)) else {
            continue;
        };
        let name_written = qemu.run(ctx, &programs.join(SHORTEST)).and_then(|said| {
            let want = host(ctx, &Text { arguments: &[], ..TEXTS[2] })?;
            ensure!(want["text"] == said.as_str(), "it wrote {said:?}, the command line {want}");
            Ok(())
        });
        tally.check(&format!("{name}: the shortest program writes a name"), name_written);
        let run = qemu.run(ctx, &programs.join(PROGRAM));
        let Some(said) = tally.value(&format!("{name}: it runs"), run) else { continue };
        for (text, want) in TEXTS.iter().zip(&want) {
            let what = format!("{name}: {} is the command line's text and hash", text.name);
            tally.check(&what, same(&said, text.name, want));
        }
        let refused = said.contains("flash refused a write");
        let proof = refused.then_some(()).context("the models could be written to");
        tally.check(&format!("{name}: the models are read-only"), proof);
    }
    Ok(())
}

/// Packs a model into the example's folder, as its README says.
fn pack(ctx: &Ctx, model: &str) -> Result<()> {
    let to = ctx.path(EXAMPLE).join("models");
    fs::create_dir_all(&to)?;
    let from = ctx.path(model);
    let to = to.join(from.file_name().context("a model without a name")?);
    cli(ctx, "pack").arg(&from).arg("-o").arg(to).run()?;
    Ok(())
}

/// What the command line writes.
fn host(ctx: &Ctx, text: &Text) -> Result<Value> {
    let job = cli(ctx, "generate").arg(ctx.path(text.model)).args(text.arguments);
    let output = job.args(["--tokens", "64", "--json"]).run()?;
    serde_json::from_str(&output.stdout).context("the command line's JSON")
}

fn cli(ctx: &Ctx, command: &str) -> Job {
    let program = ctx.target.join("release/pagelm");
    ctx.job(&format!("cortex-m-{command}"), &program.to_string_lossy()).quiet().arg(command)
}

/// Builds the example by one of the roads; where its programs are.
fn build(ctx: &Ctx, road: Road) -> Result<PathBuf> {
    println!("  {}", toolchain::prepare_for(ctx, road, &BOARD)?);
    let target = ctx.target.join("cortex-m").join(road.name());
    let job = road.cargo_for(ctx, &format!("cortex-m-{}", road.name()), "build", &BOARD);
    // The folder's own .cargo/config.toml names the linker script.
    job.dir(&ctx.path(EXAMPLE)).arg("--release").env("CARGO_TARGET_DIR", &target).run()?;
    Ok(target.join(BOARD.triple).join("release"))
}

fn clippy(ctx: &Ctx) -> Result<()> {
    toolchain::prepare_for(ctx, Road::Rustup, &BOARD)?;
    let job = Road::Rustup.cargo_for(ctx, "cortex-m-clippy", "clippy", &BOARD);
    let job = job.dir(&ctx.path(EXAMPLE)).args(["--release", "--", "-D", "warnings"]);
    job.env("CARGO_TARGET_DIR", ctx.target.join("cortex-m/rustup")).run()?;
    Ok(())
}

fn documented(ctx: &Ctx) -> Result<()> {
    let file = ctx.path(EXAMPLE).join("src/bin").join(SHORTEST).with_extension("rs");
    let program = fs::read_to_string(file)?;
    let page = fs::read_to_string(ctx.path(DOC))?;
    ensure!(page.contains(&format!("```rust\n{program}```")), "copy it there anew");
    Ok(())
}

/// The board's text and hash of that name, against the command line's answer.
fn same(said: &str, name: &str, want: &Value) -> Result<()> {
    let (text, hash) = part(said, name)?;
    let want_text = want["text"].as_str().context("the command line gave no text")?;
    let want_hash = want["ids_fnv1a64"].as_str().context("the command line gave no hash")?;
    ensure!(text == want_text, "the board wrote {text:?}, the command line {want_text:?}");
    ensure!(hash == want_hash, "hash {hash}, not {want_hash}");
    println!("          hash {hash}");
    Ok(())
}

/// A text, between its first line and the line with its hash.
fn part<'a>(said: &'a str, name: &str) -> Result<(&'a str, &'a str)> {
    let found = || {
        let (_, rest) = said.split_once(&format!("{name}: "))?;
        let (_, rest) = rest.split_once('\n')?;
        let (text, rest) = rest.split_once(&format!("\n{name}: "))?;
        Some((text, rest.lines().next()?.split_once("hash ")?.1))
    };
    found().with_context(|| format!("no text {name} in {said:?}"))
}

/// An emulator: the system's, or unpacked below target.
struct Qemu {
    program: PathBuf,
    /// Where it was unpacked.
    root: Option<PathBuf>,
}

impl Qemu {
    fn find(ctx: &Ctx) -> Result<Qemu> {
        let system = || find(QEMU).map(|program| Qemu { program, root: None });
        if let Some(qemu) = system() {
            return Ok(qemu);
        }
        let root = ctx.target.join("qemu");
        let unpacked = root.join("usr/bin").join(QEMU);
        if !unpacked.is_file() {
            if find("apt-get").is_none() {
                return Err(not_run(format!("needs {QEMU}")));
            }
            match conflicts(ctx)? {
                None => {
                    apt_install(ctx, &[QEMU], "an emulated Cortex-M4")?;
                    return system().context("Debian's package did not bring it");
                }
                Some(packages) => unpack(ctx, &root, &packages)?,
            }
        }
        Ok(Qemu { program: unpacked, root: Some(root) })
    }

    /// What the program prints; it must end well.
    fn run(&self, ctx: &Ctx, program: &Path) -> Result<String> {
        let mut job = ctx.job("cortex-m-run", &self.program.to_string_lossy()).limit(600);
        if let Some(root) = &self.root {
            let below = |dir: &str| root.join(dir).join("x86_64-linux-gnu").display().to_string();
            job = job.env("LD_LIBRARY_PATH", format!("{}:{}", below("usr/lib"), below("lib")));
            job = job.arg("-L").arg(root.join("usr/share/qemu"));
        }
        job = job.args(["-M", "mps2-an386", "-nographic", "-monitor", "none", "-serial", "none"]);
        job = job.args(["-semihosting-config", "enable=on,target=native", "-kernel"]);
        Ok(job.arg(program).run()?.stdout)
    }
}

/// What to install where installing would remove something (Debian's backports
/// of qemu-utils and this package exclude each other); None where it would not.
fn conflicts(ctx: &Ctx) -> Result<Option<Vec<String>>> {
    let args = ["-s", "install", "--no-install-recommends", QEMU];
    let plan = || ctx.job("apt-plan", "apt-get").args(args).quiet().finish();
    let mut plan_now = plan()?;
    if !plan_now.success {
        // A fresh machine has no package lists: any installation brings them.
        apt_install(ctx, &["ca-certificates"], "the lists of packages")?;
        plan_now = plan()?;
    }
    let plan = plan_now.require()?.stdout;
    if !plan.lines().any(|line| line.starts_with("Remv ")) {
        return Ok(None);
    }
    let named = plan.lines().filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next());
    Ok(Some(named.map(str::to_string).collect()))
}

/// Downloads packages and unpacks them into a folder, the system untouched.
fn unpack(ctx: &Ctx, root: &Path, packages: &[String]) -> Result<()> {
    println!("installing {QEMU} would remove a package: unpacking it into {}", ctx.show(root));
    let debs = root.join("debs");
    fs::create_dir_all(&debs)?;
    let download = ctx.job("qemu-download", "apt-get").arg("download").args(packages);
    download.dir(&debs).limit(600).run()?;
    for deb in fs::read_dir(&debs)? {
        let deb = deb?.path();
        ctx.job("qemu-unpack", "dpkg-deb").arg("-x").arg(&deb).arg(root).quiet().run()?;
        fs::remove_file(deb)?;
    }
    if !root.join("usr/bin").join(QEMU).is_file() {
        bail!("Debian's package holds no {QEMU}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stands_between_its_lines() {
        let said =
            "a: 5 bytes\nOnce\nupon\na: 2 tokens, hash 0f\nb: 7 bytes\n\n\nb: 0 tokens, hash 1\n";
        assert_eq!(part(said, "a").unwrap(), ("Once\nupon", "0f"));
        assert_eq!(part(said, "b").unwrap(), ("\n", "1"));
        assert!(part(said, "c").is_err());
        assert!(part("a: 5 bytes\nOnce", "a").is_err());
    }
}
