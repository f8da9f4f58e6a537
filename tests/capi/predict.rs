//! Models as functions, and their state.

use crate::host::*;
use pagelm::capi::*;
use std::ptr;

struct Rnn {
    live: Live,
    _loaded: Loaded,
    info: pagelm_model_info,
}

fn rnn(name: &str) -> Rnn {
    let bytes = file(&format!("rnn/{name}.gguf"));
    let loaded = load(&bytes);
    let live = session(loaded.model, ptr::null());
    Rnn { live, _loaded: loaded, info: probe(&bytes).unwrap() }
}

impl Rnn {
    fn predict(&self, input: &[f32], flags: u32, cap: usize) -> Result<Vec<f32>, i32> {
        let (mut out, mut n) = (vec![f32::NAN; cap], usize::MAX);
        let (s, p, len) = (self.live.session, input.as_ptr(), input.len());
        match unsafe { pagelm_session_predict(s, p, len, flags, out.as_mut_ptr(), cap, &mut n) } {
            PAGELM_OK => {
                assert!(out[n..].iter().all(|v| v.is_nan()), "no more than it says");
                out.truncate(n);
                Ok(out)
            }
            status => {
                assert_eq!(n, usize::MAX);
                assert_eq!(self.live.last_error().0, status);
                Err(status)
            }
        }
    }

    fn ids(&self, ids: &[u32], flags: u32) -> Result<Vec<f32>, i32> {
        let (mut out, mut n) = (vec![0.0; 4096], 0);
        let (s, p, len) = (self.live.session, ids.as_ptr(), ids.len());
        let o = out.as_mut_ptr();
        match unsafe { pagelm_session_predict_ids(s, p, len, flags, o, 4096, &mut n) } {
            PAGELM_OK => Ok(out[..n].to_vec()),
            status => Err(status),
        }
    }

    fn state(&self) -> Vec<f32> {
        let (mut out, mut n) = (vec![f32::NAN; self.info.n_state as usize], 0);
        let (s, p, cap) = (self.live.session, out.as_mut_ptr(), out.len());
        assert_eq!(unsafe { pagelm_session_read_state(s, p, cap, &mut n) }, PAGELM_OK);
        assert_eq!(n, out.len());
        out
    }

    fn write(&self, state: &[f32]) -> i32 {
        unsafe { pagelm_session_write_state(self.live.session, state.as_ptr(), state.len()) }
    }
}

#[test]
fn steps_sequences_and_carried_states_agree() {
    let a = rnn("lstm2.f32");
    assert_eq!((a.info.n_input, a.info.n_output, a.info.n_state), (5, 3, 34));
    assert_eq!(
        (a.info.n_vocab, a.info.arch[..5].to_vec()),
        (0, b"lstm\0".map(|b| b as _).to_vec())
    );
    let input: Vec<f32> = (0..35).map(|i| (i as f32 * 0.7).sin()).collect();
    let every = a.predict(&input, PAGELM_EVERY_STEP, 21).unwrap();
    assert_eq!(every.len(), 7 * 3);
    assert_eq!(a.predict(&input, 0, 64).unwrap(), every[18..]);
    assert_eq!(a.predict(&input[..20], 0, 3).unwrap(), every[9..12]);
    let kept = a.state();
    for (step, want) in input[20..].chunks(5).zip(every[12..].chunks(3)) {
        assert_eq!(a.predict(step, PAGELM_STATEFUL, 3).unwrap(), want);
    }
    let b = rnn("lstm2.f32");
    assert_eq!(b.write(&kept), PAGELM_OK);
    let rest = b.predict(&input[20..], PAGELM_STATEFUL | PAGELM_EVERY_STEP, 9).unwrap();
    assert_eq!((rest, b.state()), (every[12..].to_vec(), a.state()));
}

#[test]
fn tokens_go_in_by_their_own_door() {
    let lm = rnn("gru-lm.f32");
    assert_eq!((lm.info.n_input, lm.info.n_output, lm.info.n_vocab), (0, 23, 23));
    let every = lm.ids(&[1, 2, 3], PAGELM_EVERY_STEP).unwrap();
    assert_eq!(unsafe { pagelm_session_feed_ids(lm.live.session, [4].as_ptr(), 1) }, PAGELM_OK);
    assert_eq!(unsafe { pagelm_session_eval(lm.live.session, 0) }, PAGELM_OK);
    let fed = lm.live.logits(0).unwrap();
    assert_eq!(lm.ids(&[1, 2, 3, 4], PAGELM_EVERY_STEP).unwrap(), [every, fed].concat());
    assert_eq!(lm.ids(&[23], 0), Err(PAGELM_ERROR_BAD_TOKEN));
    assert_eq!(lm.predict(&[0.0], 0, 64), Err(PAGELM_ERROR_UNSUPPORTED));
}

#[test]
fn wrong_arguments_are_refused() {
    let a = rnn("lstm1.f32");
    assert_eq!(a.predict(&[0.0; 4], 4, 64), Err(PAGELM_ERROR_BAD_PARAM), "an unknown flag");
    assert_eq!(a.predict(&[0.0; 5], 0, 64), Err(PAGELM_ERROR_BAD_INPUT));
    assert_eq!(a.predict(&[], 0, 64), Err(PAGELM_ERROR_BAD_INPUT));
    assert_eq!(a.predict(&[0.0; 8], PAGELM_EVERY_STEP, 17), Err(PAGELM_ERROR_BUFFER_TOO_SMALL));
    assert_eq!(a.write(&[0.0; 4]), PAGELM_ERROR_BAD_INPUT);
    assert_eq!(a.write(&[f32::NAN; 18]), PAGELM_ERROR_BAD_PARAM);
    let (s, mut out, mut n) = (a.live.session, [0f32; 18], 0usize);
    let (o, null) = (out.as_mut_ptr(), ptr::null_mut());
    unsafe {
        let read = pagelm_session_read_state;
        assert_eq!(read(s, o, 17, &mut n), PAGELM_ERROR_BUFFER_TOO_SMALL);
        assert_eq!(read(s, null, 18, &mut n), PAGELM_ERROR_NULL);
        assert_eq!(read(s, o, 18, ptr::null_mut()), PAGELM_ERROR_NULL);
        let predict = pagelm_session_predict;
        assert_eq!(predict(s, ptr::null(), 4, 0, o, 18, &mut n), PAGELM_ERROR_NULL);
        assert_eq!(predict(s, o, 4, 0, o, 18, &mut n), PAGELM_ERROR_OVERLAP);
        assert_eq!(predict(ptr::null_mut(), o, 4, 0, o, 18, &mut n), PAGELM_ERROR_OVERLAP);
        assert_eq!(predict(s, [0.0; 4].as_ptr(), 4, 0, null, 18, &mut n), PAGELM_ERROR_NULL);
    }
    let both = rnn("gru3-both.f32");
    assert_eq!(both.predict(&[0.0; 4], PAGELM_STATEFUL, 64), Err(PAGELM_ERROR_UNSUPPORTED));
    let gpt = rnn("../gpt2/tiny.f32");
    assert_eq!(gpt.info.n_state, 0);
    assert_eq!(gpt.ids(&[1], 0), Err(PAGELM_ERROR_UNSUPPORTED));
    assert_eq!(gpt.write(&[]), PAGELM_ERROR_UNSUPPORTED);
}
