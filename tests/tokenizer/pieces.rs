//! `pagelm.pieces`: vocabularies of bytes, of words, of characters.
#![forbid(unsafe_code)]

use crate::build::{Metadata, decode, encode, encode_as, pieces, with};
use crate::ids_of;
use pagelm::Error;
use pagelm::tokenizer::Kind;

/// gpt2-basic's bytes: id = byte + 2.
fn bytes() -> Vec<(Vec<u8>, i32)> {
    let special = [(b"<|endoftext|>".to_vec(), 3), (b"<|unk|>".to_vec(), 2)];
    special.into_iter().chain((0..=255).map(|byte| (vec![byte], 6))).collect()
}

/// gpt2-basic's lexicon, from its VOCAB.BIN: count, then length, 16 bytes and
/// id of each token. A piece does not end inside a word.
fn lexicon() -> Metadata {
    let file = include_bytes!("../data/tokenizer/VOCAB.BIN");
    let int = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("four bytes"));
    let mut tokens = bytes();
    for record in 258..int(0) as usize {
        let at = 4 + 24 * record;
        assert_eq!(int(at + 20) as usize, record, "ids are in order");
        tokens.push((file[at + 4..at + 4 + int(at) as usize].to_vec(), 1));
    }
    let word = (b'0'..=b'9').chain(b'A'..=b'Z').chain(b'a'..=b'z').chain(*b".+/_-");
    pieces(&tokens).text("pagelm.word_bytes", word.collect::<Vec<u8>>())
}

#[test]
fn a_byte_vocabulary() {
    // The vectors of gpt2-basic's byte model (GPT2VEC.TXT, MIT).
    let vectors = [
        (
            "What makes this real inference?",
            "89,106,99,118,34,111,99,109,103,117,34,118,106,107,117,34,116,103,99,110,34,107,112,104,103,116,103,112,101,103,65",
        ),
        ("GPT2 BASIC on a 486", "73,82,86,52,34,68,67,85,75,69,34,113,112,34,99,34,54,58,56"),
        (
            "DOS language models need",
            "70,81,85,34,110,99,112,105,119,99,105,103,34,111,113,102,103,110,117,34,112,103,103,102",
        ),
    ];
    with(&pieces(&bytes()), |t| {
        assert_eq!((t.kind(), t.n_vocab()), (Kind::Pieces, 258));
        for (text, ids) in vectors {
            assert_eq!(encode(t, text), ids_of(ids, |c| c == ','));
        }
        let all: Vec<u8> = (0..=255).rev().collect();
        assert_eq!(encode(t, &all), (2..258).rev().collect::<Vec<_>>());
        assert_eq!(decode(t, &encode(t, &all)), all);
        assert_eq!(encode_as(t, b"a<|endoftext|><|unk|>", true), Ok(vec![99, 0, 1]));
        assert_eq!(decode(t, &[99, 0, 1]), b"a");
    });
}

#[test]
fn a_lexicon_as_gpt2_basic_reads_it() {
    let cases = include_str!("../data/tokenizer/lexicon.txt");
    with(&lexicon(), |t| {
        assert_eq!(t.n_vocab(), 4096);
        for case in cases.lines() {
            let (text, ids) = case.split_once('\t').expect("a case");
            assert_eq!(encode(t, text), ids_of(ids, |c| c == ','), "{text:?}");
            assert_eq!(decode(t, &encode(t, text)), text.as_bytes());
        }
    });
    assert_eq!(cases.lines().count(), 153);
}

#[test]
fn a_character_vocabulary() {
    let characters: Vec<(&str, i32)> = ["a", "ä", "水", "🦙", "\n"].map(|c| (c, 1)).to_vec();
    with(&pieces(&characters), |t| {
        assert_eq!(encode(t, "水ä🦙a\n"), [2, 1, 3, 0, 4]);
        assert_eq!(encode_as(t, "aä水x".as_bytes(), false), Err(Error::Unencodable { offset: 6 }));
        assert_eq!(encode_as(t, b"a\xC3", false), Err(Error::Unencodable { offset: 1 }));
    });
    // One unknown for each character, and for each stray byte.
    with(&pieces(&characters).u32("ggml.unknown_token_id", 4), |t| {
        assert_eq!(encode_as(t, "é水\u{10FFFF}".as_bytes(), false), Ok(vec![4, 2, 4]));
        assert_eq!(encode_as(t, b"\xC3\xFFa", false), Ok(vec![4, 4, 0]));
    });
}

#[test]
fn the_longest_piece_first_and_whole_words_only() {
    let tokens = [
        ("a", 6),
        ("ab", 1),
        ("ab ", 1),
        ("ab cd", 1),
        ("b", 6),
        (" ", 6),
        ("c", 1),
        ("d", 6),
        ("c", 6),
        ("ab", 1),
    ];
    with(&pieces(&tokens), |t| {
        assert_eq!(encode(t, "ab cdab c"), [3, 2, 6]);
    });
    with(&pieces(&tokens).text("pagelm.word_bytes", "abcd"), |t| {
        assert_eq!(encode(t, "ab cd"), [3]);
        assert_eq!(encode(t, "ab cdd"), [2, 8, 7, 7]);
        assert_eq!(encode(t, "abb"), [0, 4, 4]);
        assert_eq!(encode(t, "c"), [6]);
    });
}
