//! Any sequence of C calls with any arguments that a C program can give: statuses, and
//! nothing read or written outside of what was given (AddressSanitizer watches).
#![no_main]

use libfuzzer_sys::fuzz_target;
use pagelm::capi::*;
use pagelm_fuzz::{Block, Bytes};
use std::ffi::c_void;
use std::ptr;

/// A small GPT-2 over bytes, a language model of GRUs, an LSTM over vectors.
const MODELS: [&[u8]; 3] = [
    include_bytes!("../../tests/data/capi/bytes.gguf"),
    include_bytes!("../../tests/data/rnn/gru-lm.f32.gguf"),
    include_bytes!("../../tests/data/rnn/lstm2.f32.gguf"),
];

fuzz_target!(|data: &[u8]| {
    let mut data = Bytes(data);
    // SAFETY: the pointers are to memory of the stated lengths, or NULL, or misaligned.
    unsafe { play(&mut data) };
});

/// A structure of the fuzzer's bytes that states its own size, or another.
fn record<T: bytemuck::Pod>(data: &mut Bytes) -> T {
    let mut value = T::zeroed();
    let size = match data.byte() {
        255 => data.byte() as usize % size_of::<T>(),
        _ => size_of::<T>(),
    };
    let bytes = bytemuck::bytes_of_mut(&mut value);
    bytes[..4].copy_from_slice(&(size as u32).to_ne_bytes());
    for word in bytes[4..].chunks_exact_mut(4) {
        word.copy_from_slice(&data.number().to_ne_bytes());
    }
    value
}

/// Reads what a call lent.
unsafe fn read(numbers: *const f32, n: usize) {
    // SAFETY: the call promised so many numbers; AddressSanitizer checks it.
    let numbers = unsafe { std::slice::from_raw_parts(numbers, n) };
    std::hint::black_box(numbers.iter().map(|v| v.to_bits()).fold(0, u32::wrapping_add));
}

struct Table {
    model: *mut pagelm_model,
    session: *mut pagelm_session,
    mem: Block,
    snapshot: Vec<u8>,
}

unsafe fn play(data: &mut Bytes) {
    let bytes = MODELS[data.byte() as usize % MODELS.len()];
    let mut info: pagelm_model_info = bytemuck::Zeroable::zeroed();
    info.struct_size = size_of::<pagelm_model_info>() as u32;
    let none = ptr::null_mut();
    let probed = unsafe { pagelm_model_probe(bytes.as_ptr(), bytes.len(), &mut info, none) };
    assert_eq!(probed, PAGELM_OK);
    let (mut file, mut mem) = (Block::of(bytes), Block::new(info.model_mem_size as usize));
    let (mut model, n, size) = (ptr::null_mut(), bytes.len(), info.model_mem_size as usize);
    let file = file.bytes().as_mut_ptr();
    let place: *mut c_void = mem.bytes().as_mut_ptr().cast();
    let made = unsafe { pagelm_model_init(place, size, file, n, n, &mut model, none) };
    assert_eq!(made, PAGELM_OK);
    let mut table =
        Table { model, session: ptr::null_mut(), mem: Block::new(0), snapshot: Vec::new() };
    unsafe { begin(&mut table, &pagelm_session_params { n_ctx: 16, flags: 6, ..sized() }) };
    for _ in 0..64 {
        if data.is_empty() {
            break;
        }
        unsafe { step(&mut table, data) };
    }
}

fn sized() -> pagelm_session_params {
    let mut params: pagelm_session_params = bytemuck::Zeroable::zeroed();
    params.struct_size = size_of::<pagelm_session_params>() as u32;
    params
}

/// A session of these parameters, if they make one of a reasonable size.
unsafe fn begin(t: &mut Table, params: &pagelm_session_params) {
    let (mut size, mut session) = (0, ptr::null_mut());
    let asked = unsafe { pagelm_session_mem_size(t.model, params, &mut size) };
    if asked != PAGELM_OK || size > 1 << 22 {
        return;
    }
    let mut mem = Block::new(size);
    let p: *mut c_void = mem.bytes().as_mut_ptr().cast();
    let none = ptr::null_mut();
    unsafe {
        if size > 8 {
            let short = pagelm_session_init(p, size - 8, t.model, params, &mut session, none);
            assert_eq!(short, PAGELM_ERROR_OUT_OF_MEMORY);
        }
        let made = pagelm_session_init(p, size, t.model, params, &mut session, none);
        assert_eq!(made, PAGELM_OK);
    }
    (t.session, t.mem) = (session, mem);
}

unsafe fn step(t: &mut Table, data: &mut Bytes) {
    let (s, mut n, mut at) = (t.session, 0usize, ptr::null());
    let mut out = vec![0f32; data.number() as usize % 4096];
    let (o, cap) = (out.as_mut_ptr(), out.len());
    let op = data.byte() % 32;
    // SAFETY: every pointer is to a vector or value that lives, with its length, or NULL.
    unsafe {
        match op {
            0 | 1 => {
                let text = data.text();
                pagelm_session_feed_text(s, text.as_ptr(), text.len(), data.number());
            }
            2 => {
                let ids = data.numbers();
                pagelm_session_feed_ids(s, ids.as_ptr(), ids.len());
            }
            3 | 4 => _ = pagelm_session_run(s, data.number()),
            5 => _ = pagelm_session_eval(s, data.number()),
            6 => _ = pagelm_session_sample(s, &mut data.number()),
            7 => _ = pagelm_session_accept(s, data.number()),
            8 => {
                let mut text = ptr::null();
                if pagelm_session_text(s, &mut text, &mut n) == PAGELM_OK {
                    std::hint::black_box(std::slice::from_raw_parts(text, n).to_vec());
                }
            }
            9 => {
                if pagelm_session_logits(s, data.number() as usize, &mut at, &mut n) == PAGELM_OK {
                    read(at, n);
                }
            }
            10 => {
                if pagelm_session_embedding(s, data.number(), &mut at, &mut n) == PAGELM_OK {
                    read(at, n);
                }
            }
            11 => {
                let (layer, head) = (data.number(), data.number());
                if pagelm_session_attention(s, layer, head, &mut at, &mut n) == PAGELM_OK {
                    read(at, n);
                }
            }
            12 => {
                let mut size = 0;
                pagelm_session_snapshot_size(s, &mut size);
                t.snapshot = vec![0; size];
                let p = t.snapshot.as_mut_ptr().cast();
                pagelm_session_snapshot(s, p, size, &mut n);
            }
            13 => _ = pagelm_session_restore(s, t.snapshot.as_ptr().cast(), t.snapshot.len()),
            14 | 15 => {
                // Damaged, or of another length.
                for _ in 0..1 + data.byte() % 4 {
                    let (place, byte) = (data.number() as usize, data.byte());
                    let len = t.snapshot.len().max(1);
                    if let Some(slot) = t.snapshot.get_mut(place % len) {
                        *slot = byte;
                    }
                }
                t.snapshot.resize(t.snapshot.len() + usize::from(data.byte() > 250), 0);
                pagelm_session_restore(s, t.snapshot.as_ptr().cast(), t.snapshot.len());
            }
            16 => _ = pagelm_session_reset(s),
            17 => _ = pagelm_session_set_sampling(s, &record(data)),
            18 => {
                let (ids, mut bias) = (data.numbers(), data.floats());
                bias.resize(ids.len(), 0.5);
                pagelm_session_set_logit_bias(s, ids.as_ptr(), bias.as_ptr(), ids.len());
            }
            19 => {
                let text = data.text();
                pagelm_session_add_stop(s, text.as_ptr(), text.len());
            }
            20 => _ = pagelm_session_add_stop_token(s, data.number()),
            21 => _ = pagelm_session_clear_stops(s),
            22 => {
                let (input, flags) = (data.floats(), data.number());
                pagelm_session_predict(s, input.as_ptr(), input.len(), flags, o, cap, &mut n);
            }
            23 => {
                let (ids, flags) = (data.numbers(), data.number());
                pagelm_session_predict_ids(s, ids.as_ptr(), ids.len(), flags, o, cap, &mut n);
            }
            24 => _ = pagelm_session_read_state(s, o, cap, &mut n),
            25 => {
                pagelm_session_read_state(s, o, cap, &mut n);
                for v in out.iter_mut().take(data.byte().into()) {
                    *v = f32::from_bits(data.u32());
                }
                pagelm_session_write_state(s, out.as_ptr(), n.min(cap));
            }
            26 => {
                let mut ids = vec![0; cap];
                pagelm_session_top_logprobs(s, ids.as_mut_ptr(), o, cap);
            }
            27 => _ = pagelm_session_get_info(s, &mut record(data)),
            28 => _ = pagelm_session_last_error(s, &mut record(data)),
            29 => begin(t, &record(data)),
            30 => {
                let (text, mut ids) = (data.text(), vec![0; cap]);
                let size = pagelm_tokenize_work_size(text.len());
                let mut work = vec![0u32; size.div_ceil(4)];
                let (p, w) = (text.as_ptr(), work.as_mut_ptr().cast());
                let i = ids.as_mut_ptr();
                let flags = data.number();
                pagelm_model_tokenize(t.model, p, text.len(), flags, w, size, i, cap, &mut n);
                let mut text = vec![0; data.number() as usize % 4096];
                let (p, room) = (text.as_mut_ptr(), text.len());
                pagelm_model_detokenize(t.model, i, n.min(cap), p, room, &mut n);
            }
            _ => careless(t, data),
        }
    }

}

/// What a program does by mistake: NULL, a moved handle, an odd address, areas that overlap.
unsafe fn careless(t: &mut Table, data: &mut Bytes) {
    let (s, mut n, mut moved) = (t.session, 0usize, Block::of(t.mem.bytes()));
    let null = ptr::null_mut();
    // SAFETY: as the C program that this is would have to say, there is none but the library's checks.
    unsafe {
        let status = match data.byte() % 6 {
            0 => pagelm_session_run(null, 1),
            1 => pagelm_session_run(moved.bytes().as_mut_ptr().cast(), 1),
            2 => pagelm_session_run(s.byte_add(1), 1),
            3 => pagelm_session_logits(s, 0, ptr::null_mut(), &mut n),
            4 => pagelm_session_feed_text(s, s.cast(), 16, 0),
            _ => pagelm_session_restore(s, ptr::null(), 100),
        };
        assert!(status < 0, "{status}");
    }
}
