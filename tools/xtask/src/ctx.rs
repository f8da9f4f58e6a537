//! Where things are, and how strict this run is.
#![forbid(unsafe_code)]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::process::Job;

pub struct Ctx {
    /// The repository.
    pub root: PathBuf,
    /// Cargo's target folder; everything xtask makes is below it.
    pub target: PathBuf,
    /// Full output of every program that xtask ran.
    pub logs: PathBuf,
    /// `CI` is set: a check that cannot run here is a failure.
    pub strict: bool,
}

impl Ctx {
    pub fn new() -> Result<Ctx> {
        // `cargo run` says it; the fallback is for the program started by itself.
        let here = env::var_os("CARGO_MANIFEST_DIR")
            .map_or(env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        let root = here
            .ancestors()
            .nth(2)
            .context("tools/xtask is not inside the repository")?
            .to_path_buf();
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => root.join(dir),
            None => root.join("target"),
        };
        let logs = target.join("xtask-logs");
        fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
        let strict = env::var_os("CI").is_some_and(|v| !v.is_empty() && v != "false" && v != "0");
        Ok(Ctx { root, target, logs, strict })
    }

    /// A path below the repository.
    pub fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    /// A program to run in the repository; `log` names its log file.
    pub fn job(&self, log: &str, program: &str) -> Job {
        Job::new(&self.logs, log, program).dir(&self.root)
    }

    /// `path` as a reader of the output would name it.
    pub fn show(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }
}
