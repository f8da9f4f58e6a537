//! What a C program would have: aligned memory, a model, a session.

use pagelm::capi::*;
use std::ffi::{CStr, c_void};
use std::path::Path;
use std::ptr;

/// A structure of zeros that states its own size.
macro_rules! sized {
    ($name:ident) => {{
        let mut value: $name = bytemuck::Zeroable::zeroed();
        value.struct_size = size_of::<$name>() as u32;
        value
    }};
}
pub(crate) use sized;

/// What fresh memory holds here: anything but zeros.
pub const DIRT: u8 = 0xa5;

/// Memory that starts at a multiple of 8.
pub struct Block {
    words: Vec<u64>,
    size: usize,
}

impl Block {
    pub fn new(size: usize) -> Self {
        Self { words: vec![u64::from_ne_bytes([DIRT; 8]); size.div_ceil(8).max(1)], size }
    }

    pub fn of(bytes: &[u8]) -> Self {
        let mut block = Self::new(bytes.len());
        block.bytes_mut().copy_from_slice(bytes);
        block
    }

    pub fn size(&self) -> usize {
        self.size
    }

    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.size]
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.size]
    }

    pub fn void(&mut self) -> *mut c_void {
        self.words.as_mut_ptr().cast()
    }

    pub fn byte(&mut self) -> *mut u8 {
        self.words.as_mut_ptr().cast()
    }
}

pub fn file(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).unwrap()
}

/// The model of these tests: 258 tokens, the byte b being b + 2; 96 positions.
pub fn bytes_model() -> Vec<u8> {
    file("capi/bytes.gguf")
}

pub fn probe(bytes: &[u8]) -> Result<pagelm_model_info, i32> {
    let mut info = sized!(pagelm_model_info);
    match unsafe { pagelm_model_probe(bytes.as_ptr(), bytes.len(), &mut info, ptr::null_mut()) } {
        PAGELM_OK => Ok(info),
        status => Err(status),
    }
}

/// A model with its memory.
pub struct Loaded {
    pub file: Block,
    pub mem: Block,
    pub model: *mut pagelm_model,
}

pub fn load(bytes: &[u8]) -> Loaded {
    let info = probe(bytes).unwrap();
    let (mut file, mut mem) = (Block::of(bytes), Block::new(info.model_mem_size as usize));
    let mut model = ptr::null_mut();
    let mut error = sized!(pagelm_error);
    let (size, mem_size) = (file.size(), mem.size());
    let status = unsafe {
        pagelm_model_init(mem.void(), mem_size, file.byte(), size, size, &mut model, &mut error)
    };
    assert_eq!(status, PAGELM_OK, "{}", text_of(&error));
    Loaded { file, mem, model }
}

/// A session with its memory.
pub struct Live {
    pub mem: Block,
    pub session: *mut pagelm_session,
}

pub fn session_size(model: *const pagelm_model, params: *const pagelm_session_params) -> usize {
    let mut size = 0;
    assert_eq!(unsafe { pagelm_session_mem_size(model, params, &mut size) }, PAGELM_OK);
    size
}

pub fn session(model: *const pagelm_model, params: *const pagelm_session_params) -> Live {
    let mut mem = Block::new(session_size(model, params));
    let mut session = ptr::null_mut();
    let mut error = sized!(pagelm_error);
    let size = mem.size();
    let status =
        unsafe { pagelm_session_init(mem.void(), size, model, params, &mut session, &mut error) };
    assert_eq!(status, PAGELM_OK, "{}", text_of(&error));
    Live { mem, session }
}

impl Live {
    pub fn feed(&self, text: &[u8]) -> i32 {
        unsafe { pagelm_session_feed_text(self.session, text.as_ptr(), text.len(), 0) }
    }

    pub fn run(&self, budget: u32) -> i32 {
        unsafe { pagelm_session_run(self.session, budget) }
    }

    pub fn token(&self) -> u32 {
        let mut id = 0;
        assert_eq!(unsafe { pagelm_session_token(self.session, &mut id) }, PAGELM_OK);
        id
    }

    pub fn text(&self) -> Vec<u8> {
        let (mut text, mut len) = (ptr::null(), 0);
        assert_eq!(unsafe { pagelm_session_text(self.session, &mut text, &mut len) }, PAGELM_OK);
        assert!(!text.is_null(), "an empty text has a place too");
        unsafe { std::slice::from_raw_parts(text, len) }.to_vec()
    }

    pub fn logits(&self, row: usize) -> Result<Vec<f32>, i32> {
        let (mut logits, mut n) = (ptr::null(), 0);
        match unsafe { pagelm_session_logits(self.session, row, &mut logits, &mut n) } {
            PAGELM_OK => Ok(unsafe { std::slice::from_raw_parts(logits, n) }.to_vec()),
            status => Err(status),
        }
    }

    pub fn info(&self) -> pagelm_session_info {
        let mut info = sized!(pagelm_session_info);
        assert_eq!(unsafe { pagelm_session_get_info(self.session, &mut info) }, PAGELM_OK);
        info
    }

    /// The last failure: its code and sentence.
    pub fn last_error(&self) -> (i32, String) {
        let mut error = sized!(pagelm_error);
        assert_eq!(unsafe { pagelm_session_last_error(self.session, &mut error) }, PAGELM_OK);
        (error.code, text_of(&error))
    }

    /// Up to `n` tokens after `prompt`, and their text.
    pub fn generate(&self, prompt: &[u8], n: usize, budget: u32) -> (Vec<u32>, Vec<u8>) {
        assert_eq!(self.feed(prompt), PAGELM_OK);
        self.go_on(n, budget)
    }

    pub fn go_on(&self, n: usize, budget: u32) -> (Vec<u32>, Vec<u8>) {
        let (mut ids, mut text) = (Vec::new(), Vec::new());
        while ids.len() < n {
            match self.run(budget) {
                PAGELM_TOKEN => ids.push(self.token()),
                PAGELM_MORE => continue,
                PAGELM_FINISHED => {
                    text.extend(self.text());
                    break;
                }
                status => panic!("status {status}: {}", self.last_error().1),
            }
            text.extend(self.text());
        }
        (ids, text)
    }

    pub fn snapshot(&self) -> Vec<u8> {
        let (mut size, mut n) = (0, 0);
        let s = self.session;
        assert_eq!(unsafe { pagelm_session_snapshot_size(s, &mut size) }, PAGELM_OK);
        let mut out = vec![DIRT; size];
        let status = unsafe { pagelm_session_snapshot(s, out.as_mut_ptr().cast(), size, &mut n) };
        assert_eq!((status, n), (PAGELM_OK, size));
        out
    }

    pub fn restore(&self, bytes: &[u8]) -> i32 {
        unsafe { pagelm_session_restore(self.session, bytes.as_ptr().cast(), bytes.len()) }
    }
}

pub fn text_of(error: &pagelm_error) -> String {
    let text = unsafe { CStr::from_ptr(error.text.as_ptr()) };
    text.to_str().unwrap().to_owned()
}

pub fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|x| x.to_bits()).collect()
}
