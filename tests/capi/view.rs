//! Numbers shown where they lie: embeddings, attention weights.

use crate::host::*;
use pagelm::capi::*;
use std::ptr;

type Shown = Result<Vec<f32>, i32>;

/// What a call showed, by the address and the length it gave.
fn shown(call: impl FnOnce(*mut *const f32, *mut usize) -> i32) -> Shown {
    let (mut numbers, mut n) = (ptr::null(), usize::MAX);
    match call(&mut numbers, &mut n) {
        PAGELM_OK => Ok(unsafe { std::slice::from_raw_parts(numbers, n) }.to_vec()),
        status => {
            assert!(numbers.is_null() && n == usize::MAX, "nothing is written");
            Err(status)
        }
    }
}

fn embedding(s: *const pagelm_session, pooling: u32) -> Shown {
    shown(|numbers, n| unsafe { pagelm_session_embedding(s, pooling, numbers, n) })
}

fn attention(s: *const pagelm_session, layer: u32, head: u32) -> Shown {
    shown(|numbers, n| unsafe { pagelm_session_attention(s, layer, head, numbers, n) })
}

fn asking(flags: u32) -> pagelm_session_params {
    pagelm_session_params { flags, ..sized!(pagelm_session_params) }
}

#[test]
fn a_text_becomes_a_vector_and_heads_show_their_weights() {
    let bytes = bytes_model();
    let (loaded, info) = (load(&bytes), probe(&bytes).unwrap());
    assert_eq!((info.n_hidden, info.n_embd), (info.n_embd, info.n_hidden));
    let live = session(loaded.model, &asking(PAGELM_EMBEDDING | PAGELM_ATTENTION));
    let s = live.session;
    assert_eq!(embedding(s, PAGELM_POOL_MEAN), Err(PAGELM_ERROR_NO_LOGITS));
    assert_eq!(attention(s, 0, 0), Err(PAGELM_ERROR_NO_LOGITS));
    assert_eq!(live.feed(b"one"), PAGELM_OK);
    assert_eq!(unsafe { pagelm_session_eval(s, 0) }, PAGELM_OK);
    let (mean, last) = (embedding(s, PAGELM_POOL_MEAN), embedding(s, PAGELM_POOL_LAST));
    assert_eq!(mean.as_ref().map(Vec::len), Ok(info.n_hidden as usize));
    assert_ne!(mean, last);
    for (layer, head) in (0..info.n_layer).flat_map(|l| (0..info.n_head).map(move |h| (l, h))) {
        let weights = attention(s, layer, head).unwrap();
        let sum: f32 = weights.iter().sum();
        assert!(weights.len() == 3 && (sum - 1.0).abs() < 1e-5, "{weights:?}");
    }
    assert_eq!(attention(s, info.n_layer, 0), Err(PAGELM_ERROR_BAD_PARAM));
    assert_eq!(attention(s, 0, info.n_head), Err(PAGELM_ERROR_BAD_PARAM));
    assert_eq!(embedding(s, 2), Err(PAGELM_ERROR_BAD_PARAM));
    assert_eq!(embedding(ptr::null(), 0), Err(PAGELM_ERROR_NULL));
    let (mut numbers, mut n, null) = (ptr::null(), 0, ptr::null_mut());
    unsafe {
        assert_eq!(pagelm_session_embedding(s, 0, ptr::null_mut(), &mut n), PAGELM_ERROR_NULL);
        assert_eq!(pagelm_session_attention(s, 0, 0, &mut numbers, null), PAGELM_ERROR_NULL);
    }
    // A token more is a position more; one token alone is its own mean.
    assert_eq!(live.run(0), PAGELM_TOKEN);
    assert_eq!(unsafe { pagelm_session_eval(s, 0) }, PAGELM_OK);
    assert_eq!(attention(s, 0, 0).unwrap().len(), 4);
    assert_eq!(unsafe { pagelm_session_reset(s) }, PAGELM_OK);
    assert_eq!(live.feed(b"a"), PAGELM_OK);
    assert_eq!(unsafe { pagelm_session_eval(s, 0) }, PAGELM_OK);
    assert_eq!(embedding(s, PAGELM_POOL_MEAN), embedding(s, PAGELM_POOL_LAST));
    assert_eq!(attention(s, 0, 0), Ok(vec![1.0]));
}

#[test]
fn nothing_is_kept_unasked() {
    let loaded = load(&bytes_model());
    let live = session(loaded.model, ptr::null());
    assert_eq!(live.feed(b"one"), PAGELM_OK);
    assert_eq!(unsafe { pagelm_session_eval(live.session, 0) }, PAGELM_OK);
    assert_eq!(embedding(live.session, PAGELM_POOL_MEAN), Err(PAGELM_ERROR_UNSUPPORTED));
    assert_eq!(attention(live.session, 0, 0), Err(PAGELM_ERROR_UNSUPPORTED));
    let (mut size, params) = (0, asking(32));
    let status = unsafe { pagelm_session_mem_size(loaded.model, &params, &mut size) };
    assert_eq!((status, size), (PAGELM_ERROR_BAD_PARAM, 0), "an unknown flag");
    let sizes =
        [0, PAGELM_EMBEDDING, PAGELM_ATTENTION].map(|f| session_size(loaded.model, &asking(f)));
    assert!(sizes[1] > sizes[0] && sizes[2] > sizes[0], "{sizes:?}");
}

#[cfg(feature = "rnn")]
#[test]
fn a_recurrent_networks_embedding_is_its_last_layers_output() {
    let bytes = file("rnn/lstm2.f32.gguf");
    let loaded = load(&bytes);
    let live = session(loaded.model, &asking(PAGELM_EMBEDDING | PAGELM_ATTENTION));
    let (s, input, mut out, mut n) = (live.session, [0.5; 10], [0.0; 3], 0);
    let status =
        unsafe { pagelm_session_predict(s, input.as_ptr(), 10, 0, out.as_mut_ptr(), 3, &mut n) };
    assert_eq!(status, PAGELM_OK);
    let mut state = vec![0.0; 34];
    let read = unsafe { pagelm_session_read_state(s, state.as_mut_ptr(), 34, &mut n) };
    assert_eq!(read, PAGELM_OK);
    // Layers of 10 and 7 numbers, of each h, then c.
    assert_eq!(embedding(s, PAGELM_POOL_LAST).unwrap(), state[20..27]);
    assert_eq!(probe(&bytes).unwrap().n_hidden, 7);
    assert_eq!(attention(s, 0, 0), Err(PAGELM_ERROR_UNSUPPORTED));
}
