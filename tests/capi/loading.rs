//! Files: whole, streamed, packed, cut short, wrong.

use crate::host::*;
use pagelm::capi::*;
use std::ptr;

/// The logits after a fixed prompt, as bits.
fn fingerprint(model: *const pagelm_model) -> Vec<u32> {
    let live = session(model, ptr::null());
    let ids = [3u32, 1, 4, 1, 5, 2, 2];
    unsafe {
        assert_eq!(pagelm_session_feed_ids(live.session, ids.as_ptr(), ids.len()), PAGELM_OK);
        assert_eq!(pagelm_session_eval(live.session, 0), PAGELM_OK);
    }
    bits(&live.logits(0).unwrap())
}

/// Loads a file that arrives `step` bytes at a time, once the header is there.
fn stream(bytes: &[u8], step: usize) -> Loaded {
    let info = probe(bytes).unwrap();
    let (mut file, mut mem) = (Block::new(bytes.len()), Block::new(info.model_mem_size as usize));
    let (mut model, mut arrived) = (ptr::null_mut(), info.header_size as usize);
    let (p, size, mem_size, none) = (file.byte(), file.size(), mem.size(), ptr::null_mut());
    unsafe {
        ptr::copy(bytes.as_ptr(), p, arrived);
        let mut status =
            pagelm_model_init(mem.void(), mem_size, p, size, arrived, &mut model, none);
        while arrived < size {
            assert_eq!(status, PAGELM_MORE, "{arrived} of {size}");
            let mut out = 0;
            let early = pagelm_session_mem_size(model, ptr::null(), &mut out);
            assert_eq!((early, out), (PAGELM_ERROR_NOT_LOADED, 0));
            let n = step.min(size - arrived);
            ptr::copy(bytes.as_ptr().add(arrived), p.add(arrived), n);
            arrived += n;
            status = pagelm_model_advance(model, arrived, none);
        }
        assert_eq!(status, PAGELM_OK);
        assert_eq!(pagelm_model_advance(model, size, none), PAGELM_OK, "once more does no harm");
    }
    Loaded { file, mem, model }
}

#[test]
fn a_streamed_file_gives_the_same_bits() {
    for name in ["capi/bytes.gguf", "gpt2/odd45.f16.gguf", "gpt2/mixed96.q4_0.gguf"] {
        let bytes = file(name);
        let whole = load(&bytes);
        let want = fingerprint(whole.model);
        for step in [61, 1021, 4099, 1 << 20] {
            let streamed = stream(&bytes, step);
            assert_eq!(streamed.file.bytes(), whole.file.bytes(), "{name} {step}");
            assert_eq!(fingerprint(streamed.model), want, "{name} {step}");
        }
    }
}

#[test]
fn one_byte_at_a_time_does_too() {
    let bytes = bytes_model();
    let streamed = stream(&bytes, 1);
    assert_eq!(fingerprint(streamed.model), fingerprint(load(&bytes).model));
}

#[test]
fn a_packed_file_stays_as_it_is_and_gives_the_same_bits() {
    let plain = bytes_model();
    let loaded = load(&plain);
    let want = fingerprint(loaded.model);
    let packed = loaded.file.bytes().to_vec();
    assert_ne!(packed, plain);
    let info = probe(&packed).unwrap();
    assert_eq!((info.packed, info.file_size), (1, plain.len() as u64));
    let (mut file, mut mem) = (Block::of(&packed), Block::new(info.model_mem_size as usize));
    let (mut model, size, none) = (ptr::null_mut(), mem.size(), ptr::null_mut());
    let n = packed.len();
    unsafe {
        let status = pagelm_model_init_packed(mem.void(), size, file.byte(), n, &mut model, none);
        assert_eq!(status, PAGELM_OK);
        assert_eq!(pagelm_model_advance(model, n, none), PAGELM_OK);
    }
    assert_eq!(fingerprint(model), want);
    assert_eq!(file.bytes(), packed);
    assert_eq!(fingerprint(stream(&packed, 777).model), want, "streamed as well");
}

#[test]
fn a_plain_file_is_not_taken_from_read_only_memory() {
    let mut file = Block::of(&bytes_model());
    let mut mem = Block::new(probe(file.bytes()).unwrap().model_mem_size as usize);
    let (mut model, size, n) = (ptr::null_mut(), mem.size(), file.size());
    let mut error = sized!(pagelm_error);
    let status = unsafe {
        pagelm_model_init_packed(mem.void(), size, file.byte(), n, &mut model, &mut error)
    };
    assert_eq!((status, error.code), (PAGELM_ERROR_UNSUPPORTED, PAGELM_ERROR_UNSUPPORTED));
    assert!(model.is_null());
}

#[test]
fn the_header_is_found_as_soon_as_it_is_there() {
    let bytes = bytes_model();
    let header = probe(&bytes).unwrap().header_size as usize;
    for n in 0..header.saturating_sub(64) {
        assert_eq!(probe(&bytes[..n]).err(), Some(PAGELM_MORE), "{n}");
    }
    let found = probe(&bytes[..header]).unwrap();
    assert_eq!(bytemuck::bytes_of(&found), bytemuck::bytes_of(&probe(&bytes).unwrap()));
    assert_eq!((found.n_vocab, found.n_ctx, found.n_embd), (258, 96, 32));
    assert_eq!((found.n_layer, found.n_head, found.tokenizer), (1, 2, PAGELM_TOKENIZER_PIECES));
    assert_eq!((found.bos, found.eos, found.packed), (1, 0, 0));
    assert_eq!(found.file_size, bytes.len() as u64);
    // Embeddings, attention, feed-forward, norms.
    let n_params = (258 + 96) * 32 + (96 + 32) * 33 + 64 * 33 + 32 * 65 + 6 * 32;
    assert_eq!(found.n_params, n_params);
    assert_eq!(found.arch.map(|c| c as u8)[..5], *b"gpt2\0");
    assert_eq!(found.name.map(|c| c as u8)[..6], *b"bytes\0");
    let ids_only = probe(&file("gpt2/odd45.f16.gguf")).unwrap();
    assert_eq!(ids_only.tokenizer, PAGELM_TOKENIZER_NONE);
    assert_eq!((ids_only.bos, ids_only.eos), (PAGELM_NO_TOKEN, PAGELM_NO_TOKEN));
}

#[test]
fn a_file_cut_short_is_refused_before_its_weights_are_waited_for() {
    let bytes = bytes_model();
    let info = probe(&bytes).unwrap();
    let mut mem = Block::new(info.model_mem_size as usize);
    let header = info.header_size as usize;
    for size in [0, 1, 100, header - 1, header, bytes.len() - 1] {
        let mut file = Block::of(&bytes[..size]);
        let (mut model, mut error) = (ptr::null_mut(), sized!(pagelm_error));
        let mem_size = mem.size();
        let status = unsafe {
            let (m, f) = (mem.void(), file.byte());
            pagelm_model_init(m, mem_size, f, size, size.min(header), &mut model, &mut error)
        };
        assert_eq!(status, PAGELM_ERROR_TRUNCATED, "{size}");
        assert_eq!(error.code, status);
        assert!(model.is_null() && text_of(&error).contains("cut short"));
    }
}

#[test]
fn what_is_said_to_be_there_must_grow_and_fit() {
    let bytes = bytes_model();
    let info = probe(&bytes).unwrap();
    let (mut file, mut mem) = (Block::of(&bytes), Block::new(info.model_mem_size as usize));
    let (n, header, size) = (bytes.len(), info.header_size as usize, mem.size());
    let (mut model, none) = (ptr::null_mut(), ptr::null_mut());
    unsafe {
        let (m, f) = (mem.void(), file.byte());
        let status = pagelm_model_init(m, size, f, n, n + 1, &mut model, none);
        assert_eq!((status, model.is_null()), (PAGELM_ERROR_BAD_PARAM, true));
        assert_eq!(pagelm_model_init(m, size, f, n, header + 99, &mut model, none), PAGELM_MORE);
        assert_eq!(pagelm_model_advance(model, n + 1, none), PAGELM_ERROR_BAD_PARAM);
        assert_eq!(pagelm_model_advance(model, header + 99, none), PAGELM_MORE);
        assert_eq!(pagelm_model_advance(model, header, none), PAGELM_ERROR_BAD_PARAM);
        assert_eq!(pagelm_model_advance(model, n, none), PAGELM_ERROR_DEAD_HANDLE);
    }
}

#[test]
fn what_is_no_model_says_so() {
    let cases: [(&[u8], i32); 4] = [
        (b"<!doctype html><title>404 Not Found</title>", PAGELM_ERROR_BAD_MAGIC),
        (b"GGUF\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", PAGELM_ERROR_BAD_VERSION),
        (
            b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            PAGELM_ERROR_MISSING_KEY,
        ),
        (b"GG", PAGELM_MORE),
    ];
    for (bytes, status) in cases {
        assert_eq!(probe(bytes).err(), Some(status), "{bytes:?}");
    }
    let mut other = bytes_model();
    let at = other.windows(4).position(|w| w == b"gpt2").unwrap();
    other[at..at + 4].copy_from_slice(b"mpt2");
    assert_eq!(probe(&other).err(), Some(PAGELM_ERROR_UNSUPPORTED_ARCH));
}
