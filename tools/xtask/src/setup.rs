//! Set-up: what is needed, what is installed, and what to do where it cannot be.
//!
//! Debian packages go to the system (root, or sudo that asks nothing); npm
//! packages to tools/web/node_modules; everything else below target/.
#![forbid(unsafe_code)]

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

use crate::ctx::Ctx;
use crate::process::{Job, find};
use crate::tally::not_run;
use crate::toolchain::{self, Road};

/// The oldest Node.js whose test runner and WebAssembly the tests need.
const NODE_MAJOR: u32 = 20;

/// Everything, one line each; a thing that cannot be had is said, not fatal.
pub fn all(ctx: &Ctx) {
    let say = |what: &str, result: Result<String>| match result {
        Ok(found) => println!("  {what}: {found}"),
        Err(error) => println!("  {what}: MISSING. {error:#}"),
    };
    say("Node.js", node(ctx));
    say("npm packages", web_tools(ctx).map(|dir| ctx.show(&dir)));
    say("C compiler", c_compiler(ctx, "CC", "cc", "gcc"));
    say("C++ compiler", c_compiler(ctx, "CXX", "c++", "g++"));
    for browser in [Browser::Chromium, Browser::Firefox] {
        say(browser.name(), browser.find_or_install(ctx).map(|path| path.display().to_string()));
    }
    for road in [Road::Rustup, Road::Debian] {
        say(road.title(), toolchain::prepare(ctx, road));
    }
}

/// The version line of a Node.js that is new enough.
pub fn node(ctx: &Ctx) -> Result<String> {
    let need = format!(
        "Node.js {NODE_MAJOR} or newer must be on the PATH as `node`, with `npm` beside it"
    );
    if find("node").is_none() || find("npm").is_none() {
        return Err(not_run(format!("{need}; found none")));
    }
    let version =
        ctx.job("node-version", "node").arg("--version").quiet().run()?.stdout.trim().to_string();
    let major =
        version.trim_start_matches('v').split('.').next().and_then(|n| n.parse::<u32>().ok());
    match major {
        Some(major) if major >= NODE_MAJOR => Ok(version),
        _ => Err(not_run(format!("{need}; found {version}"))),
    }
}

/// tools/web with its node_modules installed exactly as its lock file says.
pub fn web_tools(ctx: &Ctx) -> Result<PathBuf> {
    npm_packages(ctx, "tools/web")
}

/// A folder with a lock file, its node_modules installed exactly as that says.
pub fn npm_packages(ctx: &Ctx, folder: &str) -> Result<PathBuf> {
    node(ctx)?;
    let dir = ctx.path(folder);
    let lock =
        fs::read(dir.join("package-lock.json")).context(format!("{folder}/package-lock.json"))?;
    // A copy of the lock file beside what was installed from it.
    let stamp = dir.join("node_modules/.pagelm-lock");
    if fs::read(&stamp).ok().as_deref() != Some(&lock[..]) {
        println!(
            "installing the npm packages of {folder}/package-lock.json into {folder}/node_modules"
        );
        ctx.job(&format!("npm-ci-{}", folder.replace('/', "-")), "npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .dir(&dir)
            .limit(900)
            .run()?;
        fs::write(&stamp, &lock)?;
    }
    Ok(dir)
}

/// A program of the npm packages, run by Node.js.
pub fn npm_program(ctx: &Ctx, log: &str, script: &str) -> Result<Job> {
    let script = web_tools(ctx)?.join("node_modules").join(script);
    if !script.is_file() {
        bail!("the npm packages hold no {}", ctx.show(&script));
    }
    Ok(ctx.job(log, "node").arg(script))
}

/// A program, or the Debian package that brings it.
pub fn program(ctx: &Ctx, name: &str, package: &str) -> Result<PathBuf> {
    if find(name).is_none() {
        apt_install(ctx, &[package], &format!("`{name}`"))?;
    }
    find(name).with_context(|| format!("the package {package} brought no {name}"))
}

/// The C or C++ compiler: the variable, else the usual name, else Debian's package.
pub fn c_compiler(ctx: &Ctx, variable: &str, usual: &str, package: &str) -> Result<String> {
    if let Ok(named) = env::var(variable)
        && !named.is_empty()
    {
        return Ok(named);
    }
    if find(usual).is_none() {
        apt_install(ctx, &[package, "libc6-dev"], &format!("a compiler, `{usual}`"))?;
    }
    Ok(usual.to_string())
}

#[derive(Clone, Copy, PartialEq)]
pub enum Browser {
    Chromium,
    Firefox,
}

impl Browser {
    pub fn name(self) -> &'static str {
        match self {
            Browser::Chromium => "chromium",
            Browser::Firefox => "firefox",
        }
    }

    /// The variable, the usual names, and Debian's package.
    fn places(self) -> (&'static str, &'static [&'static str], &'static str) {
        match self {
            Browser::Chromium => (
                "PAGELM_CHROMIUM",
                &["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"],
                "chromium",
            ),
            Browser::Firefox => ("PAGELM_FIREFOX", &["firefox-esr", "firefox"], "firefox-esr"),
        }
    }

    /// The environment variable that names the program.
    pub fn variable(self) -> &'static str {
        self.places().0
    }

    pub fn find(self) -> Option<PathBuf> {
        let (variable, names, _) = self.places();
        match env::var_os(variable) {
            Some(path) => Some(PathBuf::from(path)),
            None => names.iter().find_map(|name| find(name)),
        }
    }

    pub fn find_or_install(self, ctx: &Ctx) -> Result<PathBuf> {
        if let Some(path) = self.find() {
            return Ok(path);
        }
        let (variable, _, package) = self.places();
        apt_install(ctx, &[package], &format!("{} (or name one in {variable})", self.name()))?;
        self.find().with_context(|| format!("the package {package} brought no {}", self.name()))
    }
}

/// The words before `apt-get` that give it the rights, or None where there are none.
fn apt_prefix() -> Option<&'static [&'static str]> {
    static PREFIX: OnceLock<Option<&'static [&'static str]>> = OnceLock::new();
    *PREFIX.get_or_init(|| {
        find("apt-get")?;
        let id = Command::new("id").arg("-u").output().ok()?;
        if String::from_utf8_lossy(&id.stdout).trim() == "0" {
            return Some(&[]);
        }
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        sudo.status().ok()?.success().then_some(&["sudo", "-n"])
    })
}

/// Installs Debian packages; where that is not possible, says what to install.
pub fn apt_install(ctx: &Ctx, packages: &[&str], what: &str) -> Result<()> {
    let list = packages.join(" ");
    let Some(prefix) = apt_prefix() else {
        return Err(not_run(format!(
            "needs {what}. On Debian: apt-get install -y --no-install-recommends {list} (this needs root)"
        )));
    };
    println!("installing {what}, Debian packages: {list}");
    let apt = |log: &str, args: &[&str]| {
        let mut words: Vec<&str> = prefix.to_vec();
        words.extend([
            "env",
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            "-o",
            "DPkg::Lock::Timeout=300",
        ]);
        words.extend(args);
        ctx.job(log, words[0]).args(&words[1..]).limit(1200)
    };
    static UPDATED: OnceLock<()> = OnceLock::new();
    if UPDATED.set(()).is_ok() {
        // The lists may be old but good enough: the install below decides.
        let update = apt("apt-update", &["update"]).finish()?;
        if !update.success {
            println!("  `apt-get update` failed; going on with the package lists that are here");
        }
    }
    let mut args = vec!["install", "-y", "--no-install-recommends"];
    args.extend(packages);
    let install = apt(&format!("apt-install-{}", packages[0]), &args).finish()?;
    install.require().map(drop).map_err(|error| not_run(format!("needs {what}: {error:#}")))
}
