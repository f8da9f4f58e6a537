//! Embeddings and attention weights, against float64 numpy.
//!
//! tools/reference/hidden_goldens.py makes the files and says what they hold. Errors are max|a - b| / max|b|.
#![forbid(unsafe_code)]
#![cfg(all(feature = "gpt2", feature = "rnn"))]

mod common;

use common::{Aligned, session_mem};
use pagelm::session::Predict;
use pagelm::{Error, Isa, Model, Pooling, Progress, Session, SessionParams};
use std::fs;
use std::path::PathBuf;

const BAR: f64 = 1e-5;
const KEEP: SessionParams = SessionParams {
    n_ctx: 0,
    n_batch: 0,
    max_text: 0,
    when_full: pagelm::WhenFull::Stop,
    all_logits: false,
    embedding: true,
    attention: true,
    half_cache: false,
    low_memory: false,
};

fn file(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks().0.iter().map(|&b| u32::from_le_bytes(b)).collect()
}

fn floats(words: &[u32]) -> Vec<f32> {
    words.iter().map(|&w| f32::from_bits(w)).collect()
}

struct Golden {
    n_steps: usize,
    mean: Vec<f32>,
    last: Vec<f32>,
    weights: Vec<f32>,
}

fn golden(name: &str) -> Golden {
    let words = words(&file(&format!("hidden/{name}.bin")));
    let [n_steps, n_hidden, n_weights] = [0, 1, 2].map(|i| words[i] as usize);
    assert_eq!(words.len(), 3 + 2 * n_hidden + n_weights);
    let numbers = floats(&words[3..]);
    let (mean, rest) = numbers.split_at(n_hidden);
    let (last, weights) = rest.split_at(n_hidden);
    Golden { n_steps, mean: mean.to_vec(), last: last.to_vec(), weights: weights.to_vec() }
}

fn with_model(path: &str, f: impl FnOnce(&mut Model)) {
    let mut file = Aligned::from(file(path));
    let info = pagelm::probe(file.bytes()).unwrap();
    let mut mem = Aligned::zeroed(info.model_mem_size);
    f(&mut Model::load(file.bytes_mut(), mem.bytes_mut()).unwrap());
}

fn with_session<T>(model: &Model, params: SessionParams, f: impl FnOnce(&mut Session) -> T) -> T {
    let mut mem = session_mem(model, &params);
    f(&mut Session::new(model, mem.bytes_mut(), &params).unwrap())
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let largest = |it: &mut dyn Iterator<Item = f64>| it.fold(0.0, f64::max);
    let error = largest(&mut a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs()));
    error / largest(&mut b.iter().map(|&b| f64::from(b).abs()))
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Both embeddings, the bits of all there is to see.
fn seen(session: &Session) -> (Vec<f32>, Vec<f32>, Vec<u32>) {
    let embedding = |pooling| session.embedding(pooling).unwrap().to_vec();
    let (mean, last) = (embedding(Pooling::Mean), embedding(Pooling::Last));
    let all = [bits(&mean), bits(&last)].concat();
    (mean, last, all)
}

fn weights(session: &Session) -> Vec<f32> {
    let info = session.model().info();
    let heads = (0..info.n_layer as usize)
        .flat_map(|layer| (0..info.n_head as usize).map(move |head| (layer, head)));
    heads.flat_map(|(layer, head)| session.attention(layer, head).unwrap().to_vec()).collect()
}

fn eval(session: &mut Session, budget: u32) {
    while session.eval(budget).unwrap() == Progress::More {}
}

#[test]
fn a_gpt2_shows_what_numpy_computes() {
    for name in ["tiny.f32", "odd90.f32", "odd45.f32"] {
        let golden = golden(name);
        let ids = words(&file(&format!("gpt2/{name}.bin")))[3..][..golden.n_steps].to_vec();
        let mut first = None;
        with_model(&format!("gpt2/{name}.gguf"), |model| {
            assert_eq!(model.info().n_hidden as usize, golden.mean.len());
            for isa in Isa::available() {
                model.set_isa(isa);
                for (n_batch, budget) in [(1, 0), (3, 1), (7, 0), (16, 1)] {
                    with_session(model, SessionParams { n_batch, ..KEEP }, |session| {
                        session.feed_ids(&ids).unwrap();
                        eval(session, budget);
                        let (mean, last, all) = seen(session);
                        let weights = weights(session);
                        let errors = [(&mean, &golden.mean), (&last, &golden.last)]
                            .map(|(got, want)| distance(got, want));
                        assert!(errors.iter().all(|e| *e < BAR), "{name}: {errors:?}");
                        let error = distance(&weights, &golden.weights);
                        assert!(error < BAR, "{name}: weights off by {error:e}");
                        let all = [all, bits(&weights)].concat();
                        let first = first.get_or_insert_with(|| all.clone());
                        assert!(*first == all, "{name}: batches of {n_batch}, {}", isa.name());
                    });
                }
            }
        });
    }
}

#[test]
fn a_recurrent_network_shows_what_numpy_computes() {
    for name in [
        "elman-lm.f32",
        "gru-lm.f32",
        "lstm-tied.f32",
        "gru2.f32",
        "elman3-both.f32",
        "lstm-dense.f32",
        "mlp.f32",
    ] {
        let golden = golden(name);
        let input = &words(&file(&format!("rnn/{name}.bin")))[6..];
        with_model(&format!("rnn/{name}.gguf"), |model| {
            let info = *model.info();
            assert_eq!(info.n_hidden as usize, golden.mean.len());
            let mut out = vec![0.0; info.n_output as usize];
            let check = |session: &Session| {
                let (mean, last, all) = seen(session);
                let errors = [distance(&mean, &golden.mean), distance(&last, &golden.last)];
                assert!(errors.iter().all(|e| *e < BAR), "{name}: {errors:?}");
                all
            };
            let width = info.n_input.max(1) as usize;
            let input = &input[..golden.n_steps * width];
            let whole = with_session(model, KEEP, |session| {
                match info.n_vocab {
                    0 => session.predict(&floats(input), Predict::default(), &mut out).unwrap(),
                    _ => session.predict_ids(input, Predict::default(), &mut out).unwrap(),
                };
                check(session)
            });
            if name.contains("both") {
                return;
            }
            // Step by step, and (text) in batches of any size with any budget: the same bits.
            let steps = with_session(model, KEEP, |session| {
                let on = Predict { stateful: true, every_step: false };
                for step in input.chunks(width) {
                    match info.n_vocab {
                        0 => session.predict(&floats(step), on, &mut out).unwrap(),
                        _ => session.predict_ids(step, on, &mut out).unwrap(),
                    };
                }
                check(session)
            });
            assert!(steps == whole, "{name}");
            for n_batch in [1, 5, 16].into_iter().filter(|_| info.n_vocab > 0) {
                with_session(model, SessionParams { n_batch, ..KEEP }, |session| {
                    session.feed_ids(input).unwrap();
                    eval(session, 1);
                    assert!(check(session) == whole, "{name}: batches of {n_batch}");
                });
            }
        });
    }
}

#[test]
fn a_snapshot_carries_the_embedding_and_not_the_weights() {
    for (path, n_vocab) in [("gpt2/tiny.f32.gguf", 64), ("rnn/gru-lm.f32.gguf", 23)] {
        let ids: Vec<u32> = (0..20).map(|i| i * 7 % n_vocab).collect();
        with_model(path, |model| {
            let is_gpt2 = model.info().n_head > 0;
            let (want, snapshot) = with_session(model, KEEP, |session| {
                session.feed_ids(&ids[..12]).unwrap();
                eval(session, 0);
                let mut snapshot = vec![0; session.snapshot_size().unwrap()];
                session.snapshot(&mut snapshot).unwrap();
                session.feed_ids(&ids[12..]).unwrap();
                eval(session, 0);
                (seen(session).2, snapshot)
            });
            with_session(model, KEEP, |session| {
                assert_eq!(session.embedding(Pooling::Mean), Err(Error::NoLogits));
                session.restore(&snapshot).unwrap();
                if is_gpt2 {
                    assert_eq!(session.attention(0, 0), Err(Error::NoLogits));
                }
                session.feed_ids(&ids[12..]).unwrap();
                eval(session, 0);
                assert!(seen(session).2 == want, "{path}");
                if is_gpt2 {
                    let sum: f32 = session.attention(0, 0).unwrap().iter().sum();
                    assert!((sum - 1.0).abs() < 1e-5, "{sum}");
                }
                session.reset();
                assert_eq!(session.embedding(Pooling::Last), Err(Error::NoLogits));
            });
            with_session(model, SessionParams::default(), |session| {
                let error = session.restore(&snapshot).unwrap_err();
                assert!(matches!(error, Error::BadSnapshot { .. }));
            });
        });
    }
}

#[test]
fn only_what_was_asked_for_is_kept_and_counted() {
    with_model("gpt2/tiny.f32.gguf", |model| {
        let info = *model.info();
        let size = |params| Session::mem_size(model, &params).unwrap();
        let (all, none) = (size(KEEP), size(SessionParams::default()));
        let weights = 4 * (info.n_layer * info.n_head * info.n_ctx) as usize;
        let pool = 4 * (3 * info.n_hidden as usize + 1);
        assert!((all - none).abs_diff(weights + pool) < 128, "{all} {none} {weights} {pool}");
        with_session(model, SessionParams::default(), |session| {
            session.feed_ids(&[1, 2]).unwrap();
            eval(session, 0);
            assert!(matches!(session.embedding(Pooling::Mean), Err(Error::Unsupported { .. })));
            assert!(matches!(session.attention(0, 0), Err(Error::Unsupported { .. })));
        });
        with_session(model, KEEP, |session| {
            assert_eq!(session.attention(0, 0), Err(Error::NoLogits));
            session.feed_ids(&[1, 2, 3]).unwrap();
            eval(session, 0);
            assert_eq!(session.attention(0, 0).unwrap().len(), 3);
            for (layer, head) in [(info.n_layer, 0), (0, info.n_head), (u32::MAX, u32::MAX)] {
                let got = session.attention(layer as usize, head as usize);
                assert_eq!(got, Err(Error::BadParam { name: &"head" }));
            }
            // A batch that is not done has no weights to show.
            session.feed_ids(&[4, 5]).unwrap();
            assert_eq!(session.eval(1), Ok(Progress::More));
            assert_eq!(session.attention(0, 0), Err(Error::NoLogits));
        });
    });
    with_model("rnn/gru-lm.f32.gguf", |model| {
        with_session(model, KEEP, |session| {
            assert!(matches!(session.attention(0, 0), Err(Error::Unsupported { .. })));
        });
    });
}

/// Behind a slide the embedding is that of the context, as if only it had been fed.
#[test]
fn a_slide_begins_the_embedding_anew() {
    let params = SessionParams { n_ctx: 8, when_full: pagelm::WhenFull::Slide, ..KEEP };
    with_model("gpt2/tiny.f32.gguf", |model| {
        let slid = with_session(model, params, |session| {
            for id in 1..=9 {
                session.feed_ids(&[id]).unwrap();
                eval(session, 0);
            }
            assert_eq!(session.info().n_past, 5);
            seen(session).2
        });
        let fresh = with_session(model, params, |session| {
            session.feed_ids(&[5, 6, 7, 8, 9]).unwrap();
            eval(session, 0);
            seen(session).2
        });
        assert!(slid == fresh);
    });
}
