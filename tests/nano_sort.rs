//! gpt-nano-sort, a trained model: it sorts, and every stage of its first layer, every layer's output and the logits are
//! what its authors published.
//!
//! tools/reference/nano_sort_data.py makes the files and says how they are laid out.
#![forbid(unsafe_code)]
#![cfg(feature = "gpt2")]

mod common;

use common::{Aligned, session_mem};
use pagelm::arena::Reserve;
use pagelm::models::gpt2::{Config, State};
use pagelm::models::{Batch, Cursor};
use pagelm::tensor::Budget;
use pagelm::{Model, Session, SessionParams, Step};
use std::collections::BTreeMap;
use std::fs;

/// The published numbers are PyTorch's in float32.
const BAR: f32 = 1e-5;

struct Stage {
    name: String,
    width: usize,
    /// (n_inputs, n_pos, width)
    values: Vec<f32>,
}

struct Partials {
    /// (n_inputs, n_pos)
    inputs: Vec<Vec<u32>>,
    stages: Vec<Stage>,
}

/// Reads numbers off the front of a file.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(n);
        self.0 = rest;
        taken
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes(4).try_into().unwrap())
    }

    fn size(&mut self) -> usize {
        self.u32() as usize
    }
}

fn data(name: &str) -> Vec<u8> {
    fs::read(format!("{}/tests/data/nano-sort/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn partials() -> Partials {
    let file = data("partials.bin");
    let mut c = Reader(&file);
    let (n_inputs, n_pos) = (c.size(), c.size());
    let inputs = (0..n_inputs).map(|_| (0..n_pos).map(|_| c.u32()).collect()).collect();
    let mut stages = Vec::new();
    while !c.0.is_empty() {
        let len = c.size();
        let name = String::from_utf8(c.bytes(len).to_vec()).unwrap();
        let width = c.size();
        let values = (0..n_inputs * n_pos * width).map(|_| f32::from_bits(c.u32())).collect();
        stages.push(Stage { name, width, values });
    }
    Partials { inputs, stages }
}

fn with_model<T>(f: impl FnOnce(&Model) -> T) -> T {
    let mut file = Aligned::from(data("nano-sort.f32.gguf"));
    let size = pagelm::probe(file.bytes()).unwrap().model_mem_size;
    let mut mem = Aligned::zeroed(size);
    f(&Model::load(file.bytes_mut(), mem.bytes_mut()).unwrap())
}

/// Every input there is: 3 to the 6th, so all of any 200.
#[test]
fn all_729_inputs_are_sorted() {
    with_model(|model| {
        let params = SessionParams::default();
        let mut mem = session_mem(model, &params);
        let mut session = Session::new(model, mem.bytes_mut(), &params).unwrap();
        for n in 0..729u32 {
            let mut input: Vec<u32> = (0..6).map(|i| n / 3u32.pow(i) % 3).collect();
            session.reset();
            session.feed_ids(&input).unwrap();
            let sorted: Vec<u32> = (0..6).map(|_| token(&mut session)).collect();
            input.sort_unstable();
            assert_eq!(sorted, input, "input {n}");
        }
    });
}

fn token(session: &mut Session) -> u32 {
    match session.run(0).unwrap() {
        Step::Token(id) => id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_stage_is_as_published() {
    let partials = partials();
    let mut seen = BTreeMap::new();
    with_model(|model| {
        for (i, input) in partials.inputs.iter().enumerate() {
            for n_batch in [1, 4, 16] {
                let traced = trace(model, input, n_batch);
                for stage in &partials.stages {
                    let ours = traced
                        .get(&stage.name)
                        .unwrap_or_else(|| panic!("no stage {}", stage.name));
                    let published =
                        &stage.values[i * input.len() * stage.width..][..input.len() * stage.width];
                    let error = furthest(ours, published);
                    assert!(error < BAR, "{}: {error:e}", stage.name);
                    let worst = seen.entry(stage.name.clone()).or_insert(0f32);
                    *worst = worst.max(error);
                }
            }
        }
    });
    assert_eq!(seen.len(), 12);
    println!("{seen:?}");
}

/// Runs the network stage by stage, and keeps what each leaves behind.
fn trace(model: &Model, ids: &[u32], n_batch: usize) -> BTreeMap<String, Vec<f32>> {
    let net = model.as_gpt2().unwrap();
    let Config { n_ctx, n_layer, .. } = *net.config();
    let mut count = Reserve::count();
    State::lay(&mut count, net.config(), n_ctx, n_batch, false);
    let mut mem = Aligned::zeroed(count.finish().unwrap());
    let mut carve = Reserve::carve(mem.bytes_mut());
    let mut state = State::lay(&mut carve, net.config(), n_ctx, n_batch, false);
    carve.finish().unwrap();
    let mut traced = BTreeMap::<String, Vec<f32>>::new();
    for (i, ids) in ids.chunks(n_batch).enumerate() {
        let batch = Batch { ids, pos: i * n_batch, logits_from: 0 };
        let (mut cursor, mut budget) = (Cursor::default(), Budget::new(0));
        let mut logits = vec![0.0; ids.len() * net.config().n_vocab];
        let mut keep = |name: String, of: &[f32], width: usize| {
            traced.entry(name).or_default().extend_from_slice(&of[..ids.len() * width]);
        };
        let Config { n_embd, n_ff, n_vocab, .. } = *net.config();
        let mut next = |state: &mut State, logits: &mut [f32]| {
            assert!(
                net.stage(model.isa(), state, batch, (&mut cursor, &mut budget), logits).unwrap()
            );
        };
        next(&mut state, &mut logits);
        keep("embedding".into(), state.x, n_embd);
        for layer in 0..n_layer {
            let blk = |stage: &str| format!("blk.{layer}.{stage}");
            next(&mut state, &mut logits);
            keep(blk("attn_norm"), state.h, n_embd);
            keep(blk("attn_qkv"), state.qkv, 3 * n_embd);
            next(&mut state, &mut logits);
            keep(blk("attention"), state.att, n_embd);
            next(&mut state, &mut logits);
            keep(blk("attn_out"), state.x, n_embd);
            next(&mut state, &mut logits);
            keep(blk("ffn_norm"), state.h, n_embd);
            keep(blk("ffn_act"), state.ff, n_ff);
            next(&mut state, &mut logits);
            keep(blk("out"), state.x, n_embd);
        }
        next(&mut state, &mut logits);
        keep("output_norm".into(), state.h, n_embd);
        keep("logits".into(), &logits, n_vocab);
    }
    traced
}

fn furthest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().all(|a| a.is_finite()));
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
