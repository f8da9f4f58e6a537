//! Running programs: a log file for each, a time limit, and the log's tail in
//! the error when one fails.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How many lines of a failing program's log are shown.
const TAIL: usize = 60;
/// How often a long-running program says that it is still alive.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// One program to run.
pub struct Job {
    command: Command,
    log: PathBuf,
    limit: Duration,
    line: String,
    quiet: bool,
}

/// What a finished program printed.
pub struct Output {
    /// Standard output.
    pub stdout: String,
    /// Standard output and standard error, in the order written.
    pub log: String,
    pub success: bool,
    status: String,
    line: String,
    path: PathBuf,
}

impl Job {
    pub fn new(logs: &Path, log: &str, program: &str) -> Job {
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        Job {
            command,
            log: logs.join(format!("{log}.log")),
            limit: Duration::from_secs(1800),
            line: program.to_string(),
            quiet: false,
        }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Job {
        let arg = arg.as_ref();
        self.line.push(' ');
        self.line.push_str(&arg.to_string_lossy());
        self.command.arg(arg);
        self
    }

    pub fn args<I, S>(self, args: I) -> Job
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        args.into_iter().fold(self, Job::arg)
    }

    pub fn dir(mut self, dir: &Path) -> Job {
        self.command.current_dir(dir);
        self
    }

    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Job {
        self.command.env(key, value);
        self
    }

    pub fn without_env(mut self, keys: &[&str]) -> Job {
        for key in keys {
            self.command.env_remove(key);
        }
        self
    }

    /// Gives the program a file to read.
    pub fn stdin(mut self, path: &Path) -> Result<Job> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        self.command.stdin(file);
        Ok(self)
    }

    /// Ends the program after this long.
    pub fn limit(mut self, seconds: u64) -> Job {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// Does not print the command line.
    pub fn quiet(mut self) -> Job {
        self.quiet = true;
        self
    }

    /// Runs to the end; a status other than 0 is an error with the log's tail.
    pub fn run(self) -> Result<Output> {
        self.finish()?.require()
    }

    /// Runs to the end, whatever the status.
    pub fn finish(mut self) -> Result<Output> {
        if !self.quiet {
            println!("  $ {}", self.line);
        }
        let out_path = self.log.with_extension("out");
        let log = File::create(&self.log)
            .with_context(|| format!("cannot write {}", self.log.display()))?;
        let out = File::create(&out_path)
            .with_context(|| format!("cannot write {}", out_path.display()))?;
        let mut child = self
            .command
            .stdout(out)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start `{}`", self.line))?;
        let status = wait(&mut child, self.limit, self.quiet)?;
        let stdout = read_lossy(&out_path)?;
        let stderr = read_lossy(&self.log)?;
        // One file to look at afterwards: standard error, then standard output.
        let log = format!("{stderr}{stdout}");
        fs::write(&self.log, format!("$ {}\n{log}", self.line))?;
        fs::remove_file(&out_path)?;
        let (success, status) = match status {
            Some(status) => (status.success(), describe(status)),
            None => (false, format!("no end after {} s", self.limit.as_secs())),
        };
        Ok(Output { stdout, log, success, status, line: self.line, path: self.log })
    }
}

impl Output {
    /// Of a test runner: an error if it failed, but where its failures were
    /// already counted only the end of its log.
    pub fn explain(self, counted: bool) -> Result<()> {
        match self.require() {
            Err(error) if counted => println!("  {error}"),
            other => drop(other?),
        }
        Ok(())
    }

    /// The output of a program that succeeded, else an error.
    pub fn require(self) -> Result<Output> {
        if self.success {
            return Ok(self);
        }
        let lines: Vec<&str> = self.log.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n    ");
        bail!(
            "`{}`: {}\n    {tail}\n    (whole log: {})",
            self.line,
            self.status,
            self.path.display()
        )
    }
}

fn describe(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit status {code}"),
        None => format!("{status}"),
    }
}

fn read_lossy(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The status, or None when the limit passed and the program was ended.
fn wait(child: &mut Child, limit: Duration, quiet: bool) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    let mut next = HEARTBEAT;
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let passed = start.elapsed();
        if passed > limit {
            end(child)?;
            return Ok(None);
        }
        if passed > next && !quiet {
            println!("    ... {} s", passed.as_secs());
            next += HEARTBEAT;
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// Ends a program: politely first, so that it can end what it started (a
/// browser, a compiler), and for good after five seconds.
fn end(child: &mut Child) -> Result<()> {
    let asked = Command::new("kill").arg(child.id().to_string()).stderr(Stdio::null()).status();
    let patience = if asked.is_ok_and(|status| status.success()) { 50 } else { 0 };
    for _ in 0..patience {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        sleep(Duration::from_millis(100));
    }
    child.kill().ok();
    child.wait()?;
    Ok(())
}

/// Where a program is, if the PATH has it.
pub fn find(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|dir| dir.join(program)).find(|path| path.is_file())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn job(name: &str, script: &str) -> Job {
        let logs = std::env::temp_dir().join(format!("pagelm-xtask-logs-{}", std::process::id()));
        fs::create_dir_all(&logs).unwrap();
        Job::new(&logs, name, "sh").args(["-c", script]).quiet()
    }

    #[test]
    fn a_failure_shows_the_end_of_the_log() {
        let error = job("fails", "seq 100; echo why >&2; exit 3").run().err().unwrap().to_string();
        assert!(error.contains("exit status 3") && error.contains("\n    100"), "{error}");
        assert!(!error.contains("\n    30\n"), "{error}");
    }

    #[test]
    fn standard_output_is_kept_apart() {
        let output = job("both", "echo out; echo err >&2").run().unwrap();
        assert_eq!(output.stdout, "out\n");
        assert!(output.log.contains("err"));
    }

    #[test]
    fn a_program_without_end_is_ended() {
        let start = Instant::now();
        let error = job("hangs", "exec sleep 60").limit(1).run().err().unwrap().to_string();
        assert!(error.contains("no end after 1 s"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(20));
    }
}
