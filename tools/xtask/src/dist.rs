//! `cargo xtask dist` and `install`: what a C or C++ program needs, in the
//! folders where compilers, pkg-config and CMake look for it.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::env::consts::OS;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::ctx::Ctx;
use crate::process::find;

/// What the library may ask of the C library (docs/ABI.md).
const OF_THE_C_LIBRARY: [&str; 6] = ["memcpy", "memmove", "memset", "memcmp", "bcmp", "abort"];
/// The package's files and where they go below the prefix.
const HEADERS: [&str; 5] = [
    "include/pagelm.h",
    "include/pagelm.hpp",
    "include/pagelm/base.hpp",
    "include/pagelm/model.hpp",
    "include/pagelm/session.hpp",
];
const LICENCES: [&str; 2] = ["LICENSE-APACHE", "LICENSE-MIT"];
const TEMPLATES: [(&str, &str); 3] = [
    ("pagelm.pc.in", "lib/pkgconfig/pagelm.pc"),
    ("pagelm-config.cmake.in", "lib/cmake/pagelm/pagelm-config.cmake"),
    ("pagelm-config-version.cmake.in", "lib/cmake/pagelm/pagelm-config-version.cmake"),
];

/// How a system names its libraries.
struct Names {
    /// As cargo leaves them in target/dist.
    built_archive: &'static str,
    built_shared: &'static str,
    /// Below the prefix. Only Windows has an import library.
    archive: String,
    shared: String,
    import: Option<(&'static str, &'static str)>,
    /// Links to the shared library, beside it: what programs ask for when they
    /// are run, and when they are linked.
    links: Vec<String>,
    /// What the linker is told to call the library.
    link_arg: Option<String>,
}

/// The version of the interface, `major.minor.patch`, from the header.
struct Abi(u32);

impl Abi {
    fn read(ctx: &Ctx) -> Result<Abi> {
        let header = fs::read_to_string(ctx.path("include/pagelm.h"))?;
        let line = header.lines().find_map(|line| line.strip_prefix("#define PAGELM_ABI_VERSION "));
        Ok(Abi(line.context("pagelm.h has no PAGELM_ABI_VERSION")?.trim().parse()?))
    }

    fn major(&self) -> u32 {
        self.0 >> 16
    }

    fn text(&self) -> String {
        format!("{}.{}.{}", self.major(), self.0 >> 8 & 0xff, self.0 & 0xff)
    }
}

/// Names that change with what breaks a compiled program: the interface's
/// version, not the package's. Of macOS and Windows nothing was run.
fn names(abi: &Abi, os: &str, msvc: bool) -> Names {
    let (major, version) = (abi.major(), abi.text());
    match os {
        "macos" => Names {
            built_archive: "libpagelm.a",
            built_shared: "libpagelm.dylib",
            archive: "libpagelm.a".into(),
            shared: format!("lib/libpagelm.{version}.dylib"),
            import: None,
            links: vec![format!("libpagelm.{major}.dylib"), "libpagelm.dylib".into()],
            link_arg: Some(format!("-Wl,-install_name,@rpath/libpagelm.{major}.dylib")),
        },
        "windows" => Names {
            built_archive: if msvc { "pagelm.lib" } else { "libpagelm.a" },
            built_shared: "pagelm.dll",
            archive: if msvc { "pagelm-static.lib" } else { "libpagelm-static.a" }.into(),
            shared: "bin/pagelm.dll".into(),
            import: Some(if msvc {
                ("pagelm.dll.lib", "pagelm.lib")
            } else {
                ("libpagelm.dll.a", "libpagelm.dll.a")
            }),
            links: vec![],
            link_arg: None,
        },
        _ => Names {
            built_archive: "libpagelm.a",
            built_shared: "libpagelm.so",
            archive: "libpagelm.a".into(),
            shared: format!("lib/libpagelm.so.{version}"),
            import: None,
            links: vec![format!("libpagelm.so.{major}"), "libpagelm.so".into()],
            link_arg: Some(format!("-Wl,-soname,libpagelm.so.{major}")),
        },
    }
}

fn names_here(ctx: &Ctx) -> Result<Names> {
    Ok(names(&Abi::read(ctx)?, OS, cfg!(target_env = "msvc")))
}

/// Builds both libraries for this machine; the static one's path.
pub fn build(ctx: &Ctx) -> Result<PathBuf> {
    let names = names_here(ctx)?;
    let mut job = ctx.job("build-c", "cargo");
    job = job.args(["rustc", "--package", "pagelm-c", "--profile", "dist", "--lib"]);
    if let Some(arg) = &names.link_arg {
        job = job.args(["--", &format!("-Clink-arg={arg}")]);
    }
    job.run()?;
    let path = ctx.target.join("dist").join(names.built_archive);
    ensure!(path.is_file(), "cargo built no {}", ctx.show(&path));
    Ok(path)
}

/// `cargo xtask dist`: the whole package below target/; its folder.
pub fn command(ctx: &Ctx) -> Result<PathBuf> {
    let archive = build(ctx)?;
    let out = ctx.target.join("package");
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    let names = names_here(ctx)?;
    for header in HEADERS {
        copy(&ctx.path(header), &out.join(header))?;
    }
    for licence in LICENCES {
        copy(&ctx.path(licence), &out.join("share/doc/pagelm").join(licence))?;
    }
    copy(&archive, &out.join("lib").join(&names.archive))?;
    if OS == "linux" {
        thin(ctx, &out.join("lib").join(&names.archive))?;
    }
    copy(&ctx.target.join("dist").join(names.built_shared), &out.join(&names.shared))?;
    if let Some((from, to)) = names.import {
        copy(&ctx.target.join("dist").join(from), &out.join("lib").join(to))?;
    }
    for link in &names.links {
        let target = Path::new(&names.shared).file_name().context("a library without a name")?;
        symlink(Path::new(target), &out.join("lib").join(link))?;
    }
    for (template, to) in TEMPLATES {
        let text = fs::read_to_string(ctx.path("bindings/c/install").join(template))?;
        write(&out.join(to), &fill(ctx, &names, &text)?)?;
    }
    println!("  {}", ctx.show(&out));
    Ok(out)
}

/// `cargo xtask install`: the package, copied below `prefix`.
pub fn install(ctx: &Ctx, prefix: &Path) -> Result<()> {
    let from = command(ctx)?;
    let prefix = std::path::absolute(prefix)?;
    for file in files(&from)? {
        let to = prefix.join(&file);
        let source = from.join(&file);
        if to.is_symlink() {
            fs::remove_file(&to).with_context(|| format!("cannot replace {}", to.display()))?;
        }
        if source.is_symlink() {
            symlink(&fs::read_link(&source)?, &to)?;
        } else {
            copy(&source, &to)?;
        }
        println!("  {}", to.display());
    }
    Ok(())
}

/// Every file below `dir`, sorted, as paths from there.
pub fn files(dir: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(dir)?.to_path_buf());
            }
        }
    }
    Ok(found)
}

/// Keeps of a static library what is ours. Rust puts all of its own library
/// beside it, 4 MB that the program does not use and names of which it knows
/// nothing. Where ours needs any of that, it is left as it is.
fn thin(ctx: &Ctx, archive: &Path) -> Result<()> {
    if find("ar").is_none() || find("nm").is_none() {
        bail!("needs `ar` and `nm`, of Debian's package binutils");
    }
    let members = ctx.job("ar-t", "ar").arg("t").arg(archive).quiet().run()?.stdout;
    let ours: Vec<&str> = members.lines().filter(|name| name.starts_with("pagelm.")).collect();
    let folder = ctx.target.join("package-objects");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let ar = |log: &str| ctx.job(log, "ar").dir(&folder).quiet();
    ar("ar-x").arg("x").arg(archive).args(&ours).run()?;
    let list = ctx.job("nm-u", "nm").dir(&folder).arg("-u").args(&ours).quiet().run()?.stdout;
    let needed = list.lines().filter_map(|line| line.trim().strip_prefix("U "));
    let other: Vec<&str> = needed.filter(|name| !OF_THE_C_LIBRARY.contains(name)).collect();
    if ours.is_empty() || !other.is_empty() {
        println!("  {} is left whole: it needs {other:?}", ctx.show(archive));
        return Ok(());
    }
    fs::remove_file(archive)?;
    ar("ar-rcs").arg("rcsD").arg(archive).args(&ours).run()?;
    Ok(())
}

fn fill(ctx: &Ctx, names: &Names, template: &str) -> Result<String> {
    let manifest = fs::read_to_string(ctx.path("Cargo.toml"))?;
    let version = manifest.lines().find_map(|line| line.strip_prefix("version = "));
    let version = version.context("Cargo.toml has no version")?.trim_matches('"').to_string();
    let property = match (names.import, names.links.first()) {
        (Some((_, import)), _) => format!("IMPORTED_IMPLIB \"${{_pagelm_prefix}}/lib/{import}\""),
        (None, Some(name)) if OS == "macos" => format!("IMPORTED_SONAME \"@rpath/{name}\""),
        (None, Some(name)) => format!("IMPORTED_SONAME \"{name}\""),
        (None, None) => bail!("a shared library without a name"),
    };
    let pointer = size_of::<usize>().to_string();
    let values = [
        ("@VERSION@", version.as_str()),
        ("@MAJOR@", version.split('.').next().unwrap_or_default()),
        ("@ARCHIVE@", &names.archive),
        ("@SHARED@", &names.shared),
        ("@SHARED_PROPERTY@", &property),
        ("@POINTER_BYTES@", &pointer),
    ];
    Ok(values.iter().fold(template.to_string(), |text, (name, value)| text.replace(name, value)))
}

fn folder_of(path: &Path) -> Result<()> {
    let folder = path.parent().context("a path without a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    folder_of(to)?;
    fs::copy(from, to).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(())
}

fn write(to: &Path, text: &str) -> Result<()> {
    folder_of(to)?;
    fs::write(to, text).with_context(|| format!("cannot write {}", to.display()))
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> Result<()> {
    std::os::unix::fs::symlink(target, link)
        .with_context(|| format!("cannot make the link {}", link.display()))
}

/// Windows has no links of libraries.
#[cfg(not(unix))]
fn symlink(_: &Path, link: &Path) -> Result<()> {
    bail!("cannot make the link {}", link.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_follows_the_interface() {
        let names = names(&Abi(0x0001_0203), "linux", false);
        assert_eq!(names.shared, "lib/libpagelm.so.1.2.3");
        assert_eq!(names.links, ["libpagelm.so.1", "libpagelm.so"]);
        assert_eq!(names.link_arg.as_deref(), Some("-Wl,-soname,libpagelm.so.1"));
    }

    #[test]
    fn the_two_libraries_of_a_system_have_names_of_their_own() {
        for (os, msvc) in
            [("linux", false), ("macos", false), ("windows", true), ("windows", false)]
        {
            let names = names(&Abi(256), os, msvc);
            let mut all = vec![names.archive.clone(), names.shared.clone()];
            all.extend(names.import.map(|(_, to)| to.to_string()));
            all.extend(names.links);
            let set: BTreeSet<_> = all.iter().collect();
            assert_eq!(set.len(), all.len(), "{all:?}");
        }
    }
}
