//! The tokenizer's public contract: other people's vectors, special tokens,
//! bytes that are no text, and vocabularies that mean harm.
#![forbid(unsafe_code)]
#![cfg(feature = "bpe")]

#[path = "tokenizer/build.rs"]
mod build;
#[path = "tokenizer/hostile.rs"]
mod hostile;
#[path = "tokenizer/pieces.rs"]
mod pieces;

use build::{Random, bpe, decode, encode, encode_as, gpt2, with};
use pagelm::Error;
use pagelm::tokenizer::{Kind, Tokenizer};

fn ids_of(line: &str, separator: impl Fn(char) -> bool) -> Vec<u32> {
    line.split(separator).filter(|id| !id.is_empty()).map(|id| id.parse().expect("an id")).collect()
}

#[test]
fn the_vocabulary_built_here_is_llama_cpps() {
    let mut hash = 0xCBF2_9CE4_8422_2325u64; // FNV-1a
    let mut add = |text: &[u8]| {
        for &byte in text.iter().chain(b"\n") {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
    };
    let file = gpt2().file();
    let gguf = pagelm::gguf::Gguf::parse(&file).expect("a GGUF");
    for key in ["tokenizer.ggml.tokens", "tokenizer.ggml.merges"] {
        let texts = gguf.get(key).and_then(|value| value.as_array()).expect("an array");
        texts.iter_strings().for_each(&mut add);
    }
    // over ggml-vocab-gpt-2.gguf, a line each
    assert_eq!(hash, 0xCF20_7986_FC00_8610);
}

#[test]
fn llama_cpps_vectors() {
    let texts = include_str!("data/tokenizer/llama-cpp.inp").split("\n__ggml_vocab_test__\n");
    let expected = include_str!("data/tokenizer/llama-cpp.out").split('\n');
    let cases: Vec<_> = texts.zip(expected).collect();
    assert_eq!(cases.len(), 47); // the last is the empty text after the last separator
    with(&gpt2(), |t| {
        for (text, line) in cases {
            let ids = ids_of(line, char::is_whitespace);
            assert_eq!(encode(t, text), ids, "{text:?}");
            assert_eq!(decode(t, &ids), text.as_bytes());
        }
    });
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let byte = |pair| u8::from_str_radix(pair, 16).expect("hexadecimal");
    (0..hex.len() / 2).map(|i| byte(&hex[2 * i..2 * i + 2])).collect()
}

fn check_cases(cases: &str) -> usize {
    with(&gpt2(), |t| {
        for line in cases.lines() {
            let (text, ids) = line.split_once(' ').expect("a case");
            let (text, ids) = (bytes_of(text), ids_of(ids, |c| c == ','));
            assert_eq!(encode(t, &text), ids, "{:?}", String::from_utf8_lossy(&text));
            assert_eq!(decode(t, &ids), text);
        }
    });
    cases.lines().count()
}

/// The checked-in cases, or as many more as one likes: `PAGELM_TOKENIZER_CASES`
/// names a file that tools/reference/tokenizer_vectors.py wrote.
#[test]
fn tiktokens_tokens_of_random_unicode() {
    match std::env::var("PAGELM_TOKENIZER_CASES") {
        Ok(path) => {
            let cases = std::fs::read_to_string(path).expect("the file of cases");
            println!("{} cases agree", check_cases(&cases));
        }
        Err(_) => assert_eq!(check_cases(include_str!("data/tokenizer/unicode.txt")), 400),
    }
}

#[test]
fn all_bytes_come_back() {
    with(&gpt2(), |t| {
        let mut random = Random(1);
        for round in 0..300 {
            // bytes at large, bytes near UTF-8, text with holes
            let kinds: [&[u8]; 3] =
                [b"", b"\xF0\x9F\x98\x80\xC2\xA0\xED\xA0\xFF ", b" a'sll7\n\t\xE4"];
            let kind = kinds[round % 3];
            let byte = |random: &mut Random| match kind {
                [] => random.below(256) as u8,
                some => some[random.below(some.len())],
            };
            let text: Vec<u8> = (0..random.below(200)).map(|_| byte(&mut random)).collect();
            for special in [false, true] {
                let ids = encode_as(t, &text, special).expect("all bytes have tokens");
                assert!(ids.iter().all(|&id| (id as usize) < t.n_vocab()));
                assert_eq!(decode(t, &ids), text);
            }
        }
    });
}

#[test]
fn gpt2s_vocabulary_in_short() {
    with(&gpt2(), |t| {
        assert_eq!(t.kind(), Kind::Bpe);
        assert_eq!(t.n_vocab(), 50257);
        assert_eq!((t.bos(), t.eos(), t.add_bos()), (Some(50256), Some(50256), false));
        assert_eq!(t.id_of(b" hello"), Some(23748));
        assert_eq!(t.id_of(b"<|endoftext|>"), Some(50256));
        assert_eq!(t.id_of(b"\xFF"), Some(187));
        assert_eq!(t.id_of(b" hello there"), None);
        assert_eq!(t.id_of(b""), None);
        assert!(t.is_control(50256) && !t.is_control(50255));
        assert!(t.decode(50257, &mut |_| ()).is_err_and(|e| e == Error::BadToken { id: 50257 }));
    });
}

#[test]
fn control_tokens_are_parsed_only_when_asked_for() {
    with(&gpt2(), |t| {
        let text = b"a<|endoftext|> b<|endoftext|><|endoftext|";
        let plain = encode(t, text);
        assert!(!plain.contains(&50256));
        assert_eq!(decode(t, &plain), text);
        let end = encode(t, "<|endoftext|");
        let parsed = encode_as(t, text, true).expect("encodable");
        assert_eq!(
            parsed,
            [&encode(t, "a")[..], &[50256], &encode(t, " b"), &[50256], &end].concat()
        );
        assert_eq!(decode(t, &parsed), b"a b<|endoftext|");
        let mut shown: Vec<u8> = Vec::new();
        t.decode_special(50256, &mut |part| shown.extend(part)).expect("a token");
        assert_eq!(shown, b"<|endoftext|>");
    });
}

/// tools/reference/special_vectors.py; the same tokens behind GPT-2's.
#[test]
fn llama_cpps_tokens_of_text_full_of_special_tokens() {
    let more = [
        ("  ", 4),
        ("    ", 4),
        ("<|a|>", 3),
        ("<|a", 4),
        ("<tool>", 4),
        ("<unk>", 2),
        ("[PAD1]", 5),
        ("é b", 4),
        ("\n\n", 4),
        ("<|im_start|>", 3),
        ("<|im_end|>", 3),
    ];
    let cases = include_str!("data/tokenizer/special.txt");
    assert_eq!(cases.lines().count(), 200);
    with(&build::gpt2_and(&more), |t| {
        for line in cases.lines() {
            let mut fields = line.split(' ');
            let mut field = || fields.next().expect("a field");
            let (text, special, ids) = (bytes_of(field()), field() == "1", field());
            let ids = ids_of(ids, |c| c == ',');
            let shown = String::from_utf8_lossy(&text);
            assert_eq!(encode_as(t, &text, special), Ok(ids), "{shown:?}");
        }
    });
}

#[test]
fn user_defined_tokens_are_always_parsed_the_longest_first() {
    let more = [
        ("  ", 4),
        ("    ", 4),
        ("<|a|>", 3),
        ("<|a", 4),
        ("<unk>", 2),
        ("[PAD]", 5),
        ("\u{e9} b", 4),
    ];
    with(&bpe(&["Ġ Ġ"], &more), |t| {
        let [two, four, control, user, unknown, pad, accented] =
            [257, 258, 259, 260, 261, 262, 263];
        let b = |byte| t.id_of(&[byte]).expect("a byte");
        assert_eq!(encode(t, "x      x"), [b(b'x'), four, two, b(b'x')]);
        assert_eq!(encode(t, "<|a|>"), [user, b(b'|'), b(b'>')]);
        assert_eq!(encode_as(t, b"<|a|><|a<unk>", true), Ok(vec![control, user, unknown]));
        assert_eq!(encode(t, "<unk>").len(), 5);
        assert_eq!(encode_as(t, b"[PAD]", true).expect("encodable").len(), 5);
        // its text is text, not a spelling of bytes
        assert_eq!(encode(t, "\u{e9} b"), [accented]);
        assert_eq!(decode(t, &[two, user, accented]), "  <|a\u{e9} b".as_bytes());
        assert_eq!(decode(t, &[control, unknown, pad]), b"");
    });
}

#[test]
fn end_of_text_is_control_whatever_its_type_says() {
    for kind in [1, 4, 77] {
        with(&bpe(&[], &[("<|endoftext|>", kind)]), |t| {
            assert!(t.is_control(256));
            assert_eq!(encode(t, "<|endoftext|>").len(), 13);
            assert_eq!(encode_as(t, b"<|endoftext|>", true), Ok(vec![256]));
        });
    }
}

#[test]
fn bytes_without_a_token_are_unknown_or_an_error() {
    let without_z = |metadata: build::Metadata| {
        let tokens: Vec<String> =
            build::alphabet().into_iter().filter(|t| t != "z").chain(["<unk>".into()]).collect();
        metadata
            .text("ggml.model", "gpt2")
            .texts("ggml.tokens", &tokens)
            .texts("ggml.merges", &[""; 0])
    };
    with(&without_z(build::metadata()), |t| {
        assert_eq!(encode_as(t, b"abc xyz z", false), Err(Error::Unencodable { offset: 6 }));
        assert_eq!(decode(t, &encode(t, "abc xy")), b"abc xy");
    });
    with(&without_z(build::metadata()).u32("ggml.unknown_token_id", 255), |t| {
        let ids = encode(t, "yz");
        assert_eq!(ids, [t.id_of(b"y").expect("a byte"), 255]);
    });
}

#[test]
fn a_model_without_a_tokenizer_takes_ids_only() {
    with(&build::metadata(), |t| {
        assert_eq!((t.kind(), t.n_vocab(), t.max_token_bytes()), (Kind::None, 0, 0));
        assert_eq!((t.bos(), t.eos(), t.id_of(b"a")), (None, None, None));
        assert_eq!(encode_as(t, b"a", false), Err(Error::NoTokenizer));
        assert_eq!(t.decode(0, &mut |_| ()), Err(Error::NoTokenizer));
    });
}

#[test]
fn encode_stops_at_the_first_error_and_needs_all_its_work() {
    with(&gpt2(), |t| {
        let text = b"one two three";
        let need = Tokenizer::work_size(text.len());
        let short = t.encode(text, false, &mut vec![0; need - 1], &mut |_| Ok(()));
        assert_eq!(short, Err(Error::OutOfMemory { need: 4 * need }));
        let mut given = 0;
        let full = t.encode(text, false, &mut vec![0; need], &mut |_| {
            given += 1;
            if given == 2 { Err(Error::Internal) } else { Ok(()) }
        });
        assert_eq!((full, given), (Err(Error::Internal), 2));
        assert_eq!(t.encode(b"", true, &mut [], &mut |_| Err(Error::Internal)), Ok(()));
    });
}

#[test]
fn the_file_may_leave_most_things_out() {
    // No types, no `pre`, no begin or end: a vocabulary of before there were such keys.
    let tokens: Vec<String> = build::alphabet().into_iter().chain(["ab".into()]).collect();
    let old = build::metadata()
        .text("ggml.model", "gpt2")
        .texts("ggml.tokens", &tokens)
        .texts("ggml.merges", &["a b"]);
    with(&old, |t| {
        assert_eq!(encode(t, "ab"), [256]);
        assert_eq!((t.bos(), t.eos()), (None, None));
    });
    for pre in ["gpt-2", "default"] {
        with(&old.clone().text("ggml.pre", pre).flag("ggml.add_bos_token", true), |t| {
            assert_eq!(encode(t, "ab"), [256]);
            assert!(t.add_bos());
        });
    }
}
