//! Emscripten: the static library by both roads, a C++ program in Node.js, a
//! page in Chromium, and the smallest case of all, a C function in a page.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::checks::Module;
use crate::ctx::Ctx;
use crate::hosts::{PROMPT, REQUESTS, Request, TOKENS};
use crate::process::Job;
use crate::serve::{Server, Site};
use crate::setup::{Browser, node, program, web_tools};
use crate::tally::Tally;
use crate::toolchain::{self, Choice, Road, Target};
use crate::{wasm, web};

/// Rustup's target of the first WebAssembly alone; every Emscripten links it.
const MINIMAL: Target = Target { triple: "wasm32v1-none", crates: "core,compiler_builtins" };
/// Debian's compiler builds the library, too, so that the flags below hold for all of it.
const EMSCRIPTEN: Target =
    Target { triple: "wasm32-unknown-emscripten", crates: "core,compiler_builtins" };
/// The first WebAssembly and SIMD: what Emscripten 3.1.6 and newer ones understand. Newer features
/// are written down in the objects, under names that an older wasm-opt refuses.
const FLAGS: &str = "-Ctarget-cpu=mvp\u{1f}-Ctarget-feature=+simd128";

fn target(road: Road) -> &'static Target {
    match road {
        Road::Rustup => &MINIMAL,
        Road::Debian => &EMSCRIPTEN,
    }
}

/// `cargo xtask emscripten`: the library, the program and the page's module.
pub fn command(ctx: &Ctx) -> Result<()> {
    let road = match toolchain::prepare_for(ctx, Road::Rustup, target(Road::Rustup)) {
        Ok(_) => Road::Rustup,
        Err(error) => {
            println!("not by rustup: {error:#}");
            Road::Debian
        }
    };
    println!("{}: {}", road.title(), toolchain::prepare_for(ctx, road, target(road))?);
    println!("{}", compiler(ctx)?);
    let library = library(ctx, road)?;
    make(ctx, &library, &ctx.path("emscripten/build"))?;
    first(ctx)?;
    // The page beside it uses the loader's module.
    wasm::command(ctx, Choice::Auto)?;
    for file in ["emscripten/build/generate.js", "emscripten/build/engine.mjs"] {
        println!("  {file}");
    }
    println!(
        "Serve the repository, say by `python3 -m http.server`, and open /emscripten/ and /examples/first/"
    );
    Ok(())
}

/// The version line of emcc.
fn compiler(ctx: &Ctx) -> Result<String> {
    program(ctx, "em++", "emscripten")?;
    let text = emscripten(ctx, "emcc-version", "emcc").arg("--version").quiet().run()?.stdout;
    Ok(text.lines().next().unwrap_or("emcc").to_string())
}

/// One of Emscripten's programs. Debian's looks for its JavaScript where Debian's Node.js would.
fn emscripten(ctx: &Ctx, log: &str, program: &str) -> Job {
    let modules = Path::new("/usr/share/nodejs");
    let job = ctx.job(log, program).without_env(&["EMCC_CFLAGS"]).limit(900);
    if modules.is_dir() { job.env("NODE_PATH", modules) } else { job }
}

/// The static library of a road, with SIMD.
fn library(ctx: &Ctx, road: Road) -> Result<PathBuf> {
    let (name, target) = (road.name(), target(road));
    let build = ctx.target.join("emscripten-build").join(name);
    let job = road.cargo_for(ctx, &format!("emscripten-{name}"), "rustc", target);
    job.env("CARGO_TARGET_DIR", &build)
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS)
        .args(["--package", "pagelm-c", "--lib", "--crate-type", "staticlib", "--profile", "dist"])
        .run()?;
    let out = ctx.target.join("emscripten").join(name).join("libpagelm.a");
    fs::create_dir_all(out.parent().context("a path without a folder")?)?;
    fs::copy(build.join(target.triple).join("dist/libpagelm.a"), &out)?;
    Ok(out)
}

/// Links the program for Node.js and the page's module.
fn make(ctx: &Ctx, library: &Path, out: &Path) -> Result<()> {
    program(ctx, "make", "make")?;
    // Make looks at dates, and a library of the other road may be older than what is there.
    if out.exists() {
        fs::remove_dir_all(out)?;
    }
    let job = emscripten(ctx, "emscripten-make", "make").arg("-C").arg(ctx.path("emscripten"));
    job.arg(format!("LIB={}", library.display())).arg(format!("OUT={}", out.display())).run()?;
    Ok(())
}

/// Compiles the C function of examples/first, by the line that its first lines give.
fn first(ctx: &Ctx) -> Result<()> {
    let folder = ctx.path("examples/first");
    let source = fs::read_to_string(folder.join("smooth.c"))?;
    let line = source.lines().find_map(|line| line.strip_prefix(" *   emcc "));
    let line = line.context("smooth.c does not say how it is compiled")?;
    emscripten(ctx, "emscripten-first", "emcc").args(line.split(' ')).dir(&folder).run()?;
    Ok(())
}

pub fn step(ctx: &Ctx, tally: &mut Tally) -> Result<()> {
    node(ctx)?;
    println!("  {}", compiler(ctx)?);
    let out = ctx.path("emscripten/build");
    let mut page = false;
    for road in [Road::Debian, Road::Rustup] {
        let name = road.name();
        let linked = || {
            println!("  {}", toolchain::prepare_for(ctx, road, target(road))?);
            make(ctx, &library(ctx, road)?, &out)
        };
        if tally.value(&format!("em++ links the library of {name}"), linked()).is_none() {
            continue;
        }
        page = true;
        for request in &REQUESTS {
            let same = hash(ctx, request, &out).and_then(|hash| {
                ensure!(hash == request.hash, "hash {hash}, not {}", request.hash);
                Ok(())
            });
            tally.check(
                &format!("{}: C++ by Emscripten and {name}, in Node.js", request.name),
                same,
            );
        }
        tally.check(&format!("{name}: the modules use SIMD"), simd(&out));
    }
    tally.check("emcc compiles the C function of examples/first", first(ctx));
    ensure!(page, "no road gave a module for the page");
    for browser in [Browser::Chromium, Browser::Firefox] {
        tally.check(
            &format!("{}: the pages, used as a visitor would", browser.name()),
            pages(ctx, browser),
        );
    }
    Ok(())
}

/// The hash that the program prints as its last line.
fn hash(ctx: &Ctx, request: &Request, out: &Path) -> Result<String> {
    let job = ctx.job("emscripten-node", "node").quiet().limit(300);
    let job = job
        .arg(out.join("generate.js"))
        .arg(ctx.path(request.model))
        .args([PROMPT, &TOKENS.to_string()]);
    let output = job.args([request.temperature, request.seed, "--hash"]).run()?;
    Ok(output.stdout.lines().last().context("it printed nothing")?.trim().to_string())
}

/// Both modules have instructions of SIMD.
fn simd(out: &Path) -> Result<()> {
    for module in ["generate.wasm", "engine.wasm"] {
        ensure!(Module::read(&out.join(module))?.has_simd, "{module} has none");
    }
    Ok(())
}

/// Both pages in a headless browser, with screenshots.
fn pages(ctx: &Ctx, browser: Browser) -> Result<()> {
    web_tools(ctx)?;
    web::ship(ctx)?;
    let program = browser.find_or_install(ctx)?;
    let folders = vec![
        "emscripten",
        "examples/first",
        "examples/models",
        "bindings/js",
        "tests/data/denoise",
    ];
    let site = Site { root: ctx.root.clone(), folders, home: "/emscripten/", isolate: false };
    let server = Server::start(site, 0)?;
    let shots = ctx.target.join("screenshots/emscripten");
    fs::create_dir_all(&shots)?;
    let job = ctx.job(&format!("emscripten-{}", browser.name()), "node").quiet().limit(300);
    let job = job.arg(ctx.path("emscripten/drive.mjs")).arg(&server.address).arg(&shots);
    let job = job.env("PAGELM_BROWSER", browser.name()).env(browser.variable(), program);
    job.env("PAGELM_HASHES", REQUESTS.map(|request| request.hash).join(",")).run()?;
    Ok(())
}
