//! A fixed amount of work, for counting its instructions: `cargo xtask test instructions`.
//!
//! ```text
//! instructions ISA REPEATS product FORMAT VECTORS    a product with 64 rows of 768 numbers
//! instructions ISA REPEATS token                     a token of a small trained model
//! instructions ISA REPEATS sample                    a draw from 50,257 by top-k and top-p
//! ```

use pagelm::kernels::{Acts, BLOCK, Isa, Quant, Weights, matmul, quantize};
use pagelm::quant::{DType, GROUP, pack_group, quantize_row};
use pagelm::sample::{Context, Rng, Scratch, choose};
use pagelm::{Model, Sampling, Session, SessionParams, Step};
use std::error::Error;
use std::hint::black_box;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const ROWS: usize = 64;
const COLS: usize = 768;
const VOCABULARY: usize = 50_257;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let [isa, repeats, what @ ..] = args.as_slice() else { return Err("see the source".into()) };
    let isa = Isa::by_name(isa).ok_or("this machine does not have it")?;
    let repeats = repeats.parse()?;
    match what {
        ["product", format, vectors] => {
            let dtype = DType::from_name(format).ok_or("no such format")?;
            product(isa, repeats, dtype, vectors.parse()?)
        }
        ["token"] => token(isa, repeats),
        ["sample"] => sample(repeats),
        _ => Err("see the source".into()),
    }
}

/// Numbers that all differ, in -1..1.
fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i as f32 * 0.37).sin()).collect()
}

fn product(isa: Isa, repeats: usize, dtype: DType, n: usize) -> Result<()> {
    let row_bytes = dtype.row_bytes(COLS).ok_or("rows are not whole blocks")?;
    let mut rows = vec![0; ROWS * row_bytes];
    let weights = numbers(ROWS * COLS);
    for (row, x) in rows.chunks_exact_mut(row_bytes).zip(weights.chunks_exact(COLS)) {
        quantize_row(dtype, x, row)?;
    }
    let mut packed = rows.clone();
    let group = row_bytes * GROUP;
    for (from, to) in rows.chunks_exact(group).zip(packed.chunks_exact_mut(group)) {
        pack_group(dtype, from, to)?;
    }
    let f = numbers(n * COLS);
    let blocks = f.len() / BLOCK;
    let (mut q, mut d, mut s) = (vec![0 as Quant; f.len()], vec![0.0; blocks], vec![0; blocks]);
    quantize(dtype, &f, &mut q, &mut d, &mut s);
    let x = Acts { f: &f, q: &q, d: &d, s: &s };
    let w = Weights { dtype, data: &packed, n_groups: ROWS / GROUP, stride: group, k: COLS };
    let mut y = vec![0.0; n * ROWS];
    for _ in 0..repeats {
        matmul(isa, black_box(w), black_box(x), n, &mut y, ROWS)?;
        black_box(&mut y);
    }
    Ok(())
}

fn bytes(len: usize) -> Vec<u64> {
    vec![0; len.div_ceil(8)]
}

fn token(isa: Isa, repeats: usize) -> Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/models/gpt2-basic-bytes.gguf");
    let read = std::fs::read(path)?;
    let mut file = bytes(read.len());
    let file = &mut bytemuck::cast_slice_mut(&mut file)[..read.len()];
    file.copy_from_slice(&read);
    let mut model_mem = bytes(pagelm::probe(file)?.model_mem_size);
    let mut model = Model::load(file, bytemuck::cast_slice_mut(&mut model_mem))?;
    model.set_isa(isa);
    let params = SessionParams::default();
    let mut mem = bytes(Session::mem_size(&model, &params)?);
    let mut session = Session::new(&model, bytemuck::cast_slice_mut(&mut mem), &params)?;
    session.set_sampling(&Sampling { ignore_eos: 1, ..Sampling::default() })?;
    session.feed_text(b"The ", false)?;
    for _ in 0..repeats {
        while session.run(0)? == Step::More {}
    }
    Ok(())
}

fn sample(repeats: usize) -> Result<()> {
    // Few that are likely, as of a trained model.
    let logits: Vec<f32> = numbers(VOCABULARY).iter().map(|x| 20.0 * x.powi(31)).collect();
    let sampling = Sampling { temperature: 0.8, top_k: 40, top_p: 0.95, ..Sampling::default() };
    let cx = Context { sampling: &sampling, recent: &[], bias: (&[], &[]) };
    let mut rng = Rng::new(1);
    let (mut work, mut ids) = (vec![0.0; VOCABULARY], vec![0; VOCABULARY]);
    for _ in 0..repeats {
        let mut scratch = Scratch { logits: &mut work, ids: &mut ids };
        black_box(choose(black_box(&logits), &cx, &mut rng, &mut scratch)?);
    }
    Ok(())
}
