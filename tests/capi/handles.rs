//! NULL, misaligned and out-of-range pointers, and handles that are not alive.

use crate::host::*;
use pagelm::capi::*;
use std::ffi::c_void;
use std::ptr;

/// Calls every function that takes a session, with sound other arguments.
fn session_calls(s: *mut pagelm_session) -> Vec<(&'static str, i32)> {
    let (mut id, mut size, mut len) = (7u32, 7usize, 7usize);
    let (mut text, mut logits) = (ptr::null(), ptr::null());
    let (mut ids, mut probabilities) = ([7u32; 4], [7f32; 4]);
    let bias = [0f32; 1];
    let mut room = vec![DIRT; 1 << 20];
    let mut info = sized!(pagelm_session_info);
    let mut error = sized!(pagelm_error);
    let sampling = sized!(pagelm_sampling);
    let out: *mut c_void = room.as_mut_ptr().cast();
    let statuses = unsafe {
        vec![
            ("set_sampling", pagelm_session_set_sampling(s, &sampling)),
            ("set_logit_bias", pagelm_session_set_logit_bias(s, ids.as_ptr(), bias.as_ptr(), 1)),
            ("add_stop", pagelm_session_add_stop(s, b"x".as_ptr(), 1)),
            ("add_stop_token", pagelm_session_add_stop_token(s, 1)),
            ("clear_stops", pagelm_session_clear_stops(s)),
            ("feed_text", pagelm_session_feed_text(s, b"x".as_ptr(), 1, 0)),
            ("feed_ids", pagelm_session_feed_ids(s, ids.as_ptr(), 1)),
            ("eval", pagelm_session_eval(s, 0)),
            ("run", pagelm_session_run(s, 0)),
            ("sample", pagelm_session_sample(s, &mut id)),
            ("accept", pagelm_session_accept(s, 7)),
            ("token", pagelm_session_token(s, &mut id)),
            ("text", pagelm_session_text(s, &mut text, &mut len)),
            ("logits", pagelm_session_logits(s, 0, &mut logits, &mut len)),
            (
                "top_logprobs",
                pagelm_session_top_logprobs(s, ids.as_mut_ptr(), probabilities.as_mut_ptr(), 4),
            ),
            ("reset", pagelm_session_reset(s)),
            ("get_info", pagelm_session_get_info(s, &mut info)),
            ("snapshot_size", pagelm_session_snapshot_size(s, &mut size)),
            ("snapshot", pagelm_session_snapshot(s, out, 1 << 20, &mut size)),
            ("restore", pagelm_session_restore(s, out, 64)),
            ("last_error", pagelm_session_last_error(s, &mut error)),
        ]
    };
    assert_eq!((id, size, len), (7, 7, 7), "outputs are written on success only");
    assert_eq!((ids, probabilities), ([7; 4], [7.0; 4]));
    assert!(text.is_null() && logits.is_null() && room.iter().all(|&b| b == DIRT));
    assert_eq!((info.n_ctx, error.code), (0, 0));
    statuses
}

/// Calls every function that takes a model, with sound other arguments.
fn model_calls(m: *mut pagelm_model) -> Vec<(&'static str, i32)> {
    let (mut size, mut n) = (7usize, 7usize);
    let (mut ids, mut text, mut work) = ([7u32; 64], [DIRT; 64], [0u64; 64]);
    let mut info = sized!(pagelm_model_info);
    let mut session = ptr::null_mut();
    let mut mem = Block::new(1 << 20);
    let w: *mut c_void = work.as_mut_ptr().cast();
    let none = ptr::null_mut();
    let statuses = unsafe {
        let (t, i) = (b"x".as_ptr(), ids.as_mut_ptr());
        vec![
            ("advance", pagelm_model_advance(m, 1, none)),
            ("get_info", pagelm_model_get_info(m, &mut info)),
            ("tokenize", pagelm_model_tokenize(m, t, 1, 0, w, 512, i, 64, &mut n)),
            ("detokenize", pagelm_model_detokenize(m, i, 1, text.as_mut_ptr(), 64, &mut n)),
            ("mem_size", pagelm_session_mem_size(m, ptr::null(), &mut size)),
            (
                "session_init",
                pagelm_session_init(mem.void(), 1 << 20, m, ptr::null(), &mut session, none),
            ),
        ]
    };
    assert_eq!((size, n, ids, text), (7, 7, [7; 64], [DIRT; 64]));
    assert!(session.is_null() && info.n_vocab == 0);
    assert!(mem.bytes().iter().all(|&b| b == DIRT));
    statuses
}

fn all_are(statuses: Vec<(&str, i32)>, expected: i32) {
    for (name, status) in statuses {
        assert_eq!(status, expected, "{name}");
    }
}

#[test]
fn a_null_handle_is_an_error_everywhere() {
    all_are(session_calls(ptr::null_mut()), PAGELM_ERROR_NULL);
    all_are(model_calls(ptr::null_mut()), PAGELM_ERROR_NULL);
}

#[test]
fn memory_without_a_handle_is_an_error_everywhere() {
    for fill in [0, DIRT, 0xff] {
        let mut mem = Block::new(1 << 16);
        mem.bytes_mut().fill(fill);
        all_are(session_calls(mem.void().cast()), PAGELM_ERROR_DEAD_HANDLE);
        all_are(model_calls(mem.void().cast()), PAGELM_ERROR_DEAD_HANDLE);
        let odd = unsafe { mem.byte().add(4) };
        all_are(session_calls(odd.cast()), PAGELM_ERROR_MISALIGNED);
        all_are(model_calls(odd.cast()), PAGELM_ERROR_MISALIGNED);
    }
}

#[test]
fn a_model_is_no_session_and_a_session_no_model() {
    let loaded = load(&bytes_model());
    let live = session(loaded.model, ptr::null());
    all_are(session_calls(loaded.model.cast()), PAGELM_ERROR_DEAD_HANDLE);
    all_are(model_calls(live.session.cast()), PAGELM_ERROR_DEAD_HANDLE);
}

#[test]
fn a_copied_handle_is_dead_and_the_original_lives_on() {
    let loaded = load(&bytes_model());
    let live = session(loaded.model, ptr::null());
    let (mut model, mut session) = (Block::of(loaded.mem.bytes()), Block::of(live.mem.bytes()));
    all_are(model_calls(model.void().cast()), PAGELM_ERROR_DEAD_HANDLE);
    all_are(session_calls(session.void().cast()), PAGELM_ERROR_DEAD_HANDLE);
    assert_eq!(live.generate(b"abc", 4, 0).0.len(), 4);
}

#[test]
fn an_overwritten_handle_is_dead() {
    let mut loaded = load(&bytes_model());
    let mut live = session(loaded.model, ptr::null());
    live.mem.bytes_mut().fill(0);
    all_are(session_calls(live.session), PAGELM_ERROR_DEAD_HANDLE);
    loaded.mem.bytes_mut().fill(0);
    all_are(model_calls(loaded.model), PAGELM_ERROR_DEAD_HANDLE);
}

#[test]
fn a_session_dies_with_its_model() {
    let mut loaded = load(&bytes_model());
    let live = session(loaded.model, ptr::null());
    loaded.mem.bytes_mut().fill(0);
    all_are(session_calls(live.session), PAGELM_ERROR_DEAD_HANDLE);
}

#[test]
fn a_session_does_not_take_a_new_model_for_its_own() {
    let bytes = bytes_model();
    let mut loaded = load(&bytes);
    let live = session(loaded.model, ptr::null());
    loaded.file.bytes_mut().copy_from_slice(&bytes);
    let (mut again, n, mem_size) = (ptr::null_mut(), bytes.len(), loaded.mem.size());
    let status = unsafe {
        let (mem, file) = (loaded.mem.void(), loaded.file.byte());
        pagelm_model_init(mem, mem_size, file, n, n, &mut again, ptr::null_mut())
    };
    assert_eq!((status, again), (PAGELM_OK, loaded.model));
    all_are(session_calls(live.session), PAGELM_ERROR_DEAD_HANDLE);
}

#[test]
fn a_failed_init_leaves_no_handle_behind() {
    let bytes = bytes_model();
    let mut loaded = load(&bytes);
    // A scale that is not finite, found while packing.
    let start = probe(&bytes).unwrap().header_size as usize;
    let mut bad = bytes;
    bad[start..start + 2].copy_from_slice(&0x7c00u16.to_le_bytes());
    loaded.file.bytes_mut().copy_from_slice(&bad);
    let (mut model, n, size) = (ptr::null_mut(), bad.len(), loaded.mem.size());
    let mut error = sized!(pagelm_error);
    let status = unsafe {
        let (mem, file) = (loaded.mem.void(), loaded.file.byte());
        pagelm_model_init(mem, size, file, n, n, &mut model, &mut error)
    };
    assert_eq!((status, error.code), (PAGELM_ERROR_NOT_FINITE, PAGELM_ERROR_NOT_FINITE));
    assert_eq!(error.offset, start as u64);
    assert!(model.is_null());
    all_are(model_calls(loaded.model), PAGELM_ERROR_DEAD_HANDLE);
}

#[test]
fn null_outputs_and_inputs_are_errors_and_the_objects_live_on() {
    let loaded = load(&bytes_model());
    let live = session(loaded.model, ptr::null());
    assert_eq!(live.generate(b"abc", 2, 0).0.len(), 2);
    let (m, s, null) = (loaded.model, live.session, ptr::null_mut());
    let (mut n, mut text, mut logits, mut id) = (0usize, ptr::null(), ptr::null(), 0u32);
    let (mut ids, mut work) = ([0u32; 8], [0u64; 64]);
    let w: *mut c_void = work.as_mut_ptr().cast();
    let (x, i, mut f) = (b"x".as_ptr(), ids.as_mut_ptr(), [0f32; 8]);
    let none = ptr::null();
    let statuses = unsafe {
        vec![
            ("probe info", pagelm_model_probe(x, 1, ptr::null_mut(), ptr::null_mut())),
            ("get_info", pagelm_model_get_info(m, ptr::null_mut())),
            ("tokenize text", pagelm_model_tokenize(m, none, 1, 0, w, 512, i, 8, &mut n)),
            ("tokenize work", pagelm_model_tokenize(m, x, 1, 0, null, 512, i, 8, &mut n)),
            ("tokenize ids", pagelm_model_tokenize(m, x, 1, 0, w, 512, ptr::null_mut(), 8, &mut n)),
            ("tokenize n", pagelm_model_tokenize(m, x, 1, 0, w, 512, i, 8, ptr::null_mut())),
            ("detokenize ids", pagelm_model_detokenize(m, ptr::null(), 1, null.cast(), 0, &mut n)),
            ("detokenize text", pagelm_model_detokenize(m, i, 1, null.cast(), 9, &mut n)),
            ("detokenize len", pagelm_model_detokenize(m, i, 1, null.cast(), 0, ptr::null_mut())),
            ("mem_size", pagelm_session_mem_size(m, ptr::null(), ptr::null_mut())),
            (
                "session_init",
                pagelm_session_init(
                    null,
                    1 << 30,
                    m,
                    ptr::null(),
                    &mut null.cast(),
                    ptr::null_mut(),
                ),
            ),
            (
                "session_init out",
                pagelm_session_init(w, 512, m, ptr::null(), ptr::null_mut(), ptr::null_mut()),
            ),
            ("bias ids", pagelm_session_set_logit_bias(s, ptr::null(), f.as_ptr(), 1)),
            ("bias values", pagelm_session_set_logit_bias(s, i, ptr::null(), 1)),
            ("add_stop", pagelm_session_add_stop(s, none, 1)),
            ("feed_text", pagelm_session_feed_text(s, none, 1, 0)),
            ("feed_ids", pagelm_session_feed_ids(s, ptr::null(), 1)),
            ("sample", pagelm_session_sample(s, ptr::null_mut())),
            ("token", pagelm_session_token(s, ptr::null_mut())),
            ("text", pagelm_session_text(s, ptr::null_mut(), &mut n)),
            ("text len", pagelm_session_text(s, &mut text, ptr::null_mut())),
            ("logits", pagelm_session_logits(s, 0, ptr::null_mut(), &mut n)),
            ("logits n", pagelm_session_logits(s, 0, &mut logits, ptr::null_mut())),
            ("top ids", pagelm_session_top_logprobs(s, ptr::null_mut(), f.as_mut_ptr(), 1)),
            ("top logprobs", pagelm_session_top_logprobs(s, i, ptr::null_mut(), 1)),
            ("get_info", pagelm_session_get_info(s, ptr::null_mut())),
            ("snapshot_size", pagelm_session_snapshot_size(s, ptr::null_mut())),
            ("snapshot", pagelm_session_snapshot(s, null, 9, &mut n)),
            ("snapshot n", pagelm_session_snapshot(s, w, 0, ptr::null_mut())),
            ("restore", pagelm_session_restore(s, ptr::null(), 9)),
            ("last_error", pagelm_session_last_error(s, ptr::null_mut())),
        ]
    };
    all_are(statuses, PAGELM_ERROR_NULL);
    assert_eq!((n, id), (0, 0));
    assert!(text.is_null() && logits.is_null());
    assert_eq!(unsafe { pagelm_session_token(s, &mut id) }, PAGELM_OK);
    assert_eq!(live.go_on(2, 0).0.len(), 2);
}

#[test]
fn null_with_length_zero_is_nothing_and_that_is_fine() {
    let loaded = load(&bytes_model());
    let live = session(loaded.model, ptr::null());
    let s = live.session;
    unsafe {
        assert_eq!(pagelm_session_feed_text(s, ptr::null(), 0, 0), PAGELM_OK);
        assert_eq!(pagelm_session_feed_ids(s, ptr::null(), 0), PAGELM_OK);
        assert_eq!(pagelm_session_set_logit_bias(s, ptr::null(), ptr::null(), 0), PAGELM_OK);
        assert_eq!(pagelm_session_set_sampling(s, ptr::null()), PAGELM_OK);
    }
    assert_eq!(live.info().n_queued, 0);
}

#[test]
fn misaligned_and_endless_memory_is_an_error() {
    let bytes = bytes_model();
    let loaded = load(&bytes);
    let live = session(loaded.model, ptr::null());
    let mut file = Block::new(bytes.len() + 8);
    let mut mem = Block::new(loaded.mem.size() + 8);
    let (mut model, mut session) = (ptr::null_mut(), ptr::null_mut());
    let (m, s, none) = (loaded.model, live.session, ptr::null_mut());
    let n = bytes.len();
    unsafe {
        ptr::copy(bytes.as_ptr(), file.byte().add(4), n);
        let mut init = |mem_at: usize, file_at: usize| {
            ptr::copy(bytes.as_ptr(), file.byte().add(file_at), n);
            let (mem_size, to) = (mem.size() - mem_at, mem.byte().add(mem_at).cast());
            pagelm_model_init(to, mem_size, file.byte().add(file_at), n, n, &mut model, none)
        };
        for off in [1, 2, 4] {
            assert_eq!(init(off, 0), PAGELM_ERROR_MISALIGNED);
            assert_eq!(init(0, off), PAGELM_ERROR_MISALIGNED);
        }
        assert_eq!(init(0, 0), PAGELM_OK);
        let odd = mem.byte().add(4).cast();
        let status = pagelm_session_init(odd, 1 << 20, m, ptr::null(), &mut session, none);
        assert_eq!(status, PAGELM_ERROR_MISALIGNED);
        let odd = mem.byte().add(2).cast::<u32>();
        assert_eq!(pagelm_session_feed_ids(s, odd, 1), PAGELM_ERROR_MISALIGNED);
        let high = ptr::without_provenance(usize::MAX - 7);
        assert_eq!(pagelm_session_feed_text(s, high, 16, 0), PAGELM_ERROR_BAD_RANGE);
        let x = b"x".as_ptr();
        assert_eq!(pagelm_session_feed_text(s, x, usize::MAX, 0), PAGELM_ERROR_BAD_RANGE);
        let ids = [0u32; 1];
        assert_eq!(
            pagelm_session_feed_ids(s, ids.as_ptr(), usize::MAX / 2),
            PAGELM_ERROR_BAD_RANGE
        );
    }
    assert_eq!(live.last_error().0, PAGELM_ERROR_BAD_RANGE);
}

#[test]
fn what_a_session_gave_is_not_fed_back_in_place() {
    let loaded = load(&bytes_model());
    let live = session(loaded.model, ptr::null());
    live.generate(b"abc", 3, 0);
    let (mut text, mut len) = (ptr::null(), 0);
    let s = live.session;
    unsafe {
        assert_eq!(pagelm_session_text(s, &mut text, &mut len), PAGELM_OK);
        let before = live.info().n_queued;
        let status = pagelm_session_feed_text(s, text, len.max(1), 0);
        assert_eq!((status, live.info().n_queued), (PAGELM_ERROR_OVERLAP, before));
        let inside = s.cast::<u8>().add(512);
        assert_eq!(pagelm_session_restore(s, inside.cast(), 64), PAGELM_ERROR_OVERLAP);
        assert_eq!(pagelm_session_sample(s, inside.cast()), PAGELM_ERROR_OVERLAP);
        let mut n = 0;
        assert_eq!(pagelm_session_snapshot(s, inside.cast(), 64, &mut n), PAGELM_ERROR_OVERLAP);
    }
    let copy = live.text();
    assert_eq!(live.feed(&copy), PAGELM_OK);
}
