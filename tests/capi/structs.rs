//! Structures of older and newer callers, and of callers that set no size.

use crate::host::*;
use pagelm::capi::*;
use std::mem::offset_of;
use std::ptr;

/// The bytes of a structure with room behind it, as a caller of another version has them.
fn raw(struct_size: u32) -> Block {
    let mut raw = Block::new(8192);
    raw.bytes_mut()[..4].copy_from_slice(&struct_size.to_ne_bytes());
    raw
}

const NONSENSE: [u32; 6] = [0, 4, 7, 10, 4100, u32::MAX];

#[test]
fn sizes_without_sense_are_refused_everywhere() {
    let bytes = bytes_model();
    let loaded = load(&bytes);
    let live = session(loaded.model, ptr::null());
    let (model, s, null) = (loaded.model, live.session, ptr::null_mut());
    for size in NONSENSE {
        let mut raw = raw(size);
        let before = raw.bytes().to_vec();
        let p = raw.byte();
        let (b, n, mut out) = (bytes.as_ptr(), bytes.len(), 0usize);
        let mut file = Block::of(&bytes);
        let mut mem = Block::new(loaded.mem.size());
        let (mem_size, mut made, mut made_s) = (mem.size(), ptr::null_mut(), ptr::null_mut());
        let statuses = unsafe {
            [
                pagelm_model_probe(b, n, p.cast(), null),
                pagelm_model_probe(b, n, &mut sized!(pagelm_model_info), p.cast()),
                pagelm_model_init(mem.void(), mem_size, file.byte(), n, n, &mut made, p.cast()),
                pagelm_model_init_packed(mem.void(), mem_size, b, n, &mut made, p.cast()),
                pagelm_model_advance(model, n, p.cast()),
                pagelm_model_get_info(model, p.cast()),
                pagelm_session_probe(b, n, p.cast(), &mut out, null),
                pagelm_session_probe(b, n, ptr::null(), &mut out, p.cast()),
                pagelm_session_mem_size(model, p.cast(), &mut out),
                pagelm_session_init(mem.void(), mem_size, model, p.cast(), &mut made_s, null),
                pagelm_session_init(
                    mem.void(),
                    mem_size,
                    model,
                    ptr::null(),
                    &mut made_s,
                    p.cast(),
                ),
                pagelm_session_set_sampling(s, p.cast()),
                pagelm_session_get_info(s, p.cast()),
                pagelm_session_last_error(s, p.cast()),
            ]
        };
        assert_eq!(statuses, [PAGELM_ERROR_BAD_STRUCT; 14], "{size}");
        assert_eq!(raw.bytes(), before, "nothing is written");
        assert!(made.is_null() && made_s.is_null() && out == 0);
        assert_eq!(file.bytes(), bytes);
    }
}

#[test]
fn an_older_caller_gets_the_fields_it_knows() {
    let bytes = bytes_model();
    for known in [8u32, 12, 40, 48, 100] {
        let mut raw = raw(known);
        let status = unsafe {
            pagelm_model_probe(bytes.as_ptr(), bytes.len(), raw.byte().cast(), ptr::null_mut())
        };
        assert_eq!(status, PAGELM_OK);
        let full = probe(&bytes).unwrap();
        let want = bytemuck::bytes_of(&full);
        let known = known as usize;
        assert_eq!(raw.bytes()[..4], (known as u32).to_ne_bytes(), "struct_size is the caller's");
        assert_eq!(raw.bytes()[4..known], want[4..known]);
        assert!(raw.bytes()[known..].iter().all(|&b| b == DIRT), "{known}");
    }
}

#[test]
fn a_newer_caller_keeps_what_this_library_does_not_know() {
    let bytes = bytes_model();
    let ours = size_of::<pagelm_model_info>();
    let mut raw = raw(ours as u32 + 16);
    let status = unsafe {
        pagelm_model_probe(bytes.as_ptr(), bytes.len(), raw.byte().cast(), ptr::null_mut())
    };
    assert_eq!(status, PAGELM_OK);
    let full = probe(&bytes).unwrap();
    assert_eq!(raw.bytes()[4..ours], bytemuck::bytes_of(&full)[4..]);
    assert!(raw.bytes()[ours..].iter().all(|&b| b == DIRT));
}

#[test]
fn fields_that_an_older_caller_lacks_count_as_zero() {
    let loaded = load(&bytes_model());
    let size = |struct_size: u32| {
        let mut params = sized!(pagelm_session_params);
        (params.n_ctx, params.n_batch, params.max_text) = (24, 96, 50_000);
        params.struct_size = struct_size;
        session_size(loaded.model, &params)
    };
    let whole = |n_batch, max_text| {
        let mut params = sized!(pagelm_session_params);
        (params.n_ctx, params.n_batch, params.max_text) = (24, n_batch, max_text);
        session_size(loaded.model, &params)
    };
    assert_eq!(size(offset_of!(pagelm_session_params, n_batch) as u32), whole(0, 0));
    assert_eq!(size(offset_of!(pagelm_session_params, max_text) as u32), whole(96, 0));
    assert_eq!(size(size_of::<pagelm_session_params>() as u32 + 8), whole(96, 50_000));
    assert_ne!(whole(0, 0), whole(96, 0));
    assert_ne!(whole(96, 0), whole(96, 50_000));
}

#[test]
fn a_short_error_gets_its_code_and_no_more() {
    let mut raw = raw(8);
    let mut info = sized!(pagelm_model_info);
    let status = unsafe {
        pagelm_model_probe(b"GIF89a, not a model".as_ptr(), 19, &mut info, raw.byte().cast())
    };
    assert_eq!(status, PAGELM_ERROR_BAD_MAGIC);
    assert_eq!(raw.bytes()[4..8], PAGELM_ERROR_BAD_MAGIC.to_ne_bytes());
    assert!(raw.bytes()[8..].iter().all(|&b| b == DIRT));
    assert_eq!(info.n_vocab, 0, "outputs are written on success only");
}

#[test]
fn sizes_and_places_are_those_of_the_header() {
    assert_eq!(size_of::<pagelm_error>(), 192);
    assert_eq!(offset_of!(pagelm_error, text), 16);
    assert_eq!(size_of::<pagelm_model_info>(), 176);
    assert_eq!(offset_of!(pagelm_model_info, header_size), 40);
    assert_eq!(size_of::<pagelm_session_params>(), 24);
    assert_eq!(size_of::<pagelm_sampling>(), 48);
    assert_eq!(offset_of!(pagelm_sampling, seed), 40);
    assert_eq!(size_of::<pagelm_session_info>(), 40);
}
