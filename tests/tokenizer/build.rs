//! GGUFs that hold a tokenizer and nothing else, built in memory.
#![forbid(unsafe_code)]

use pagelm::arena::Reserve;
use pagelm::gguf::Gguf;
use pagelm::tokenizer::Tokenizer;
use pagelm::{Error, Result};

#[path = "../common/metadata.rs"]
mod metadata;

pub use metadata::Metadata;

/// A tokenizer's metadata, to be added.
pub fn metadata() -> Metadata {
    Metadata::of("tokenizer.")
}

/// Lays out the tokenizer of a file, in memory that held something else, and
/// hands it to `then`.
pub fn load<R>(file: &[u8], then: impl FnOnce(&Tokenizer) -> R) -> Result<R> {
    let gguf = Gguf::parse(file)?;
    let mut count = Reserve::count();
    Tokenizer::lay(&mut count, &gguf)?;
    let mut memory = vec![0xA5A5_A5A5_A5A5_A5A5u64; count.finish()?.div_ceil(8)];
    let mut carve = Reserve::carve(bytemuck::cast_slice_mut(&mut memory));
    let tokenizer = Tokenizer::lay(&mut carve, &gguf)?.with_file(file);
    assert_eq!(carve.finish(), count.finish());
    Ok(then(&tokenizer))
}

pub fn with<R>(metadata: &Metadata, then: impl FnOnce(&Tokenizer) -> R) -> R {
    load(&metadata.file(), then).expect("a good vocabulary")
}

pub fn error_of(metadata: &Metadata) -> Error {
    load(&metadata.file(), |_| ()).expect_err("a bad vocabulary")
}

pub fn encode_as(t: &Tokenizer, text: &[u8], parse_special: bool) -> Result<Vec<u32>> {
    let mut work = vec![0x5A5A_5A5Au32; Tokenizer::work_size(text.len())];
    let mut ids = Vec::new();
    t.encode(text, parse_special, &mut work, &mut |id| {
        ids.push(id);
        Ok(())
    })?;
    Ok(ids)
}

pub fn encode(t: &Tokenizer, text: impl AsRef<[u8]>) -> Vec<u32> {
    encode_as(t, text.as_ref(), false).expect("encodable")
}

pub fn decode(t: &Tokenizer, ids: &[u32]) -> Vec<u8> {
    let mut text = Vec::new();
    for &id in ids {
        let before = text.len();
        t.decode(id, &mut |part| text.extend(part)).expect("a token");
        assert!(text.len() - before <= t.max_token_bytes());
    }
    text
}

/// GPT-2's spelling of a byte, by OpenAI's definition.
pub fn spelled(byte: u8) -> char {
    let printable = |b: &u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..);
    if printable(&byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|b| !printable(b)).count() as u32;
    char::from_u32(256 + before).expect("a character")
}

/// All 256 spellings, in the order of GPT-2's vocabulary: by code point.
pub fn alphabet() -> Vec<String> {
    let mut chars: Vec<char> = (0..=255).map(spelled).collect();
    chars.sort_unstable();
    chars.into_iter().map(String::from).collect()
}

/// A byte-level vocabulary: the alphabet, what the merges make, then `more`
/// (text and type).
pub fn bpe(merges: &[&str], more: &[(&str, i32)]) -> Metadata {
    let mut tokens = alphabet();
    tokens.extend(merges.iter().map(|merge| merge.replacen(' ', "", 1)));
    let mut types = vec![1; tokens.len()];
    tokens.extend(more.iter().map(|(text, _)| (*text).to_string()));
    types.extend(more.iter().map(|(_, kind)| kind));
    metadata()
        .text("ggml.model", "gpt2")
        .text("ggml.pre", "gpt-2")
        .texts("ggml.tokens", &tokens)
        .i32s("ggml.token_type", &types)
        .texts("ggml.merges", merges)
}

/// GPT-2's own vocabulary.
pub fn gpt2() -> Metadata {
    gpt2_and(&[])
}

/// GPT-2's vocabulary, and `more` behind it.
pub fn gpt2_and(more: &[(&str, i32)]) -> Metadata {
    let merges = include_str!("../data/tokenizer/vocab.bpe");
    let merges: Vec<&str> = merges.lines().skip(1).collect();
    bpe(&merges, &[&[("<|endoftext|>", 3)], more].concat())
        .u32("ggml.bos_token_id", 50256)
        .u32("ggml.eos_token_id", 50256)
}

/// A `pagelm.pieces` vocabulary of texts and types.
pub fn pieces<T: AsRef<[u8]>>(tokens: &[(T, i32)]) -> Metadata {
    let (texts, types): (Vec<_>, Vec<_>) = tokens.iter().map(|(text, kind)| (text, *kind)).unzip();
    metadata()
        .text("ggml.model", "pagelm.pieces")
        .texts("ggml.tokens", &texts)
        .i32s("ggml.token_type", &types)
}

/// A small generator, so that tests are the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}
