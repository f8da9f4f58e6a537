//! What the tests share: running the program, folders that go away, and tiny
//! Hugging Face models made on the spot.
#![allow(dead_code)] // each test file uses its own part
#![forbid(unsafe_code)]

pub mod hf;

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

/// The program.
pub fn pagelm() -> Command {
    Command::new(env!("CARGO_BIN_EXE_pagelm"))
}

/// Runs it and returns everything.
pub fn run<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> Output {
    pagelm().args(args).output().unwrap()
}

/// Runs it; it must succeed. Returns standard output.
pub fn ok<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> String {
    let out = run(args);
    assert!(out.status.success(), "exit {:?}: {}", out.status.code(), stderr(&out));
    String::from_utf8(out.stdout).unwrap()
}

/// As [`ok`], with JSON for output.
pub fn json<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> Value {
    serde_json::from_str(&ok(args)).unwrap()
}

/// Runs it; it must fail with this exit code, one line on standard error and
/// nothing on standard output. Returns the line.
pub fn fails<S: AsRef<std::ffi::OsStr>>(code: i32, args: &[S]) -> String {
    let out = run(args);
    assert_eq!(out.status.code(), Some(code), "{}", stderr(&out));
    assert!(out.stdout.is_empty(), "{:?}", String::from_utf8_lossy(&out.stdout));
    let text = stderr(&out);
    if code == 1 {
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.starts_with("pagelm: ") && !text.contains("panicked"), "{text}");
    }
    text
}

pub fn stderr(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// A file of the repository.
pub fn repo(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// A folder that goes away with its test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// The names in it, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Numbers from JSON, through the shortest decimal that reads back.
pub fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|x| x.to_string().parse().unwrap()).collect()
}

/// Whole numbers from JSON.
pub fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|x| u32::try_from(x.as_u64().unwrap()).unwrap()).collect()
}

/// Ids as the command line takes them.
pub fn list(ids: &[u32]) -> String {
    ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

/// Index of the largest number.
pub fn top(row: &[f32]) -> usize {
    (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}

/// Numbers that look random and are the same every time.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    pub fn float(&mut self) -> f32 {
        self.next() as f32 / (1u64 << 31) as f32 - 0.5
    }

    pub fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }
}

/// The tensors of a GGUF file as numbers, by name, with type and shape.
pub struct Tensors(pub Vec<(String, String, Vec<usize>, Vec<f32>)>);

impl Tensors {
    pub fn read(path: impl AsRef<Path>) -> Self {
        let bytes = fs::read(path).unwrap();
        let gguf = pagelm::gguf::Gguf::parse(&bytes).unwrap();
        let tensors = gguf.tensors().map(|t| {
            let (rows, cols) = (t.rows, t.cols);
            let mut numbers = vec![0.0; rows * cols];
            let data = &bytes[t.range()];
            for (row, out) in
                data.chunks_exact(data.len() / rows).zip(numbers.chunks_exact_mut(cols))
            {
                pagelm::quant::dequantize_row(t.dtype, row, out).unwrap();
            }
            let shape = if t.n_dims == 1 { vec![cols] } else { vec![rows, cols] };
            let name = String::from_utf8(t.name.to_vec()).unwrap();
            (name, t.dtype.name().to_owned(), shape, numbers)
        });
        Self(tensors.collect())
    }

    pub fn get(&self, name: &str) -> &(String, String, Vec<usize>, Vec<f32>) {
        self.0.iter().find(|t| t.0 == name).unwrap_or_else(|| panic!("no {name}"))
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|t| t.0 == name)
    }
}
