//! Size queries are exact, and too little memory is an error that says so.

use crate::host::*;
use pagelm::capi::*;
use std::ptr;

/// Memory with dirt behind it, to see that nothing more is touched.
fn with_tail(size: usize) -> Block {
    Block::new(size + 64)
}

fn tail_is_untouched(mem: &Block, size: usize) -> bool {
    mem.bytes()[size..].iter().all(|&b| b == DIRT)
}

#[test]
fn every_smaller_model_memory_is_refused_and_the_query_s_suffices() {
    let bytes = bytes_model();
    let need = probe(&bytes).unwrap().model_mem_size as usize;
    let mut mem = with_tail(need);
    let mut sizes: Vec<usize> = (0..need).step_by(64).collect();
    sizes.push(need - 1);
    for size in sizes {
        let (mut model, mut error) = (ptr::null_mut(), sized!(pagelm_error));
        let mut file = Block::of(&bytes);
        let n = file.size();
        let status = unsafe {
            pagelm_model_init(mem.void(), size, file.byte(), n, n, &mut model, &mut error)
        };
        assert_eq!(status, PAGELM_ERROR_OUT_OF_MEMORY, "{size}");
        assert!(text_of(&error).contains(&format!("{need} bytes")), "{}", text_of(&error));
        assert!(model.is_null() && tail_is_untouched(&mem, 0), "{size}");
        assert_eq!(file.bytes(), bytes, "the file is as it was");
    }
    let (mut model, mut file) = (ptr::null_mut(), Block::of(&bytes));
    let n = file.size();
    let status = unsafe {
        pagelm_model_init(mem.void(), need, file.byte(), n, n, &mut model, ptr::null_mut())
    };
    assert_eq!(status, PAGELM_OK);
    assert_eq!(model.addr(), mem.void().addr());
    assert!(tail_is_untouched(&mem, need));
    let mut info = sized!(pagelm_model_info);
    assert_eq!(unsafe { pagelm_model_get_info(model, &mut info) }, PAGELM_OK);
    assert_eq!((info.model_mem_size as usize, info.packed), (need, 1));
}

#[test]
fn every_smaller_session_memory_is_refused_and_the_query_s_suffices() {
    let loaded = load(&bytes_model());
    let mut params = sized!(pagelm_session_params);
    (params.n_ctx, params.n_batch) = (24, 3);
    for params in [ptr::null(), &raw const params] {
        let need = session_size(loaded.model, params);
        let mut mem = with_tail(need);
        let mut sizes: Vec<usize> = (0..need).step_by(64).collect();
        sizes.push(need - 1);
        for size in sizes {
            let (mut session, mut error) = (ptr::null_mut(), sized!(pagelm_error));
            let (void, model) = (mem.void(), loaded.model);
            let status =
                unsafe { pagelm_session_init(void, size, model, params, &mut session, &mut error) };
            assert_eq!(status, PAGELM_ERROR_OUT_OF_MEMORY, "{size}");
            assert!(text_of(&error).contains(&format!("{need} bytes")), "{}", text_of(&error));
            assert!(session.is_null() && tail_is_untouched(&mem, 0), "{size}");
        }
        let mut session = ptr::null_mut();
        let (void, model) = (mem.void(), loaded.model);
        let status = unsafe {
            pagelm_session_init(void, need, model, params, &mut session, ptr::null_mut())
        };
        assert_eq!(status, PAGELM_OK);
        let live = Live { mem, session };
        assert_eq!(live.generate(b"abc", 8, 0).0.len(), 8);
        assert!(tail_is_untouched(&live.mem, need), "also after tokens");
    }
}

#[test]
fn the_header_alone_tells_the_session_s_size() {
    let bytes = bytes_model();
    let loaded = load(&bytes);
    let header = probe(&bytes).unwrap().header_size as usize;
    for n_ctx in [0, 1, 7, 64, 96] {
        for (n_batch, flags, max_text) in
            [(0, 0, 0), (1, PAGELM_HALF_CACHE, 9), (16, PAGELM_ALL_LOGITS, 4096)]
        {
            let mut params = sized!(pagelm_session_params);
            (params.n_ctx, params.n_batch, params.flags) = (n_ctx, n_batch, flags);
            params.max_text = max_text;
            let mut size = 0;
            let status = unsafe {
                let p = bytes.as_ptr();
                pagelm_session_probe(p, header, &params, &mut size, ptr::null_mut())
            };
            assert_eq!((status, size), (PAGELM_OK, session_size(loaded.model, &params)));
        }
    }
    let mut size = 77;
    let status = unsafe {
        let (p, none) = (bytes.as_ptr(), ptr::null_mut());
        pagelm_session_probe(p, header / 2, ptr::null(), &mut size, none)
    };
    assert_eq!((status, size), (PAGELM_MORE, 77));
}

#[test]
fn low_memory_does_without_the_table_of_tokens() {
    let names = std::fs::read("examples/models/names.gguf").unwrap();
    let loaded = load(&names);
    let size = |flags| {
        session_size(
            loaded.model,
            &pagelm_session_params { flags, ..sized!(pagelm_session_params) },
        )
    };
    // 27 characters, an Elman layer of 160: for each a mark and its product, in whole cache lines.
    assert_eq!(size(0) - size(PAGELM_LOW_MEMORY), (4 * 27 * 161usize).next_multiple_of(64));
}

#[test]
fn parameters_out_of_range_are_refused() {
    let loaded = load(&bytes_model());
    let query = |change: fn(&mut pagelm_session_params)| {
        let (mut params, mut size) = (sized!(pagelm_session_params), 5);
        change(&mut params);
        let status = unsafe { pagelm_session_mem_size(loaded.model, &params, &mut size) };
        assert!(status == PAGELM_OK || size == 5, "outputs are written on success only");
        status
    };
    assert_eq!(query(|p| p.n_ctx = 97), PAGELM_ERROR_BAD_PARAM);
    assert_eq!(query(|p| p.n_ctx = u32::MAX), PAGELM_ERROR_BAD_PARAM);
    assert_eq!(query(|p| p.flags = 32), PAGELM_ERROR_BAD_PARAM);
    assert_eq!(query(|p| p.when_full = 2), PAGELM_ERROR_BAD_PARAM);
    assert_eq!(query(|p| p.n_ctx = 96), PAGELM_OK);
}

#[test]
fn memories_must_be_apart() {
    let bytes = bytes_model();
    let need = probe(&bytes).unwrap().model_mem_size as usize;
    let size = session_size(load(&bytes).model, ptr::null());
    let mut both = Block::new(bytes.len() + need + size + 64);
    both.bytes_mut()[..bytes.len()].copy_from_slice(&bytes);
    let mut model = ptr::null_mut();
    let base = both.byte();
    let mut init = |mem_at: usize| unsafe {
        let (mem, n) = (base.add(mem_at).cast(), bytes.len());
        pagelm_model_init(mem, need, base, n, n, &mut model, ptr::null_mut())
    };
    for at in [0, 8, bytes.len() / 16 * 8, (bytes.len() - 1) / 8 * 8] {
        assert_eq!(init(at), PAGELM_ERROR_OVERLAP, "{at}");
    }
    let free = bytes.len().next_multiple_of(8);
    assert_eq!(init(free), PAGELM_OK);
    for at in [0, free - 8, free, free + (need - 1) / 8 * 8] {
        let mut session = ptr::null_mut();
        let status = unsafe {
            let (mem, none) = (base.add(at).cast(), ptr::null_mut());
            pagelm_session_init(mem, size, model, ptr::null(), &mut session, none)
        };
        assert_eq!((status, session.is_null()), (PAGELM_ERROR_OVERLAP, true), "{at}");
    }
    let mut session = ptr::null_mut();
    let behind = (free + need).next_multiple_of(8);
    let status = unsafe {
        let (mem, none) = (base.add(behind).cast(), ptr::null_mut());
        pagelm_session_init(mem, size, model, ptr::null(), &mut session, none)
    };
    assert_eq!(status, PAGELM_OK);
}
