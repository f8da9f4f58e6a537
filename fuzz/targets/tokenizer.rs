//! Any vocabulary and any text: what is encoded is decoded to the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pagelm_fuzz::Bytes;

#[allow(dead_code)]
#[path = "../../tests/tokenizer/build.rs"]
mod build;

use build::{Metadata, decode, encode_as, load, spelled};

fuzz_target!(|data: &[u8]| {
    let mut data = Bytes(data);
    let flags = data.byte();
    let metadata = if flags & 1 == 0 { pieces(&mut data) } else { bpe(&mut data, flags & 2 == 0) };
    let (special, text) = (flags & 4 != 0, data.0);
    let _ = load(&metadata.file(), |tokenizer| {
        let Ok(ids) = encode_as(tokenizer, text, special) else { return };
        assert!(ids.iter().all(|id| (*id as usize) < tokenizer.n_vocab()));
        // Control tokens have no text, so only without them is it the same.
        if !special {
            assert_eq!(decode(tokenizer, &ids), text);
        }
    });
});

/// A list of pieces, with bytes of which words are made.
fn pieces(data: &mut Bytes) -> Metadata {
    let n = data.byte() % 48;
    let tokens: Vec<Vec<u8>> = (0..n).map(|_| data.text().to_vec()).collect();
    let kinds: Vec<i32> = tokens.iter().map(|_| i32::from(data.byte() % 8)).collect();
    let metadata = Metadata::default().text("ggml.model", "pagelm.pieces");
    let metadata = metadata.texts("ggml.tokens", &tokens).i32s("ggml.token_type", &kinds);
    match data.byte() % 2 {
        0 => metadata,
        _ => metadata.text("pagelm.word_bytes", data.text()),
    }
}

/// All bytes, what merges of them make, and a few tokens of any kind.
fn bpe(data: &mut Bytes, sound: bool) -> Metadata {
    let mut tokens: Vec<String> = (0..=255).map(|byte| spelled(byte).to_string()).collect();
    let mut kinds = vec![1; 256];
    let mut merges = Vec::new();
    for _ in 0..data.byte() % 48 {
        let mut pick = || tokens[data.number() as usize % tokens.len()].clone();
        let (left, right) = (pick(), pick());
        let made = format!("{left}{right}");
        if sound && tokens.contains(&made) {
            continue;
        }
        merges.push(format!("{left} {right}"));
        tokens.push(made);
        kinds.push(1);
    }
    for _ in 0..data.byte() % 4 {
        let text = String::from_utf8_lossy(data.text()).into_owned();
        if sound && (text.is_empty() || tokens.contains(&text)) {
            continue;
        }
        tokens.push(text);
        kinds.push(3 + i32::from(data.byte() % 2));
    }
    let metadata = Metadata::default().text("ggml.model", "gpt2").text("ggml.pre", "gpt-2");
    let metadata = metadata.texts("ggml.tokens", &tokens).texts("ggml.merges", &merges);
    metadata.i32s("ggml.token_type", &kinds)
}
