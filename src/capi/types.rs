//! The C ABI's structures and numbers, as `include/pagelm.h` shows them.
//!
//! Everything here is plain data. The doc comments are the header's comments,
//! so they speak to a C programmer.
#![forbid(unsafe_code)]
#![allow(non_camel_case_types)]

use bytemuck::{Pod, Zeroable};
use core::ffi::c_char;

/// The version of this interface, 0x00MMmmpp: a new major breaks programs, a new minor adds
/// functions or fields. `pagelm_abi_version` tells it of the library.
pub const PAGELM_ABI_VERSION: u32 = 0x0000_0200;

/// Done.
pub const PAGELM_OK: i32 = 0;
/// A token is ready.
pub const PAGELM_TOKEN: i32 = 1;
/// Not finished: call again (`run`, `eval`), or give more of the file (`probe`, `init`, `advance`).
pub const PAGELM_MORE: i32 = 2;
/// The text is finished; `finish` of `pagelm_session_info` says why.
pub const PAGELM_FINISHED: i32 = 3;

/// The file ends before what its header promises.
pub const PAGELM_ERROR_TRUNCATED: i32 = -1;
/// The file is not a GGUF file.
pub const PAGELM_ERROR_BAD_MAGIC: i32 = -2;
/// A version of the file format that this build cannot read.
pub const PAGELM_ERROR_BAD_VERSION: i32 = -3;
/// The file contradicts itself or the format.
pub const PAGELM_ERROR_CORRUPT: i32 = -4;
/// An architecture that this build does not run.
pub const PAGELM_ERROR_UNSUPPORTED_ARCH: i32 = -5;
/// A tensor in a format that this build cannot read.
pub const PAGELM_ERROR_UNSUPPORTED_TYPE: i32 = -6;
/// Something valid that this build does not do.
pub const PAGELM_ERROR_UNSUPPORTED: i32 = -7;
/// A metadata key that the model needs is absent.
pub const PAGELM_ERROR_MISSING_KEY: i32 = -8;
/// A metadata value is of the wrong type or out of its range.
pub const PAGELM_ERROR_BAD_VALUE: i32 = -9;
/// A tensor that the model needs is absent.
pub const PAGELM_ERROR_MISSING_TENSOR: i32 = -10;
/// A tensor's shape or type does not fit the metadata.
pub const PAGELM_ERROR_BAD_SHAPE: i32 = -11;
/// A weight is infinite or not a number.
pub const PAGELM_ERROR_NOT_FINITE: i32 = -12;
/// The model's numbers overflowed while running.
pub const PAGELM_ERROR_OVERFLOW: i32 = -13;
/// The memory given is too small.
pub const PAGELM_ERROR_OUT_OF_MEMORY: i32 = -14;
/// A size does not fit this machine's address space.
pub const PAGELM_ERROR_TOO_LARGE: i32 = -15;
/// A pointer is not a multiple of what it must be.
pub const PAGELM_ERROR_MISALIGNED: i32 = -16;
/// A token id is not below the vocabulary's size.
pub const PAGELM_ERROR_BAD_TOKEN: i32 = -17;
/// The model file holds no tokenizer.
pub const PAGELM_ERROR_NO_TOKENIZER: i32 = -18;
/// The vocabulary cannot express the text.
pub const PAGELM_ERROR_UNENCODABLE: i32 = -19;
/// The text is longer than `max_text` of the session, or than `work` allows.
pub const PAGELM_ERROR_TEXT_TOO_LONG: i32 = -20;
/// More tokens than the context holds.
pub const PAGELM_ERROR_PROMPT_TOO_LONG: i32 = -21;
/// Nothing was fed, and the model names no token to begin with.
pub const PAGELM_ERROR_NOTHING_FED: i32 = -22;
/// The queue is not worked through yet.
pub const PAGELM_ERROR_NO_LOGITS: i32 = -23;
/// A parameter is out of its range.
pub const PAGELM_ERROR_BAD_PARAM: i32 = -24;
/// The snapshot does not belong to a session like this one.
pub const PAGELM_ERROR_BAD_SNAPSHOT: i32 = -25;
/// The model file has not arrived in full.
pub const PAGELM_ERROR_NOT_LOADED: i32 = -26;
/// A table of fixed length is full.
pub const PAGELM_ERROR_FULL: i32 = -27;
/// A required pointer is NULL.
pub const PAGELM_ERROR_NULL: i32 = -28;
/// A handle that is not alive.
pub const PAGELM_ERROR_DEAD_HANDLE: i32 = -29;
/// `struct_size` is not set to the structure's size.
pub const PAGELM_ERROR_BAD_STRUCT: i32 = -30;
/// A buffer for an answer is too small.
pub const PAGELM_ERROR_BUFFER_TOO_SMALL: i32 = -31;
/// Something taken for impossible: please report it.
pub const PAGELM_ERROR_INTERNAL: i32 = -32;
/// Two areas of memory that must be apart share bytes.
pub const PAGELM_ERROR_OVERLAP: i32 = -33;
/// An area of memory that wraps around or ends outside of memory.
pub const PAGELM_ERROR_BAD_RANGE: i32 = -34;
/// An input or a state has another length than the model takes.
pub const PAGELM_ERROR_BAD_INPUT: i32 = -35;

/// No such token: the value of `bos` and `eos` where the model names none.
pub const PAGELM_NO_TOKEN: u32 = 0xffff_ffff;

/// `tokenizer` of `pagelm_model_info`: none; the model takes token ids only.
pub const PAGELM_TOKENIZER_NONE: u32 = 0;
/// Byte-level byte-pair encoding, as GPT-2 has it.
pub const PAGELM_TOKENIZER_BPE: u32 = 1;
/// Pieces of bytes, the longest match first: byte and character vocabularies.
pub const PAGELM_TOKENIZER_PIECES: u32 = 2;

/// Flag of `feed_text` and `tokenize`: text that spells a special token becomes that token.
pub const PAGELM_PARSE_SPECIAL: u32 = 1;
/// Flag of `pagelm_session_params`: keep the logits of every token, not only of the last.
pub const PAGELM_ALL_LOGITS: u32 = 1;
/// Flag of `pagelm_session_params`: keep what `pagelm_session_embedding` needs.
pub const PAGELM_EMBEDDING: u32 = 2;
/// Flag of `pagelm_session_params`: keep what `pagelm_session_attention` needs, 4 bytes for each
/// position, head and layer.
pub const PAGELM_ATTENTION: u32 = 4;
/// Flag of `pagelm_session_params`: keep attention's keys and values in F16, which takes half the
/// memory and rounds them. Without effect on heads of an odd size, on a recurrent network, and in a build without
/// the quantised formats.
pub const PAGELM_HALF_CACHE: u32 = 8;
/// Flag of `pagelm_session_params`: do without what only saves time. That is the table in which a
/// recurrent network with no more tokens than its first layer has inputs keeps what that layer makes
/// of each token. The results are the same.
pub const PAGELM_LOW_MEMORY: u32 = 16;
/// Flag of `predict`: go on from the state that the call before left.
pub const PAGELM_STATEFUL: u32 = 1;
/// Flag of `predict`: give the outputs of every step, not only of the last.
pub const PAGELM_EVERY_STEP: u32 = 2;
/// Flag of `pagelm_sampling`: the model's end-of-text token is a token like others.
pub const PAGELM_IGNORE_EOS: u32 = 1;

/// `pooling` of `pagelm_session_embedding`: the mean over all tokens.
pub const PAGELM_POOL_MEAN: u32 = 0;
/// The last token.
pub const PAGELM_POOL_LAST: u32 = 1;

/// `when_full` of `pagelm_session_params`: a full context finishes the text.
pub const PAGELM_WHEN_FULL_STOP: u32 = 0;
/// A full context drops its oldest half and goes on.
pub const PAGELM_WHEN_FULL_SLIDE: u32 = 1;

/// `finish` of `pagelm_session_info`: not finished.
pub const PAGELM_FINISH_NOT: u32 = 0;
/// The model chose its end-of-text token or a stop token.
pub const PAGELM_FINISH_STOP_TOKEN: u32 = 1;
/// The text reached a stop string.
pub const PAGELM_FINISH_STOP_STRING: u32 = 2;
/// The context is full.
pub const PAGELM_FINISH_CONTEXT_FULL: u32 = 3;

/// What went wrong in a call, in full. As the last parameter of a call it may be NULL.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct pagelm_error {
    /// `sizeof(pagelm_error)`, set by the caller.
    pub struct_size: u32,
    /// The status that the call returned.
    pub code: i32,
    /// The byte of the model file (or of the text) that the error is about, else 0.
    pub offset: u64,
    /// One sentence in English, ended by a zero byte; cut to fit.
    pub text: [c_char; 176],
}

/// What a model file says about itself.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct pagelm_model_info {
    /// `sizeof(pagelm_model_info)`, set by the caller.
    pub struct_size: u32,
    /// Tokens in the vocabulary: ids run from 0 to n_vocab - 1.
    pub n_vocab: u32,
    /// The longest context the model was made for, in tokens.
    pub n_ctx: u32,
    /// Width of the model.
    pub n_embd: u32,
    /// Layers.
    pub n_layer: u32,
    /// Attention heads.
    pub n_head: u32,
    /// PAGELM_TOKENIZER_*.
    pub tokenizer: u32,
    /// The token that begins a text, or PAGELM_NO_TOKEN.
    pub bos: u32,
    /// The token that ends a text, or PAGELM_NO_TOKEN.
    pub eos: u32,
    /// 1 if the weights are packed already: such a file may stay in read-only memory.
    pub packed: u32,
    /// Bytes of the file before its weights.
    pub header_size: u64,
    /// Bytes of the whole file, as its header promises.
    pub file_size: u64,
    /// Bytes of memory that `pagelm_model_init` needs.
    pub model_mem_size: u64,
    /// Weights.
    pub n_params: u64,
    /// Work of one token in an empty context, at most, in the units of `budget`.
    pub work_per_token: u64,
    /// The architecture, for example "gpt2"; ended by a zero byte, cut to fit.
    pub arch: [c_char; 16],
    /// The model's name, UTF-8 as the file has it; ended by a zero byte, cut to fit.
    pub name: [c_char; 64],
    /// Numbers of a step of input for `pagelm_session_predict`; 0: the model takes tokens.
    pub n_input: u32,
    /// Numbers of output; n_vocab for a language model.
    pub n_output: u32,
    /// Numbers of a recurrent network's state; 0 for a transformer.
    pub n_state: u32,
    /// Numbers of an embedding; see `pagelm_session_embedding`.
    pub n_hidden: u32,
}

/// How a session is laid out. All zero but `struct_size` is a good choice.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct pagelm_session_params {
    /// `sizeof(pagelm_session_params)`, set by the caller.
    pub struct_size: u32,
    /// Tokens of context, at most the model's n_ctx; 0: the model's n_ctx. A recurrent network never
    /// fills up: it is how many tokens are remembered for the penalties, and how many may wait.
    pub n_ctx: u32,
    /// Prompt tokens worked on at once; 0: 16. It changes speed and memory, never a result. For a
    /// model with bidirectional layers, the most steps of a `predict`; 0: what its file says.
    pub n_batch: u32,
    /// The longest text, in bytes, that one `feed_text` takes; 0: 8 * n_ctx, at least 256.
    pub max_text: u32,
    /// PAGELM_WHEN_FULL_*.
    pub when_full: u32,
    /// PAGELM_ALL_LOGITS, PAGELM_EMBEDDING, PAGELM_ATTENTION, PAGELM_HALF_CACHE and
    /// PAGELM_LOW_MEMORY, or 0.
    pub flags: u32,
}

/// How the next token is chosen. All zero but `struct_size` is greedy: the likeliest token.
/// The stages run in the order of the fields' list in docs/ABI.md.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct pagelm_sampling {
    /// `sizeof(pagelm_sampling)`, set by the caller.
    pub struct_size: u32,
    /// 0: greedy; 1: the model's own distribution; below 1 more careful, above 1 wilder.
    pub temperature: f32,
    /// Choose among this many of the likeliest tokens; 0: all.
    pub top_k: u32,
    /// Choose among the likeliest tokens that together have this probability; 0: all.
    pub top_p: f32,
    /// Leave out tokens less likely than this share of the likeliest one; 0: none.
    pub min_p: f32,
    /// Divide positive logits of recent tokens by this, multiply negative ones; 0 or 1: off.
    pub repetition_penalty: f32,
    /// Take this off the logit of every recent token; 0: off.
    pub presence_penalty: f32,
    /// Take this off per recent occurrence of a token; 0: off.
    pub frequency_penalty: f32,
    /// How many tokens back is recent; 0: 64.
    pub penalty_last_n: u32,
    /// PAGELM_IGNORE_EOS or 0.
    pub flags: u32,
    /// The seed: the same seed, model, prompt and settings give the same text on every machine.
    pub seed: u64,
}

/// Where a session stands.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct pagelm_session_info {
    /// `sizeof(pagelm_session_info)`, set by the caller.
    pub struct_size: u32,
    /// Tokens of context the session was laid out for.
    pub n_ctx: u32,
    /// Tokens worked through, now in the context.
    pub n_past: u32,
    /// Tokens fed and not worked through yet.
    pub n_queued: u32,
    /// Tokens generated since `init` or `reset`.
    pub n_generated: u32,
    /// PAGELM_FINISH_*.
    pub finish: u32,
    /// Work until the queue is empty, at most, in the units of `budget`.
    pub work_left: u64,
    /// Work of the tokens done since `init` or `reset`, in the same units and by the same measure.
    pub work_done: u64,
}

/// The statuses in words, from the highest number down; each ended by a zero byte.
#[cfg(feature = "messages")]
const WORDS: &str = "\
    finished\0\
    more\0\
    token\0\
    ok\0\
    truncated\0\
    bad magic\0\
    bad version\0\
    corrupt\0\
    unsupported arch\0\
    unsupported type\0\
    unsupported\0\
    missing key\0\
    bad value\0\
    missing tensor\0\
    bad shape\0\
    not finite\0\
    overflow\0\
    out of memory\0\
    too large\0\
    misaligned\0\
    bad token\0\
    no tokenizer\0\
    unencodable\0\
    text too long\0\
    prompt too long\0\
    nothing fed\0\
    no logits\0\
    bad param\0\
    bad snapshot\0\
    not loaded\0\
    full\0\
    null\0\
    dead handle\0\
    bad struct\0\
    buffer too small\0\
    internal\0\
    overlap\0\
    bad range\0\
    bad input\0\
    unknown\0";

/// A status in words, ended by a zero byte; "unknown" for a number that is none.
#[cfg(feature = "messages")]
pub(super) fn status_text(status: i32) -> *const c_char {
    let mut before = PAGELM_FINISHED.wrapping_sub(status) as u32;
    let mut words = WORDS.as_bytes();
    while let [byte, rest @ ..] = words
        && before > 0
        && words.len() > c"unknown".count_bytes() + 1
    {
        before -= u32::from(*byte == 0);
        words = rest;
    }
    words.as_ptr().cast()
}

/// Without messages, no word.
#[cfg(not(feature = "messages"))]
pub(super) fn status_text(_: i32) -> *const c_char {
    c"".as_ptr()
}
