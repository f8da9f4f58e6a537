//! Counting what passed and what failed.
#![forbid(unsafe_code)]

use std::fmt;

use anyhow::{Result, anyhow};

/// The checks of one step.
#[derive(Default)]
pub struct Tally {
    pub passed: usize,
    pub failed: usize,
    /// What failed, in the words the summary prints.
    pub failures: Vec<String>,
    /// What could not be run on this machine, and why.
    pub not_run: Vec<NotRun>,
}

/// A check that this machine cannot run: the reason, and what to install.
#[derive(Debug)]
pub struct NotRun {
    reason: String,
    /// No failure even where everything must run: it needs what no machine is
    /// promised, and another check stands in for it.
    pub excused: bool,
}

impl fmt::Display for NotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for NotRun {}

/// An error that says: not a failure of the code, this machine cannot do it.
pub fn not_run(reason: impl Into<String>) -> anyhow::Error {
    anyhow!(NotRun { reason: reason.into(), excused: false })
}

/// As `not_run`, for what may be missing everywhere: rustup's server.
pub fn excused(reason: impl Into<String>) -> anyhow::Error {
    anyhow!(NotRun { reason: reason.into(), excused: true })
}

impl Tally {
    /// Counts one check and prints how it went. True when it passed.
    pub fn check(&mut self, what: &str, result: Result<()>) -> bool {
        match result {
            Ok(()) => {
                println!("  ok      {what}");
                self.passed += 1;
                true
            }
            Err(error) => {
                self.record(what, &error);
                false
            }
        }
    }

    /// As `check`, for a result whose value is needed.
    pub fn value<T>(&mut self, what: &str, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => {
                self.check(what, Ok(()));
                Some(value)
            }
            Err(error) => {
                self.record(what, &error);
                None
            }
        }
    }

    /// Counts the tests of another runner's report.
    pub fn add(&mut self, what: &str, passed: usize, failed: usize) {
        println!(
            "  {:<7} {what}: {passed} passed, {failed} failed",
            if failed == 0 { "ok" } else { "FAILED" }
        );
        self.passed += passed;
        self.failed += failed;
        if failed > 0 {
            self.failures.push(format!("{what}: {failed} failed"));
        }
    }

    pub fn record(&mut self, what: &str, error: &anyhow::Error) {
        if let Some(cause) = error.downcast_ref::<NotRun>() {
            println!("  NOT RUN {what}: {error}");
            self.not_run
                .push(NotRun { reason: format!("{what}: {error}"), excused: cause.excused });
        } else {
            println!("  FAILED  {what}: {error:#}");
            self.failed += 1;
            self.failures.push(what.to_string());
        }
    }
}
