//! Vocabularies and texts that mean harm: an error or a defined answer, soon.
#![forbid(unsafe_code)]

use crate::build::{
    Metadata, Random, alphabet, bpe, decode, encode, encode_as, error_of, gpt2, load, metadata,
    pieces, with,
};
use pagelm::Error;
use pagelm::arena::Reserve;
use pagelm::gguf::Gguf;
use pagelm::tokenizer::Tokenizer;

fn model(name: &str) -> Metadata {
    metadata().text("ggml.model", name)
}

#[test]
fn what_is_not_supported_is_said() {
    for unsupported in [
        model("llama"),
        model(""),
        model("gpt2").text("ggml.pre", "qwen2"),
        model("gpt2").text("ggml.pre", "gpt-2\0"),
    ] {
        assert!(matches!(error_of(&unsupported), Error::Unsupported { .. }));
    }
}

#[test]
fn keys_of_the_wrong_type_or_missing() {
    const TOKENS: &str = "tokenizer.ggml.tokens";
    let none: [&str; 0] = [];
    let plain = || bpe(&[], &[]);
    let ok = |name| model(name).texts("ggml.tokens", &["a", "b"]);
    let cases = [
        (metadata().u32("ggml.model", 1), "tokenizer.ggml.model"),
        (model("gpt2").u32("ggml.pre", 2), "tokenizer.ggml.pre"),
        (model("gpt2").i32s("ggml.tokens", &[1, 2]), TOKENS),
        (model("gpt2").text("ggml.tokens", "abc"), TOKENS),
        (model("gpt2").texts("ggml.tokens", &none).texts("ggml.merges", &none), TOKENS),
        (model("pagelm.pieces").texts("ggml.tokens", &none), TOKENS),
        (ok("gpt2").i32s("ggml.merges", &[1]), "tokenizer.ggml.merges"),
        (ok("pagelm.pieces").i32s("ggml.token_type", &[1]), "tokenizer.ggml.token_type"),
        (ok("pagelm.pieces").texts("ggml.token_type", &["1", "1"]), "tokenizer.ggml.token_type"),
        (ok("pagelm.pieces").u32("ggml.token_type", 1), "tokenizer.ggml.token_type"),
        (ok("pagelm.pieces").u32("pagelm.word_bytes", 1), "tokenizer.pagelm.word_bytes"),
        (plain().u32("ggml.bos_token_id", 256), "tokenizer.ggml.bos_token_id"),
        (plain().u32("ggml.eos_token_id", u32::MAX), "tokenizer.ggml.eos_token_id"),
        (plain().text("ggml.unknown_token_id", "0"), "tokenizer.ggml.unknown_token_id"),
        (plain().u32("ggml.add_bos_token", 1), "tokenizer.ggml.add_bos_token"),
    ];
    for (metadata, key) in cases {
        assert!(matches!(error_of(&metadata), Error::BadValue { key: at } if *at == key));
    }
    assert_eq!(error_of(&model("gpt2")), Error::MissingKey { key: &"tokenizer.ggml.tokens" });
    assert_eq!(error_of(&ok("gpt2")), Error::MissingKey { key: &"tokenizer.ggml.merges" });
}

#[test]
fn vocabularies_that_contradict_themselves() {
    let corrupt = |metadata: &Metadata, near: &str| match error_of(metadata) {
        Error::Corrupt { offset, .. } => {
            let file = metadata.file();
            assert!(file[offset..].starts_with(near.as_bytes()), "{near:?}");
        }
        other => panic!("{other:?}"),
    };
    let with_merges = |merges: &[&str]| {
        let tokens: Vec<String> = alphabet().into_iter().chain(["ab".into()]).collect();
        model("gpt2").texts("ggml.tokens", &tokens).texts("ggml.merges", merges)
    };
    for merge in ["a c", "zz b", "a zz", "ab", "", " ", "a ", " a", "ab ", "a  b"] {
        corrupt(&with_merges(&["a b", merge]), merge);
    }
    // Two tokens of one text: llama.cpp refuses such a file too.
    corrupt(&bpe(&["a b"], &[("ab", 1)]), "ab");
    let long = "x".repeat(257);
    corrupt(&bpe(&[], &[(&long, 3)]), &long);
    corrupt(&bpe(&[], &[(&long.repeat(4), 1)]), &long);
    corrupt(&pieces(&[(&long, 1)]), &long);
    with(&bpe(&[], &[(&"x".repeat(1024), 1)]), |t| assert_eq!(t.max_token_bytes(), 1024));
}

#[test]
fn empty_tokens_are_never_made_and_decode_to_nothing() {
    let empty = [("", 1), ("", 3), ("", 4), ("", 2), ("", 6), ("", 5), ("", -1)];
    for metadata in [bpe(&["a b"], &empty), pieces(&[&[("a", 1), ("b", 6)], &empty[..]].concat())] {
        with(&metadata, |t| {
            for id in t.n_vocab() - empty.len()..t.n_vocab() {
                assert_eq!(decode(t, &[id as u32]), b"");
            }
            assert_eq!(decode(t, &encode_as(t, b"abab", true).expect("encodable")), b"abab");
        });
    }
}

#[test]
fn tokens_that_spell_no_bytes_stand_for_themselves() {
    with(&bpe(&[], &[("\u{6c34} x\u{144}", 1)]), |t| {
        assert_eq!(decode(t, &[256]), "\u{6c34} x\u{144}".as_bytes());
    });
}

#[test]
fn the_first_of_two_equal_merges_counts() {
    let tokens: Vec<String> =
        alphabet().into_iter().chain(["ab", "bc"].map(String::from)).collect();
    let metadata = model("gpt2").texts("ggml.tokens", &tokens);
    with(&metadata.texts("ggml.merges", &["a b", "b c", "a b"]), |t| {
        assert_eq!(encode(t, "abc"), [256, t.id_of(b"c").expect("a byte")]);
    });
}

#[test]
fn tokens_made_to_collide_are_an_error_not_a_hang() {
    // Appending to equal states keeps them equal: from one pair of colliding
    // blocks after another, 2^8 colliding texts.
    let hash = |from: u32, text: &[u8]| {
        let step = |h: u32, b: &u8| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193);
        text.iter().fold(from, step)
    };
    const START: u32 = 0x811C_9DC5;
    let mut state = START;
    let mut blocks: Vec<[String; 2]> = Vec::new();
    while blocks.len() < 8 {
        let mut seen = std::collections::HashMap::new();
        let pair = (0u32..).find_map(|i| {
            let first = seen.insert(hash(state, i.to_string().as_bytes()), i)?;
            Some([first.to_string(), i.to_string()])
        });
        let pair = pair.expect("a collision");
        state = hash(state, pair[0].as_bytes());
        blocks.push(pair);
    }
    let text = |bits: usize| -> String {
        blocks.iter().enumerate().map(|(i, pair)| &*pair[bits >> i & 1]).collect()
    };
    let texts: Vec<String> = (0..256).map(text).collect();
    assert!(texts.iter().all(|text| hash(START, text.as_bytes()) == state));
    let some: Vec<(&str, i32)> = texts.iter().take(30).map(|text| (text.as_str(), 1)).collect();
    with(&bpe(&[], &some), |t| assert_eq!(t.n_vocab(), 256 + 30));
    let all: Vec<(&str, i32)> = texts.iter().map(|text| (text.as_str(), 1)).collect();
    assert!(matches!(error_of(&bpe(&[], &all)), Error::Corrupt { .. }));
}

#[test]
fn one_word_as_long_as_the_text() {
    // bpe.rs counts the steps; here the whole road, with GPT-2's vocabulary.
    let len = if cfg!(debug_assertions) { 1 << 14 } else { 1 << 20 };
    with(&gpt2(), |t| {
        for word in ["a", " ", "ab", "=", "\u{c3}", "\n", "tha", "\u{fffd}\u{301}"] {
            let text: Vec<u8> = word.bytes().cycle().take(len).collect();
            let ids = encode(t, &text);
            assert_eq!(decode(t, &ids), text);
        }
    });
}

#[test]
fn pieces_and_special_tokens_that_almost_match_everywhere() {
    let texts: Vec<String> = (1..=255).map(|n| format!("{}b", "a".repeat(n))).collect();
    let len = if cfg!(debug_assertions) { 1 << 11 } else { 1 << 18 };
    let text = vec![b'a'; len];
    let tokens: Vec<(&str, i32)> =
        texts.iter().map(|text| (text.as_str(), 1)).chain([("a", 6)]).collect();
    with(&pieces(&tokens), |t| assert_eq!(encode(t, &text), vec![255; len]));
    let specials: Vec<(&str, i32)> = texts.iter().map(|text| (text.as_str(), 4)).collect();
    with(&bpe(&[], &specials), |t| assert_eq!(encode(t, &text).len(), len));
}

#[test]
fn memory_is_what_was_counted_and_not_a_byte_less() {
    let file = bpe(&["a b", "ab c"], &[("<x>", 3)]).file();
    let gguf = Gguf::parse(&file).expect("a GGUF");
    let mut count = Reserve::count();
    let counted = Tokenizer::lay(&mut count, &gguf).expect("countable");
    assert_eq!(counted.n_vocab(), 259);
    let need = count.finish().expect("countable");
    let mut memory = vec![0u64; need.div_ceil(8)];
    let memory: &mut [u8] = bytemuck::cast_slice_mut(&mut memory);
    for size in (0..need).rev().step_by(7).chain([0, need - 1]) {
        let mut carve = Reserve::carve(&mut memory[..size]);
        let short = Tokenizer::lay(&mut carve, &gguf);
        assert!(matches!(short, Err(Error::OutOfMemory { .. })), "{size} of {need}");
    }
}

/// Any damage to a file is an error or a tokenizer that still gives an answer.
#[test]
fn damaged_files_never_panic() {
    let good = [
        bpe(&["a b", "ab c", "Ġ a"], &[("<|endoftext|>", 3), ("  ", 4)])
            .u32("ggml.bos_token_id", 259),
        pieces(&[("a", 6), ("b", 6), ("abc", 1), ("<x>", 3)]).text("pagelm.word_bytes", "abc"),
    ];
    let mut random = Random(7);
    let (mut loaded, mut refused) = (0, 0);
    for metadata in good {
        let file = metadata.file();
        for round in 0..3000 {
            let mut bad = file.clone();
            for _ in 0..1 + round % 4 {
                let at = random.below(bad.len());
                bad[at] = match random.below(3) {
                    0 => random.below(256) as u8,
                    1 => bad[at] ^ 1 << random.below(8),
                    _ => [0, 1, 0x20, 0x7F, 0xFF][random.below(5)],
                };
            }
            let answered = load(&bad, |t| {
                for text in [&b"abc a  <|endoftext|>"[..], b"<x>\xFF", b""] {
                    if let Ok(ids) = encode_as(t, text, true) {
                        ids.iter()
                            .for_each(|&id| t.decode(id, &mut |_| ()).expect("its own token"));
                    }
                }
                let _ = t.id_of(b"abc");
            });
            *(if answered.is_ok() { &mut loaded } else { &mut refused }) += 1;
        }
    }
    assert!(loaded > 500 && refused > 500, "{loaded} {refused}");
}
