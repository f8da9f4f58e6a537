//! `cargo xtask demo`: the page of examples/web, built and served here.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;

use anyhow::{Context, Result, ensure};

use crate::ctx::Ctx;
use crate::process::find;
use crate::serve::{Server, Site};
use crate::setup::{Browser, web_tools};
use crate::toolchain::Choice;
use crate::wasm;

/// The script that uses the page as a visitor would and writes the PNGs.
const DRIVER: &str = "examples/web/drive.mjs";

pub struct Options {
    pub port: u16,
    pub open: bool,
    pub isolate: bool,
    pub screenshot: Option<PathBuf>,
    pub toolchain: Choice,
}

/// The page, the loader and the models, each under its own path.
pub fn site(ctx: &Ctx, isolate: bool) -> Site {
    let folders = vec!["examples/web", "examples/models", "bindings/js"];
    Site { root: ctx.root.clone(), folders, home: "/examples/web/", isolate }
}

pub fn command(ctx: &Ctx, options: &Options) -> Result<()> {
    println!("building the engine for the page");
    wasm::command(ctx, options.toolchain)?;
    ensure!(ctx.path("examples/web/index.html").is_file(), "examples/web/index.html is missing");
    if let Some(dir) = &options.screenshot {
        let dir = std::env::current_dir()?.join(dir);
        return drive(ctx, Browser::Chromium, &dir, options.isolate, None);
    }
    let server = Server::start(site(ctx, options.isolate), options.port).or_else(|error| {
        println!("{error:#}; taking a free port");
        Server::start(site(ctx, options.isolate), 0)
    })?;
    let address = format!("{}/examples/web/", server.address);
    println!("\n  The demo is at  {address}\n");
    println!("  Open it in a browser, choose a model, type, and press Generate.");
    println!("  Everything runs on this machine; nothing is sent anywhere.");
    println!("  Ctrl-C here ends the server.\n");
    if options.open {
        open(&address)?;
    }
    let (sender, receiver) = mpsc::channel();
    // The receiver is waiting below; a second Ctrl-C may find it gone.
    let handler = move || _ = sender.send(());
    ctrlc::set_handler(handler).context("cannot listen for Ctrl-C")?;
    receiver.recv()?;
    println!("  ended");
    Ok(())
}

/// Uses the page in a headless browser; the driver writes its PNGs to `dir`. With the command-line
/// program at hand it also has that write the page's text.
pub fn drive(
    ctx: &Ctx,
    browser: Browser,
    dir: &Path,
    isolate: bool,
    command_line: Option<&Path>,
) -> Result<()> {
    web_tools(ctx)?;
    let program = browser.find_or_install(ctx)?;
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let server = Server::start(site(ctx, isolate), 0)?;
    let output = ctx
        .job(&format!("drive-{}", browser.name()), "node")
        .arg(ctx.path(DRIVER))
        .arg(format!("{}/examples/web/", server.address))
        .arg(dir)
        .env("PAGELM_BROWSER", browser.name())
        .env(browser.variable(), program)
        .env("PAGELM_CLI", command_line.unwrap_or(Path::new("")))
        .limit(300)
        .run()?;
    for line in output.stdout.lines() {
        println!("  {line}");
    }
    let pictures = pngs(dir)?;
    ensure!(!pictures.is_empty(), "{DRIVER} ended well but wrote no PNG to {}", dir.display());
    for picture in pictures {
        println!("  wrote {}", ctx.show(&picture));
    }
    Ok(())
}

fn pngs(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let mut found: Vec<PathBuf> = entries
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ext| ext == "png"))
        .collect();
    found.sort();
    Ok(found)
}

/// Opens an address with the system's own opener.
fn open(address: &str) -> Result<()> {
    let opener = ["xdg-open", "open", "explorer.exe"].into_iter().find(|name| find(name).is_some());
    let opener =
        opener.context("--open: found neither xdg-open nor open; open the address by hand")?;
    Command::new(opener)
        .arg(address)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context(opener)?;
    Ok(())
}
