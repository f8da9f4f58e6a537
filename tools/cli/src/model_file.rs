//! Model files in memory: aligned, loaded, and with errors that name the file.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, anyhow, ensure};
use memmap2::MmapMut;
use pagelm::gguf::MAGIC_PACKED;
use pagelm::{Error, Isa, Model, Session, SessionParams};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Memory that starts at a multiple of eight bytes, as the engine asks, and in
/// large pages where the system has them: weights are read from end to end for
/// every token, and pages of 4 KiB take about a third of the speed.
pub struct Aligned(MmapMut);

impl Aligned {
    /// A copy of bytes that may lie anywhere.
    pub fn copy(bytes: &[u8]) -> Result<Self> {
        let mut memory = Self::new(bytes.len())?;
        memory.bytes_mut().copy_from_slice(bytes);
        Ok(memory)
    }

    /// Zeros.
    pub fn new(len: usize) -> Result<Self> {
        let memory = MmapMut::map_anon(len)
            .with_context(|| format!("this machine does not give {len} bytes of memory"))?;
        // A wish: a system without large pages, or without any left, runs as well, only slower.
        #[cfg(target_os = "linux")]
        let _ = memory.advise(memmap2::Advice::HugePage);
        Ok(Self(memory))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// A model file and the memory that its model needs.
pub struct ModelFile {
    path: PathBuf,
    file: Aligned,
    mem: Aligned,
}

impl ModelFile {
    /// Reads the file, and measures the memory.
    pub fn read(path: &Path) -> Result<Self> {
        // The header first: a file that is none is refused before it is read.
        let (head, _) = read_header(path)?;
        let info = pagelm::probe(head.bytes()).map_err(|e| about(path, e))?;
        // What may stand behind the last tensor is not read.
        let file = read_first(path, info.file_size)?;
        let mem = Aligned::new(info.model_mem_size)?;
        Ok(Self { path: path.into(), file, mem })
    }

    /// The bytes that the file and its model take.
    pub fn memory_bytes(&self) -> usize {
        self.file.bytes().len() + self.mem.bytes().len()
    }

    /// Loads the model, from memory that is not written if the file is packed.
    pub fn load(&mut self, isa: Option<Isa>) -> Result<Model<'_>> {
        let (file, mem) = (&mut self.file, self.mem.bytes_mut());
        let model = if file.bytes().starts_with(&MAGIC_PACKED) {
            Model::from_packed(file.bytes(), mem)
        } else {
            Model::load(file.bytes_mut(), mem)
        };
        let mut model = model.map_err(|e| about(&self.path, e))?;
        if let Some(isa) = isa {
            model.set_isa(isa);
        }
        Ok(model)
    }
}

/// Prompt tokens worked on together, unless told otherwise: more than the
/// engine's default, since here the weights come from memory for every batch and
/// the room is cheap.
pub const BATCH: u32 = 64;

/// The memory of a session.
pub fn session_memory(model: &Model<'_>, params: &SessionParams) -> Result<Aligned> {
    let size = Session::mem_size(model, params).map_err(anyhow::Error::msg)?;
    Aligned::new(size).context("a session of this size; try a smaller --context")
}

/// An error about a prompt, with the size of the context it did not fit.
pub fn about_prompt(session: &Session<'_>, error: Error) -> anyhow::Error {
    match error {
        Error::PromptTooLong { .. } => anyhow!("{error} (the context is {})", session.info().n_ctx),
        other => anyhow!("{other}"),
    }
}

/// An error of the engine about a file.
pub fn about(path: &Path, error: Error) -> anyhow::Error {
    anyhow!("{}: {error}", path.display())
}

/// A whole file.
pub fn read_aligned(path: &Path) -> Result<Aligned> {
    read_first(path, usize::MAX)
}

/// A file, but no more than its first `most` bytes.
fn read_first(path: &Path, most: usize) -> Result<Aligned> {
    let mut file = open(path)?;
    let len = file.metadata().with_context(|| format!("cannot read {}", path.display()))?.len();
    let len = usize::try_from(len).unwrap_or(usize::MAX).min(most);
    let mut memory = Aligned::new(len).with_context(|| path.display().to_string())?;
    file.read_exact(memory.bytes_mut())
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(memory)
}

fn open(path: &Path) -> Result<File> {
    ensure!(!path.is_dir(), "{} is a folder, and a model file is needed", path.display());
    File::open(path).with_context(|| format!("cannot read {}", path.display()))
}

/// As much of a file as its header needs, and the size of the whole file.
pub fn read_header(path: &Path) -> Result<(Aligned, u64)> {
    let mut file = open(path)?;
    let size = file.metadata().with_context(|| format!("cannot read {}", path.display()))?.len();
    let mut bytes = Vec::new();
    let mut want = 1u64 << 16;
    loop {
        let more = want.saturating_sub(bytes.len() as u64);
        Read::by_ref(&mut file)
            .take(more)
            .read_to_end(&mut bytes)
            .with_context(|| format!("cannot read {}", path.display()))?;
        match pagelm::gguf::Gguf::parse(&bytes) {
            Err(Error::Truncated { .. }) if (bytes.len() as u64) < size => want *= 4,
            Err(e) => return Err(about(path, e)),
            Ok(_) => break,
        }
    }
    Ok((Aligned::copy(&bytes)?, size))
}

/// Checks a header as loading would: every tensor the model needs is there, in
/// a shape that fits.
pub fn check_header(head: &[u8]) -> pagelm::Result<()> {
    let info = pagelm::probe(head)?;
    let mut mem = Aligned::new(info.model_mem_size).map_err(|_| Error::TooLarge)?;
    pagelm::Loader::new(head, info.file_size, mem.bytes_mut()).map(|_| ())
}

/// Parses `--isa`: `auto` is the best of this machine.
pub fn parse_isa(name: &str) -> Result<IsaChoice, String> {
    if name == "auto" {
        return Ok(IsaChoice(None));
    }
    Isa::by_name(name)
        .map(|isa| IsaChoice(Some(isa)))
        .ok_or_else(|| format!("this machine has no {name:?} kernels; auto and scalar always work"))
}

/// The kernels asked for; `None` for the best ones.
#[derive(Clone, Copy)]
pub struct IsaChoice(pub Option<Isa>);
