//! The engine with its memory: what the core asks a caller for, from the heap.
//!
//! A Rust front end may use this without the JavaScript classes.

use crate::held::Held;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use pagelm::session::Predict;
use pagelm::tokenizer::{Kind, Tokenizer};
use pagelm::{Error, Model, ModelInfo, Result, Session, SessionParams};

/// A model file that is arriving.
pub struct Loader {
    params: SessionParams,
    state: State,
}

enum State {
    /// What has arrived of the header, and how much to wait for before the next look at it.
    Header {
        bytes: Vec<u8>,
        look_at: usize,
    },
    Tensors(Box<Tensors>),
    /// A file that was refused, or is whole and handed over.
    Over,
}

/// A file whose header is known.
struct Tensors {
    // Before the memory it refers to: fields are dropped in this order.
    loader: pagelm::Loader<'static>,
    file: Held<[u64]>,
    mem: Held<[u64]>,
    info: ModelInfo,
    arrived: usize,
}

impl Loader {
    /// Nothing has arrived.
    #[must_use]
    pub fn new(params: SessionParams) -> Self {
        Self { params, state: State::Header { bytes: Vec::new(), look_at: 1 } }
    }

    /// What the header says, once it has arrived.
    #[must_use]
    pub fn info(&self) -> Option<&ModelInfo> {
        match &self.state {
            State::Tensors(tensors) => Some(&tensors.info),
            _ => None,
        }
    }

    /// Takes the next bytes of the file; true when it is whole. What lies
    /// behind its end is ignored.
    ///
    /// # Errors
    /// What is wrong with the file, which is then lost; [`Error::OutOfMemory`].
    pub fn push(&mut self, piece: &[u8]) -> Result<bool> {
        let state = core::mem::replace(&mut self.state, State::Over);
        let (next, whole) = match state {
            State::Header { bytes, look_at } => Self::header(bytes, look_at, piece)?,
            State::Tensors(mut tensors) => {
                let whole = tensors.push(piece)?;
                (State::Tensors(tensors), whole)
            }
            State::Over => return Err(Error::NotLoaded),
        };
        self.state = next;
        Ok(whole)
    }

    fn header(mut bytes: Vec<u8>, look_at: usize, piece: &[u8]) -> Result<(State, bool)> {
        let len = bytes.len() + piece.len();
        bytes.try_reserve(piece.len()).map_err(|_| Error::OutOfMemory { need: len })?;
        bytes.extend_from_slice(piece);
        if len < look_at && !piece.is_empty() {
            return Ok((State::Header { bytes, look_at }, false));
        }
        let info = match pagelm::probe(&bytes) {
            Err(Error::Truncated { .. }) => {
                return Ok((State::Header { bytes, look_at: len + len / 4 }, false));
            }
            other => other?,
        };
        let mut tensors = Box::new(Tensors::new(info, &bytes)?);
        let whole = tensors.push(&[])?;
        Ok((State::Tensors(tensors), whole))
    }

    /// The model, once [`Loader::push`] said that its file is whole.
    ///
    /// # Errors
    /// [`Error::NotLoaded`] if it is not; what is wrong with the parameters.
    pub fn finish(self) -> Result<Engine> {
        match self.state {
            State::Tensors(tensors) => Engine::new(*tensors, &self.params),
            _ => Err(Error::NotLoaded),
        }
    }
}

impl Tensors {
    fn new(info: ModelInfo, begin: &[u8]) -> Result<Self> {
        let file = Held::zeroed(info.file_size)?;
        let mem = Held::zeroed(info.model_mem_size)?;
        let arrived = begin.len().min(info.file_size);
        // SAFETY: used here only, until the loader is made of it.
        let there = unsafe { file.bytes(arrived) };
        there.copy_from_slice(&begin[..arrived]);
        // SAFETY: the loader is dropped before the memory, and alone uses it.
        let model_mem = unsafe { mem.bytes(info.model_mem_size) };
        let loader = pagelm::Loader::new(there, info.file_size, model_mem)?;
        Ok(Self { loader, file, mem, info, arrived })
    }

    fn push(&mut self, piece: &[u8]) -> Result<bool> {
        let end = self.info.file_size.min(self.arrived + piece.len());
        // SAFETY: used here only: the loader holds no reference to the file.
        let there = unsafe { self.file.bytes(end) };
        there[self.arrived..].copy_from_slice(&piece[..end - self.arrived]);
        self.arrived = end;
        self.loader.advance(there)
    }
}

/// A model, one text in progress, and all their memory.
pub struct Engine {
    // Before what it refers to: fields are dropped in this order.
    session: Session<'static>,
    _model: Held<Model<'static>>,
    _mem: [Held<[u64]>; 3],
    /// Bytes of the file, the model's tables and the session.
    sizes: [usize; 3],
}

impl Engine {
    fn new(tensors: Tensors, params: &SessionParams) -> Result<Self> {
        let Tensors { loader, file, mem, info, .. } = tensors;
        // SAFETY: the model is dropped before its file, and alone uses it from here on.
        let model = loader.finish(unsafe { file.bytes(info.file_size) })?;
        let model = Held::new(Box::new(model));
        // SAFETY: the session is dropped before the model, which nobody writes to.
        let shared: &'static Model<'static> = unsafe { model.get_mut() };
        let size = Session::mem_size(shared, params)?;
        let session_mem = Held::zeroed(size)?;
        // SAFETY: the session is dropped before its memory, and alone uses it.
        let session = Session::new(shared, unsafe { session_mem.bytes(size) }, params)?;
        let sizes = [info.file_size, info.model_mem_size, size];
        Ok(Self { session, _model: model, _mem: [file, mem, session_mem], sizes })
    }

    /// The text in progress, for all that the core's session can do.
    pub fn session(&mut self) -> &mut Session<'static> {
        &mut self.session
    }

    /// What the file's header says.
    #[must_use]
    pub fn info(&self) -> &ModelInfo {
        self.model().info()
    }

    /// Bytes of the file, of the model's tables and of the session.
    #[must_use]
    pub fn memory(&self) -> [usize; 3] {
        self.sizes
    }

    fn model(&self) -> &Model<'static> {
        self.session.model()
    }

    /// The tokens of a text; with `special`, names of special tokens become those tokens.
    ///
    /// # Errors
    /// [`Error::NoTokenizer`], [`Error::Unencodable`].
    pub fn tokenize(&self, text: &str, special: bool) -> Result<Vec<u32>> {
        let tokenizer = self.model().tokenizer();
        if tokenizer.kind() == Kind::None {
            return Err(Error::NoTokenizer);
        }
        let (mut work, mut ids) = (vec![0; Tokenizer::work_size(text.len())], Vec::new());
        tokenizer.encode(text.as_bytes(), special, &mut work, &mut |id| {
            ids.push(id);
            Ok(())
        })?;
        Ok(ids)
    }

    /// The text of tokens.
    ///
    /// # Errors
    /// [`Error::NoTokenizer`], [`Error::BadToken`].
    pub fn detokenize(&self, ids: &[u32]) -> Result<String> {
        let mut bytes = Vec::new();
        for &id in ids {
            self.model().tokenizer().decode(id, &mut |piece| bytes.extend_from_slice(piece))?;
        }
        Ok(crate::utf8::Joiner::default().push(&bytes, true))
    }

    /// The outputs of a recurrent network for vectors, one behind the other
    /// (see [`Session::predict`]).
    ///
    /// # Errors
    /// Its errors.
    pub fn predict(&mut self, input: &[f32], how: Predict) -> Result<Vec<f32>> {
        let steps = input.len() / (self.info().n_input.max(1) as usize);
        let mut out = vec![0.0; self.session.predict_len(steps, how.every_step)?];
        let n = self.session.predict(input, how, &mut out)?;
        out.truncate(n);
        Ok(out)
    }

    /// The same for a network that takes tokens.
    ///
    /// # Errors
    /// Those of [`Session::predict_ids`].
    pub fn predict_ids(&mut self, ids: &[u32], how: Predict) -> Result<Vec<f32>> {
        let mut out = vec![0.0; self.session.predict_len(ids.len(), how.every_step)?];
        let n = self.session.predict_ids(ids, how, &mut out)?;
        out.truncate(n);
        Ok(out)
    }

    /// The text's whole state as bytes.
    ///
    /// # Errors
    /// Those of [`Session::snapshot`].
    pub fn snapshot(&mut self) -> Result<Vec<u8>> {
        let mut out = vec![0; self.session.snapshot_size()?];
        let n = self.session.snapshot(&mut out)?;
        out.truncate(n);
        Ok(out)
    }
}
