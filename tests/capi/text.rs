//! Text to ids and back.

use crate::host::*;
use pagelm::capi::*;
use std::ptr;

/// Tokenizes with room for `cap` ids.
fn tokenize(
    model: *const pagelm_model,
    text: &[u8],
    flags: u32,
    cap: usize,
) -> (i32, usize, Vec<u32>) {
    let size = pagelm_tokenize_work_size(text.len());
    let mut work = Block::new(size);
    let (mut ids, mut n) = (vec![u32::MAX; cap + 1], usize::MAX);
    let status = unsafe {
        let (t, w, i) = (text.as_ptr(), work.void(), ids.as_mut_ptr());
        pagelm_model_tokenize(model, t, text.len(), flags, w, size, i, cap, &mut n)
    };
    assert_eq!(ids.pop(), Some(u32::MAX), "nothing is written past the room");
    (status, n, ids)
}

fn detokenize(model: *const pagelm_model, ids: &[u32], cap: usize) -> (i32, usize, Vec<u8>) {
    let (mut text, mut len) = (vec![DIRT; cap + 1], usize::MAX);
    let status = unsafe {
        let (i, t) = (ids.as_ptr(), text.as_mut_ptr());
        pagelm_model_detokenize(model, i, ids.len(), t, cap, &mut len)
    };
    assert_eq!(text.pop(), Some(DIRT), "nothing is written past the room");
    (status, len, text)
}

const TEXT: &[u8] = "a <eos> \u{e9}\0\u{1f600} z".as_bytes();

fn plain() -> Vec<u32> {
    TEXT.iter().map(|&b| u32::from(b) + 2).collect()
}

#[test]
fn text_becomes_ids_and_ids_become_text() {
    let loaded = load(&bytes_model());
    let (status, n, ids) = tokenize(loaded.model, TEXT, 0, 64);
    assert_eq!((status, n), (PAGELM_OK, TEXT.len()));
    assert_eq!(ids[..n], plain(), "a text cannot spell a special token");
    let (status, len, text) = detokenize(loaded.model, &ids[..n], 64);
    assert_eq!((status, &text[..len]), (PAGELM_OK, TEXT));
    let (status, len, _) = detokenize(loaded.model, &[0, 1], 64);
    assert_eq!((status, len), (PAGELM_OK, 0), "control tokens have no text");
}

#[test]
fn special_tokens_are_parsed_when_asked_for() {
    let loaded = load(&bytes_model());
    let (status, n, ids) = tokenize(loaded.model, b"a<eos>b", PAGELM_PARSE_SPECIAL, 64);
    assert_eq!((status, &ids[..n]), (PAGELM_OK, &[99, 0, 100][..]));
    assert_eq!(tokenize(loaded.model, b"a", 2, 64).0, PAGELM_ERROR_BAD_PARAM);
}

#[test]
fn too_little_room_writes_nothing_and_counting_needs_none() {
    let loaded = load(&bytes_model());
    for cap in [1, TEXT.len() - 1] {
        let (status, n, ids) = tokenize(loaded.model, TEXT, 0, cap);
        assert_eq!((status, n), (PAGELM_ERROR_BUFFER_TOO_SMALL, usize::MAX));
        assert!(ids.iter().all(|&id| id == u32::MAX));
        let (status, len, text) = detokenize(loaded.model, &plain(), cap);
        assert_eq!((status, len), (PAGELM_ERROR_BUFFER_TOO_SMALL, usize::MAX));
        assert!(text.iter().all(|&b| b == DIRT));
    }
    assert_eq!(tokenize(loaded.model, TEXT, 0, TEXT.len()).0, PAGELM_OK, "exactly enough");
    assert_eq!(detokenize(loaded.model, &plain(), TEXT.len()).0, PAGELM_OK);
    let size = pagelm_tokenize_work_size(TEXT.len());
    let (mut work, mut n, m) = (Block::new(size), 0, loaded.model);
    let none = ptr::null_mut();
    unsafe {
        let (t, w, len) = (TEXT.as_ptr(), work.void(), TEXT.len());
        let status = pagelm_model_tokenize(m, t, len, 0, w, size, none, 0, &mut n);
        assert_eq!((status, n), (PAGELM_OK, TEXT.len()));
        let status = pagelm_model_tokenize(m, t, len, 0, w, size - 1, none, 0, &mut n);
        assert_eq!(status, PAGELM_ERROR_BUFFER_TOO_SMALL);
        let ids = plain();
        let mut len = 0;
        let status =
            pagelm_model_detokenize(m, ids.as_ptr(), ids.len(), ptr::null_mut(), 0, &mut len);
        assert_eq!((status, len), (PAGELM_OK, TEXT.len()));
    }
}

#[test]
fn buffers_must_be_apart() {
    let loaded = load(&bytes_model());
    let size = pagelm_tokenize_work_size(8);
    let mut all = Block::new(size + 64);
    all.bytes_mut().fill(b'x');
    let before = all.bytes().to_vec();
    let (p, m, mut n) = (all.byte(), loaded.model, 0);
    unsafe {
        let (free, work) = (p.add(size / 8 * 8), p.cast());
        let ids = free.cast::<u32>();
        let status = pagelm_model_tokenize(m, p, 8, 0, work, size, ids, 8, &mut n);
        assert_eq!(status, PAGELM_ERROR_OVERLAP, "text in work");
        let status =
            pagelm_model_tokenize(m, b"xxxxxxxx".as_ptr(), 8, 0, work, size, p.cast(), 8, &mut n);
        assert_eq!(status, PAGELM_ERROR_OVERLAP, "ids in work");
        let status = pagelm_model_tokenize(m, free, 8, 0, work, size / 8 * 8, ids, 8, &mut n);
        assert_eq!(status, PAGELM_ERROR_OVERLAP, "ids in text");
        let status = pagelm_model_detokenize(m, ids, 4, free.add(4), 8, &mut n);
        assert_eq!(status, PAGELM_ERROR_OVERLAP, "text in ids");
    }
    assert_eq!((all.bytes(), n), (&before[..], 0));
}

#[test]
fn ids_that_do_not_exist_are_refused() {
    let loaded = load(&bytes_model());
    for id in [258, u32::MAX] {
        let (status, len, text) = detokenize(loaded.model, &[99, id], 64);
        assert_eq!((status, len), (PAGELM_ERROR_BAD_TOKEN, usize::MAX));
        assert!(text.iter().all(|&b| b == DIRT), "nothing is written, the good token neither");
    }
    let ids_only = load(&file("gpt2/odd45.f16.gguf"));
    assert_eq!(tokenize(ids_only.model, b"a", 0, 64).0, PAGELM_ERROR_NO_TOKENIZER);
    assert_eq!(detokenize(ids_only.model, &[0], 64).0, PAGELM_ERROR_NO_TOKENIZER);
}
