//! The installed package, used as a stranger would: the examples copied out of
//! the repository and built by make, CMake and pkg-config, against the static
//! and the shared library, after the prefix was moved to another place.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::ctx::Ctx;
use crate::dist;
use crate::header;
use crate::hosts::{REQUESTS, program_hash};
use crate::setup::{c_compiler, program};
use crate::tally::Tally;

/// An example's folder, its compiler and how that is asked for the language.
const LANGUAGES: [(&str, &str, [&str; 3], &str); 2] = [
    ("c", "generate.c", ["CC", "cc", "gcc"], "-std=c99"),
    ("cpp", "generate.cpp", ["CXX", "c++", "g++"], "-std=c++17"),
];
const WAYS: [&str; 3] = ["make", "CMake", "pkg-config"];

pub fn step(ctx: &Ctx, tally: &mut Tally) -> Result<()> {
    for tool in ["make", "cmake", "pkg-config"] {
        program(ctx, tool, tool)?;
    }
    let folder = ctx.target.join("installed");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let first = folder.join("first place");
    let Some(()) = tally.value("cargo xtask install", dist::install(ctx, &first)) else {
        return Ok(());
    };
    let prefix = folder.join("prefix");
    fs::rename(&first, &prefix)?;
    symbols(ctx, tally, &prefix);
    for (language, source, compiler, standard) in LANGUAGES {
        let [variable, usual, package] = compiler;
        let compiler = c_compiler(ctx, variable, usual, package)?;
        for way in WAYS {
            for shared in [false, true] {
                let build = Build { ctx, prefix: &prefix, language, source, shared, standard };
                let name = format!("{language}-{way}-{}", build.kind());
                let built = build.by(way, &compiler, &folder.join(&name));
                let result = built.and_then(|program| build.runs(&program));
                let what = format!("{language}, {} library, by {way}", build.kind());
                tally.check(&what, result);
            }
        }
    }
    tally.check("CMake refuses a version that is not there", refused(ctx, &folder, &prefix));
    Ok(())
}

/// What the libraries export is what the header declares.
fn symbols(ctx: &Ctx, tally: &mut Tally, prefix: &Path) {
    for (library, args) in [("libpagelm.a", &["-g"][..]), ("libpagelm.so", &["-D"][..])] {
        let exported = || -> Result<()> {
            let job = ctx.job("nm", "nm").args(args).args(["--defined-only", "--format=posix"]);
            let list = job.arg(prefix.join("lib").join(library)).quiet().run()?.stdout;
            let symbols = list.lines().filter_map(|line| line.split_once(' '));
            let symbols =
                symbols.filter(|(_, rest)| rest.trim_start().starts_with(char::is_uppercase));
            let have: BTreeSet<String> = symbols.map(|(name, _)| name.to_string()).collect();
            let want = header::functions(ctx)?;
            let surplus: Vec<_> = have.difference(&want).collect();
            let missing: Vec<_> = want.difference(&have).collect();
            ensure!(
                surplus.is_empty() && missing.is_empty(),
                "too many: {surplus:?}, too few: {missing:?}"
            );
            Ok(())
        };
        tally.check(&format!("{library} exports the header's functions and no more"), exported());
    }
}

struct Build<'a> {
    ctx: &'a Ctx,
    prefix: &'a Path,
    language: &'static str,
    source: &'static str,
    shared: bool,
    standard: &'static str,
}

impl Build<'_> {
    fn kind(&self) -> &'static str {
        if self.shared { "shared" } else { "static" }
    }

    /// Builds the example in a folder of its own; the program.
    fn by(&self, way: &str, compiler: &str, folder: &Path) -> Result<PathBuf> {
        let from = self.ctx.path("examples").join(self.language);
        fs::create_dir_all(folder)?;
        for entry in fs::read_dir(&from)? {
            let path = entry?.path();
            if path.is_file() {
                fs::copy(&path, folder.join(path.file_name().context("a file without a name")?))?;
            }
        }
        match way {
            "make" => self.make(folder),
            "CMake" => self.cmake(folder),
            "pkg-config" => self.pkg_config(compiler, folder),
            _ => bail!("no way of building: {way}"),
        }
    }

    fn make(&self, folder: &Path) -> Result<PathBuf> {
        let mut job = self.ctx.job("installed-make", "make").dir(folder).quiet();
        // The tests' time, not the programs', is what optimising would cost.
        job = job.args(["CFLAGS=-O0", "CXXFLAGS=-O0"]);
        job = job.arg(format!("PREFIX={}", self.prefix.display()));
        if self.shared {
            job = job.arg("SHARED=1");
        }
        job.run()?;
        Ok(folder.join("generate"))
    }

    fn cmake(&self, folder: &Path) -> Result<PathBuf> {
        let cmake = |log: &str| self.ctx.job(log, "cmake").dir(folder).quiet();
        let configure = cmake("installed-cmake").args(["-S", ".", "-B", "build"]);
        configure
            .arg(format!("-DCMAKE_PREFIX_PATH={}", self.prefix.display()))
            .arg(format!("-DSHARED={}", if self.shared { "ON" } else { "OFF" }))
            .run()?;
        cmake("installed-cmake-build").args(["--build", "build"]).run()?;
        Ok(folder.join("build/generate"))
    }

    fn pkg_config(&self, compiler: &str, folder: &Path) -> Result<PathBuf> {
        // One question at a time: `--variable` would silence `--cflags`.
        let library = match self.shared {
            true => "$(pkg-config --libs pagelm) -Wl,-rpath,\"$PREFIX/lib\"",
            false => "$(pkg-config --variable=archive pagelm)",
        };
        let (standard, source) = (self.standard, self.source);
        let line = format!(
            "{compiler} {standard} $(pkg-config --cflags pagelm) {source} {library} -o generate"
        );
        let job =
            self.ctx.job("installed-pkg-config", "sh").args(["-c", &line]).dir(folder).quiet();
        let job = job.env("PKG_CONFIG_PATH", self.prefix.join("lib/pkgconfig"));
        job.env("PREFIX", self.prefix).run()?;
        Ok(folder.join("generate"))
    }

    /// The program gives the tokens that every host gives, and is linked as was asked.
    fn runs(&self, program: &Path) -> Result<()> {
        for request in &REQUESTS {
            let hash = program_hash(self.ctx, program, request)?;
            ensure!(hash == request.hash, "{}: hash {hash}, not {}", request.name, request.hash);
        }
        let dynamic = self.ctx.job("installed-readelf", "readelf").args(["-d", "-W"]).arg(program);
        let needs = dynamic.quiet().run()?.stdout.contains("[libpagelm.so.0]");
        ensure!(needs == self.shared, "needs libpagelm.so.0: {needs}");
        Ok(())
    }
}

/// A program that asks for a newer major version than the installed one.
fn refused(ctx: &Ctx, folder: &Path, prefix: &Path) -> Result<()> {
    let folder = folder.join("refused");
    fs::create_dir_all(&folder)?;
    let text =
        "cmake_minimum_required(VERSION 3.13)\nproject(x NONE)\nfind_package(pagelm 99 REQUIRED)\n";
    fs::write(folder.join("CMakeLists.txt"), text)?;
    let job =
        ctx.job("installed-refused", "cmake").dir(&folder).quiet().args(["-S", ".", "-B", "b"]);
    let output = job.arg(format!("-DCMAKE_PREFIX_PATH={}", prefix.display())).finish()?;
    ensure!(!output.success, "it took 0.1 for 99");
    ensure!(output.log.contains("version: 0.1"), "its words: {}", output.log);
    Ok(())
}
