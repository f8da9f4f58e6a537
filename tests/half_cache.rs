//! Sessions that keep attention's keys and values in F16.
#![forbid(unsafe_code)]
#![cfg(all(feature = "gpt2", feature = "quant"))]

mod common;

use common::{Aligned, session_mem};
use pagelm::{Isa, Model, Progress, Session, SessionParams, Step};
use std::fs;
use std::path::PathBuf;

const HALF: SessionParams = SessionParams {
    n_ctx: 0,
    n_batch: 0,
    max_text: 0,
    when_full: pagelm::WhenFull::Stop,
    all_logits: false,
    embedding: false,
    attention: false,
    half_cache: true,
    low_memory: false,
};
const IDS: [u32; 9] = [3, 1, 4, 1, 5, 9, 2, 6, 5];

fn with_model(name: &str, f: impl FnOnce(&mut Model)) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/gpt2").join(name);
    let mut file = Aligned::from(fs::read(&path).unwrap());
    let mut mem = Aligned::zeroed(pagelm::probe(file.bytes()).unwrap().model_mem_size);
    f(&mut Model::load(file.bytes_mut(), mem.bytes_mut()).unwrap());
}

/// The logits behind IDS, and the session that made them as a snapshot.
fn logits(model: &Model, params: SessionParams) -> (Vec<f32>, Vec<u8>) {
    let mut mem = session_mem(model, &params);
    let mut session = Session::new(model, mem.bytes_mut(), &params).unwrap();
    session.feed_ids(&IDS).unwrap();
    while session.eval(1).unwrap() == Progress::More {}
    let logits = session.logits().unwrap().to_vec();
    let mut snapshot = vec![0; session.snapshot_size().unwrap()];
    session.snapshot(&mut snapshot).unwrap();
    (logits, snapshot)
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn it_is_near_and_the_same_for_every_kernel_and_batch() {
    with_model("tiny.f32.gguf", |model| {
        let (exact, _) = logits(model, SessionParams { half_cache: false, ..HALF });
        let (want, _) = logits(model, HALF);
        let largest = exact.iter().fold(0f32, |a, x| a.max(x.abs()));
        let off = exact.iter().zip(&want).fold(0f32, |a, (x, y)| a.max((x - y).abs()));
        assert!(off > 0.0 && off < largest * 2e-3, "{off} of {largest}");
        for isa in Isa::available() {
            model.set_isa(isa);
            for n_batch in [1, 2, 5, 16] {
                let (got, _) = logits(model, SessionParams { n_batch, ..HALF });
                assert_eq!(bits(&got), bits(&want), "{} {n_batch}", isa.name());
            }
        }
    });
}

#[test]
fn it_takes_half_the_memory_and_its_snapshots_are_its_own() {
    with_model("tiny.f32.gguf", |model| {
        let whole = SessionParams { half_cache: false, ..HALF };
        let size = |params| session_mem(model, params).bytes().len();
        let info = *model.info();
        let cache = 2 * 4 * (info.n_layer * info.n_ctx) as usize * info.n_embd as usize;
        let saved = size(&whole) - size(&HALF);
        assert!(saved.abs_diff(cache / 2) < 512, "{saved} bytes of {cache}");
        let (want, snapshot) = logits(model, HALF);
        let mut mem = session_mem(model, &HALF);
        let mut session = Session::new(model, mem.bytes_mut(), &HALF).unwrap();
        session.restore(&snapshot).unwrap();
        assert_eq!(bits(session.logits().unwrap()), bits(&want));
        let next = |session: &mut Session| {
            session.feed_ids(&[7]).unwrap();
            while session.eval(0).unwrap() == Progress::More {}
            bits(session.logits().unwrap())
        };
        let after = next(&mut session);
        let mut mem = session_mem(model, &HALF);
        let mut straight = Session::new(model, mem.bytes_mut(), &HALF).unwrap();
        straight.feed_ids(&IDS).unwrap();
        assert_eq!(next(&mut straight), after);
        let mut mem = session_mem(model, &whole);
        let mut other = Session::new(model, mem.bytes_mut(), &whole).unwrap();
        assert!(other.restore(&snapshot).is_err());
    });
}

/// A text longer than the context, in which the older half is forgotten; again after a reset.
#[test]
fn it_slides_and_begins_anew_as_every_kernel_does() {
    with_model("tiny.f32.gguf", |model| {
        let params =
            SessionParams { n_ctx: 7, when_full: pagelm::WhenFull::Slide, attention: true, ..HALF };
        let mut all = vec![];
        for isa in Isa::available() {
            model.set_isa(isa);
            let mut mem = session_mem(model, &params);
            let mut session = Session::new(model, mem.bytes_mut(), &params).unwrap();
            let text = |session: &mut Session| {
                session.feed_ids(&IDS[..3]).unwrap();
                let mut ids = vec![];
                while ids.len() < 12 {
                    match session.run(1).unwrap() {
                        Step::Token(id) => ids.push(id),
                        Step::More => {}
                        Step::Finished(why) => panic!("{why:?}"),
                    }
                }
                while session.eval(1).unwrap() == Progress::More {}
                let sum: f32 = session.attention(0, 0).unwrap().iter().sum();
                assert!((sum - 1.0).abs() < 1e-5, "{sum}");
                ids
            };
            let first = text(&mut session);
            session.reset();
            assert_eq!(text(&mut session), first);
            all.push(first);
        }
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
    });
}

#[test]
fn heads_of_an_odd_size_stay_as_they_are() {
    with_model("odd45.f32.gguf", |model| {
        let info = *model.info();
        assert_eq!(info.n_embd / info.n_head % 2, 1);
        let (want, _) = logits(model, SessionParams { half_cache: false, ..HALF });
        assert_eq!(bits(&logits(model, HALF).0), bits(&want));
    });
}
