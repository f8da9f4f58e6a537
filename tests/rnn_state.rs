//! What a recurrent network keeps from step to step: stopping anywhere, going on, saving, setting, never filling up;
//! and what it refuses. The models are those of tests/rnn_golden.rs.
#![forbid(unsafe_code)]
#![cfg(feature = "rnn")]

mod common;

use common::{Aligned, all_logits, session_mem};
use pagelm::arena::Reserve;
use pagelm::models::rnn::{Batch, Input, State};
use pagelm::models::{Cursor, Model};
use pagelm::session::Predict;
use pagelm::tensor::Budget;
use pagelm::{Error, Progress, Sampling, Session, SessionParams, Step};
use std::fs;
use std::path::PathBuf;

const ON: Predict = Predict { stateful: true, every_step: false };
const ANEW: Predict = Predict { stateful: false, every_step: false };

fn file(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    fs::read(folder.join(format!("{name}.gguf"))).unwrap()
}

/// Loads a file and hands the model on.
fn load<R>(bytes: Vec<u8>, f: impl FnOnce(&Model) -> R) -> Result<R, Error> {
    let mut file = Aligned::from(bytes);
    let mut mem = Aligned::zeroed(pagelm::probe(file.bytes())?.model_mem_size);
    Ok(f(&Model::load(file.bytes_mut(), mem.bytes_mut())?))
}

fn with_model<R>(name: &str, f: impl FnOnce(&Model) -> R) -> R {
    load(file(&format!("rnn/{name}")), f).unwrap()
}

fn with_session<R>(model: &Model, params: SessionParams, f: impl FnOnce(&mut Session) -> R) -> R {
    let mut mem = session_mem(model, &params);
    f(&mut Session::new(model, mem.bytes_mut(), &params).unwrap())
}

fn ids(n: usize, n_vocab: u32) -> Vec<u32> {
    let mut seed = 9u32;
    (0..n)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) % n_vocab
        })
        .collect()
}

fn vectors(n: usize) -> Vec<f32> {
    ids(n, 2000).iter().map(|&i| i as f32 / 1000.0 - 1.0).collect()
}

fn bits(x: &[f32]) -> Vec<u32> {
    assert!(!x.is_empty() && x.iter().all(|v| v.is_finite()));
    x.iter().map(|v| v.to_bits()).collect()
}

fn state(session: &Session) -> Vec<u32> {
    bits(session.read_state().unwrap())
}

#[test]
fn ten_thousand_steps_are_one_sequence() {
    let input = vectors(10_000 * 32);
    with_model("elman-q.q8_0", |model| {
        let run = |session: &mut Session, pieces: usize, how: Predict| {
            let mut out = vec![0.0; session.predict_len(1, false).unwrap()];
            for piece in input.chunks(pieces * 32) {
                session.predict(piece, how, &mut out).unwrap();
            }
            (bits(&out), state(session))
        };
        with_session(model, SessionParams::default(), |session| {
            let whole = run(session, 10_000, ANEW);
            session.reset();
            assert!(run(session, 1, ON) == whole);
            session.reset();
            assert!(run(session, 77, ON) == whole);
        });
    });
}

#[test]
fn ten_thousand_tokens_are_one_sequence_for_text_too() {
    with_model("lstm-q.q4_0", |model| {
        let ids = ids(10_000, 40);
        let mut out = [0.0; 40];
        let (want, kept) = with_session(model, SessionParams::default(), |session| {
            session.predict_ids(&ids, ANEW, &mut out).unwrap();
            (bits(&out), state(session))
        });
        // A queue of 64 tokens, a history that forgets: the state knows all of it.
        let params = SessionParams { n_ctx: 64, ..SessionParams::default() };
        with_session(model, params, |session| {
            for piece in ids.chunks(23) {
                session.feed_ids(piece).unwrap();
                assert_eq!(session.eval(0), Ok(Progress::Ready));
            }
            assert!(bits(session.logits().unwrap()) == want && state(session) == kept);
            assert_eq!(session.info().n_past, 10_000);
        });
    });
}

/// The table of the first layer's products is memory for time, and no bit else:
/// whatever of a batch it knows already, and wherever the work stops.
#[test]
fn the_table_of_tokens_changes_no_bit() {
    let bundled = ["names", "shakespeare"].map(|name| format!("../../../examples/models/{name}"));
    let random = ["lstm-q.f32", "lstm-q.f16", "lstm-q.q8_0", "lstm-q.q4_0"].map(String::from);
    for name in random.into_iter().chain(bundled) {
        with_model(&name, |model| {
            let config = *model.as_rnn().unwrap().config();
            assert!(config.n_table > 0, "{name}");
            let ids = ids(200, config.n_vocab as u32);
            let run = |low_memory: bool, budget: u32| {
                let params = SessionParams { low_memory, all_logits: true, ..Default::default() };
                let size = Session::mem_size(model, &params).unwrap();
                let rows = with_session(model, params, |session| {
                    let mut rows = Vec::new();
                    for piece in ids.chunks(7).chain(ids.chunks(16)) {
                        session.feed_ids(piece).unwrap();
                        while session.eval(budget) == Ok(Progress::More) {}
                        rows.push(bits(session.logits().unwrap()));
                    }
                    (rows, state(session))
                });
                (size, rows)
            };
            let (with, without) = (run(false, 0), run(true, 0));
            assert!(with.0 >= without.0 + 4 * config.n_table, "{name}: {} {}", with.0, without.0);
            assert!(with.1 == without.1 && run(false, 1).1 == without.1, "{name}");
        });
    }
}

/// Every place where the work can stop: one piece of a product per call.
#[test]
fn work_can_be_stopped_anywhere() {
    for name in ["elman-q.q4_0", "gru-q.q8_0", "gru-before-q.q8_0", "lstm-q.f16", "lstm-dense.f32"]
    {
        with_model(name, |model| {
            let net = model.as_rnn().unwrap();
            let config = *net.config();
            let n = 5;
            let (tokens, numbers) = (ids(n, 40), vectors(n * config.n_input));
            let input = match config.n_vocab {
                0 => Input::Vectors(&numbers),
                _ => Input::Ids(&tokens),
            };
            let batch = Batch { input, n, from: 0, logits: false };
            let run = |budget: &dyn Fn() -> Budget| {
                let mut count = Reserve::count();
                State::lay(&mut count, &config, n, (0, config.n_table));
                let mut mem = Aligned::zeroed(count.finish().unwrap());
                let mut state = State::lay(
                    &mut Reserve::carve(mem.bytes_mut()),
                    &config,
                    n,
                    (0, config.n_table),
                );
                net.reset(&mut state);
                let (mut out, mut cursor) = (vec![0.0; n * config.n_output], Cursor::default());
                let mut calls = 1;
                while !net
                    .forward(model.isa(), &mut state, batch, (&mut cursor, &mut budget()), &mut out)
                    .unwrap()
                {
                    assert!(state.kept.iter().all(|v| *v == 0.0), "kept before it is done");
                    calls += 1;
                }
                (calls, bits(&out), bits(state.kept))
            };
            let whole = run(&|| Budget::new(0));
            let pieces = run(&|| {
                let mut budget = Budget::new(1);
                budget.spend(Budget::UNIT - 1);
                budget
            });
            assert!(whole.0 == 1 && pieces.0 > 30, "{name}: {} calls", pieces.0);
            assert!((pieces.1, pieces.2) == (whole.1, whole.2), "{name}");
        });
    }
}

/// Generates by sampling, with a budget; the ids.
fn generate(session: &mut Session, n: usize, budget: u32) -> Vec<u32> {
    let mut out = Vec::new();
    while out.len() < n {
        match session.run(budget).unwrap() {
            Step::Token(id) => out.push(id),
            Step::More => {}
            Step::Finished(why) => panic!("{why:?}"),
        }
    }
    out
}

#[test]
fn snapshots_go_on_as_if_nothing_had_happened() {
    let sampling = Sampling { temperature: 0.9, top_k: 12, seed: 5, ..Sampling::default() };
    with_model("lstm-q.q8_0", |model| {
        let params = SessionParams { n_ctx: 48, ..SessionParams::default() };
        let want = with_session(model, params, |session| {
            session.set_sampling(&sampling).unwrap();
            session.feed_ids(&ids(40, 40)).unwrap();
            generate(session, 200, 0)
        });
        // Stopped in the middle of a batch of the prompt, and in the middle of the text.
        for stop in [0, 1, 3, 30] {
            let mut snapshot = Vec::new();
            let mut got = with_session(model, params, |session| {
                session.set_sampling(&sampling).unwrap();
                session.feed_ids(&ids(40, 40)).unwrap();
                for _ in 0..stop.min(3) {
                    session.eval(1).unwrap();
                }
                let got = if stop < 30 { Vec::new() } else { generate(session, stop, 0) };
                snapshot.resize(session.snapshot_size().unwrap(), 0);
                session.snapshot(&mut snapshot).unwrap();
                got
            });
            with_session(model, params, |session| {
                session.restore(&snapshot).unwrap();
                got.extend(generate(session, 200 - got.len(), 1));
            });
            assert_eq!(got, want, "stopped at {stop}");
        }
    });
}

#[test]
fn snapshots_have_one_size_however_long_the_text() {
    with_model("gru-lm.f32", |model| {
        let params = SessionParams { n_ctx: 16, ..SessionParams::default() };
        with_session(model, params, |session| {
            session.feed_ids(&[1]).unwrap();
            let mut sizes: Vec<_> = (0..4)
                .map(|_| {
                    generate(session, 500, 0);
                    session.snapshot_size().unwrap()
                })
                .collect();
            sizes.sort_unstable();
            assert!(sizes[3] < sizes[0] + 4 * 16, "{sizes:?}");
            assert_eq!((session.info().n_past, session.info().n_ctx), (2000, 16));
        });
    });
}

#[test]
fn a_state_can_be_carried_over() {
    with_model("lstm2.f32", |model| {
        let input = vectors(8 * 5);
        let (before, after) = input.split_at(5 * 5);
        let mut out = [0.0; 3];
        let (want, kept) = with_session(model, SessionParams::default(), |session| {
            session.predict(&input, ANEW, &mut out).unwrap();
            let want = bits(&out);
            session.predict(before, ANEW, &mut out).unwrap();
            (want, session.read_state().unwrap().to_vec())
        });
        assert_eq!(kept.len(), 2 * (10 + 7));
        with_session(model, SessionParams::default(), |session| {
            session.write_state(&kept).unwrap();
            session.predict(after, ON, &mut out).unwrap();
            assert_eq!(bits(&out), want);
            // The state a sequence begins with is the file's, not zeros.
            session.reset();
            assert!(session.read_state().unwrap().iter().all(|v| *v != 0.0));
        });
    });
}

#[test]
fn text_and_predict_share_one_state() {
    with_model("gru-lm.f32", |model| {
        let all = ids(60, 23);
        let want = bits(&all_logits(model, &all, 16)[59 * 23..]);
        with_session(model, SessionParams::default(), |session| {
            let mut out = [0.0; 23];
            session.predict_ids(&all[..20], ANEW, &mut out).unwrap();
            session.feed_ids(&all[20..59]).unwrap();
            // Begun and put off: the call in between goes first, so this must not be lost or counted twice.
            assert_eq!(session.eval(0), Ok(Progress::Ready));
            session.predict_ids(&all[59..], ON, &mut out).unwrap();
            assert_eq!(bits(&out), want);
            assert_eq!(session.logits(), Err(Error::NoLogits), "of a state that is gone");
        });
    });
}

/// It failed, and says why.
fn refuses<T: std::fmt::Debug>(got: Result<T, Error>, words: &str) {
    let text = got.expect_err(words).to_string();
    assert!(text.contains(words), "{text}\nlacks: {words}");
}

#[test]
fn lengths_and_kinds_of_input_are_checked() {
    let session = |name: &str, f: &mut dyn FnMut(&mut Session)| {
        with_model(name, |model| with_session(model, SessionParams::default(), f));
    };
    let mut out = [0.0; 64];
    session("lstm1.f32", &mut |s| {
        assert_eq!(s.predict(&[0.0; 7], ANEW, &mut out), Err(Error::BadInput { need: 4 }));
        assert_eq!(s.predict(&[], ANEW, &mut out), Err(Error::BadInput { need: 1 }));
        refuses(s.predict(&[0.0; 4], ANEW, &mut out[..8]), "buffer");
        refuses(s.predict_ids(&[0], ANEW, &mut out), "use predict");
        refuses(s.feed_ids(&[0]), "use predict");
        assert_eq!(s.feed_text(b"a", false), Err(Error::NoTokenizer));
        assert_eq!(s.run(0), Err(Error::NothingFed));
        assert_eq!(s.write_state(&[0.0; 17]), Err(Error::BadInput { need: 18 }));
        let mut wrong = [0.0; 18];
        wrong[3] = f32::NAN;
        refuses(s.write_state(&wrong), "the parameter state");
    });
    session("gru-lm.f32", &mut |s| refuses(s.predict(&[0.0], ANEW, &mut out), "use predict_ids"));
    session("gru3-both.f32", &mut |s| {
        refuses(s.predict(&[0.0; 4], ON, &mut out), "bidirectional");
        let long = s.predict(&vec![0.0; 4 * 1025], ANEW, &mut out);
        assert_eq!(long, Err(Error::BadInput { need: 1024 }));
        assert_eq!(s.predict(&[0.0; 4], ANEW, &mut out), Ok(3));
    });
    session("lstm-flat.f32", &mut |s| {
        assert_eq!(s.predict(&[0.0; 8], ANEW, &mut out), Err(Error::BadInput { need: 5 }));
        assert_eq!(s.predict(&[0.0; 10], ANEW, &mut out), Ok(1));
    });
    session("embed-flat.f32", &mut |s| {
        s.feed_ids(&[1, 2]).unwrap();
        refuses(s.eval(0), "use predict");
        refuses(s.predict_ids(&[0, 1, 2, 17], ANEW, &mut out), "17");
    });
    session("elman2-relu.f32", &mut |s| {
        assert_eq!(s.predict(&[f32::MAX; 4 * 9], ANEW, &mut out), Err(Error::Overflow));
    });
}

#[cfg(feature = "gpt2")]
#[test]
fn a_transformer_has_no_such_state() {
    load(file("gpt2/tiny.f32"), |model| {
        with_session(model, SessionParams::default(), |s| {
            refuses(s.predict_ids(&[1], ANEW, &mut [0.0; 320]), "transformer");
            refuses(s.read_state(), "transformer");
            refuses(s.state_len(), "transformer");
            refuses(s.write_state(&[]), "transformer");
        });
    })
    .unwrap();
}

/// Loads the file with every `from` replaced.
fn edited(name: &str, from: &str, to: &str) -> Result<(), Error> {
    assert_eq!(from.len(), to.len());
    let mut bytes = file(&format!("rnn/{name}"));
    let places: Vec<_> =
        (0..bytes.len()).filter(|&i| bytes[i..].starts_with(from.as_bytes())).collect();
    assert!(!places.is_empty(), "there to be edited");
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    load(bytes, |_| ())
}

#[test]
fn what_a_file_leaves_open_or_contradicts_is_named() {
    for (name, from, to, words) in [
        ("lstm1.f32", "ifgo", "ifog", "key gate_order has"),
        ("lstm1.f32", "gate_order", "gate_0rder", "lacks the metadata key gate_order"),
        ("gru1.f32", "reset_after", "reset_befor", "lacks the metadata key reset_after"),
        ("gru1.f32", "hidden_lengths", "hidden_length_", "lacks the metadata key hidden_lengths"),
        ("gru1.f32", "block_count", "block_c0unt", "lacks the metadata key block_count"),
        ("gru1.f32", "input_length", "inputs_langt", "lacks the metadata key embedding_length"),
        ("gru-hard.f32", "hard_sigmoid_6", "hard_sigmoid_7", "key recurrent_activation has"),
        ("gru-hard.f32", "hard_sigmoid_6", "none          ", "key recurrent_activation has"),
        ("gru-relu.f32", "relu", "selu", "key candidate_activation has"),
        ("elman2-relu.f32", "relu", "tahn", "key activation has"),
        ("elman3-both.f32", "softmax", "softmin", "key dense_activations has"),
        (
            "lstm1.f32",
            "rnn_hh.weight",
            "rnn_HH.weight",
            "lacks the tensor rnn_hh.weight of layer 0",
        ),
        ("gru-before.f32", "blk.1.rnn_hn.w", "blk.1.rnn_HN.w", "rnn_hn.weight of layer 1"),
        ("gru3-both.f32", "rnn_ih_rev.w", "rnn_ih_ref.w", "rnn_ih_rev.weight of layer 0"),
        ("elman1.f32", "dense.0.weight", "dense.1.weight", "dense.weight of layer 0"),
        ("lstm-dense.f32", "input_dense.1.w", "input_dense.9.w", "input_dense.weight of layer 1"),
        // What is optional must fit, too.
        ("gru1.f32", "blk.0.rnn_ih.bias", "blk.0.rnn_hn.bias", "rnn_hn.bias of layer 0"),
        ("gru1.f32", "blk.0.rnn_ih.bias", "blk.0.rnn_hh.bias", "described twice"),
    ] {
        refuses(edited(name, from, to), words);
    }
}

/// Any damage is an error or a model that still gives an answer.
#[test]
fn damaged_files_never_panic() {
    let mut seed = 3u32;
    let mut random = |n: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize % n
    };
    let (mut ran, mut refused) = (0, 0);
    for name in
        ["lstm3-both.f32", "gru-before.f32", "elman-lm.f32", "lstm-flat.f32", "lstm-tied.f32"]
    {
        let good = file(&format!("rnn/{name}"));
        let info = pagelm::probe(&good).unwrap();
        let header = info.header_size;
        for size in (0..info.file_size).step_by(41) {
            assert!(load(good[..size].to_vec(), |_| ()).is_err(), "{size} bytes");
        }
        for _ in 0..1500 {
            let mut bytes = good.clone();
            for _ in 0..1 + random(3) {
                bytes[random(header)] = [0, 1, 2, 7, 255, b'0', b'.'][random(7)];
            }
            match load(bytes, use_it) {
                Ok(()) => ran += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(ran > 500 && refused > 500, "{ran} ran, {refused} refused");
}

fn use_it(model: &Model) {
    let params = SessionParams { n_ctx: 8, n_batch: 4, ..SessionParams::default() };
    // A damaged size may ask for more than any machine has.
    if Session::mem_size(model, &params).is_ok_and(|size| size < 1 << 26) {
        with_session(model, params, |session| {
            let n = session.predict_len(4, false).unwrap_or(0).min(1 << 20);
            let mut out = vec![0.0; n];
            let width = model.info().n_input as usize;
            let _ = session.predict(&vec![0.5; width.min(1 << 20) * 4], ANEW, &mut out);
            let _ = session.predict_ids(&[0, 1, 2, 3], ANEW, &mut out);
            let _ = session.feed_ids(&[0, 1]).and_then(|()| session.eval(0));
        });
    }
}
