//! Nothing is allocated between a model's first byte and its last token.
//!
//! The engine has no allocator to call, being `no_std` without `alloc`; here a
//! counting one under the whole program says so of the road that a C program takes.
#![cfg(feature = "capi")]

use pagelm::capi::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(p, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// All that the run needs, made before it.
struct Memory {
    file: Vec<u64>,
    size: usize,
    model: Vec<u64>,
    session: Vec<u64>,
    snapshot: Vec<u64>,
}

const TEXT: &[u8] = b"A prompt";

fn prepare() -> Memory {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/capi/bytes.gguf");
    let bytes = std::fs::read(path).unwrap();
    let mut info: pagelm_model_info = bytemuck::Zeroable::zeroed();
    info.struct_size = size_of::<pagelm_model_info>() as u32;
    let (mut session, none) = (0, ptr::null_mut());
    // SAFETY: the pointers are to locals.
    unsafe {
        let (p, n) = (bytes.as_ptr(), bytes.len());
        assert_eq!(pagelm_model_probe(p, n, &mut info, none), PAGELM_OK);
        assert_eq!(pagelm_session_probe(p, n, ptr::null(), &mut session, none), PAGELM_OK);
    }
    let words = |size: usize| vec![0u64; size.div_ceil(8)];
    let mut file = words(bytes.len());
    bytemuck::cast_slice_mut(&mut file)[..bytes.len()].copy_from_slice(&bytes);
    Memory {
        file,
        size: bytes.len(),
        model: words(info.model_mem_size as usize),
        session: words(session),
        snapshot: words(session),
    }
}

/// Loads, sets up, feeds, runs 64 tokens, takes a snapshot and restores it.
/// Asserts nothing on the way, because a failed assertion allocates.
///
/// # Safety
/// The parts of `m` are as large as `prepare` makes them.
unsafe fn run(m: &mut Memory) -> [i32; 10] {
    let void = |words: &mut Vec<u64>| words.as_mut_ptr().cast::<c_void>();
    let (mut model, mut session, none) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    let (mem, mem_size, file) = (void(&mut m.model), 8 * m.model.len(), void(&mut m.file).cast());
    let mut sampling: pagelm_sampling = bytemuck::Zeroable::zeroed();
    (sampling.struct_size, sampling.temperature) = (size_of::<pagelm_sampling>() as u32, 0.9);
    sampling.flags = PAGELM_IGNORE_EOS;
    let (mut tokens, mut len, mut n) = (0, 0, 0);
    let mut text = ptr::null();
    // SAFETY: the pointers are to memory of `m`, which outlives all calls.
    unsafe {
        let loaded = pagelm_model_init(mem, mem_size, file, m.size, m.size, &mut model, none);
        let (mem, size) = (void(&mut m.session), 8 * m.session.len());
        let made = pagelm_session_init(mem, size, model, ptr::null(), &mut session, none);
        let set = pagelm_session_set_sampling(session, &sampling);
        let stop = pagelm_session_add_stop(session, b"\x01\x02\x03\x04".as_ptr(), 4);
        let fed = pagelm_session_feed_text(session, TEXT.as_ptr(), TEXT.len(), 0);
        while tokens < 64 {
            match pagelm_session_run(session, 2) {
                PAGELM_TOKEN => tokens += 1,
                PAGELM_MORE => {}
                _ => break,
            }
            pagelm_session_text(session, &mut text, &mut len);
        }
        let (out, room) = (void(&mut m.snapshot), 8 * m.snapshot.len());
        let saved = pagelm_session_snapshot(session, out, room, &mut n);
        let restored = pagelm_session_restore(session, out, n);
        let reset = pagelm_session_reset(session);
        let bad = pagelm_session_accept(session, u32::MAX);
        [loaded, made, set, stop, fed, tokens, saved, restored, reset, bad]
    }
}

#[test]
fn nothing_is_allocated_from_the_first_byte_to_the_last_token() {
    let mut memory = prepare();
    // The test's own threads may allocate now and then: the best of a few runs counts.
    let mut fewest = usize::MAX;
    for _ in 0..5 {
        let before = CALLS.load(Ordering::Relaxed);
        // SAFETY: the memory is as large as the engine asked for.
        let statuses = unsafe { run(&mut memory) };
        fewest = fewest.min(CALLS.load(Ordering::Relaxed) - before);
        assert_eq!(statuses, [0, 0, 0, 0, 0, 64, 0, 0, 0, PAGELM_ERROR_BAD_TOKEN]);
        memory = prepare();
    }
    assert_eq!(fewest, 0);
    assert!(CALLS.load(Ordering::Relaxed) > 0, "the counter counts");
}
