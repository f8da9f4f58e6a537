//! The bundled filter, sample by sample, against PyTorch's outputs.
#![forbid(unsafe_code)]

use pagelm::session::Predict;
use pagelm::{Model, Session, SessionParams, probe};

/// The filter says what the signal was so many samples ago.
const DELAY: usize = 3;

fn numbers(text: &str) -> Vec<f32> {
    text.lines().map(|line| line.parse().unwrap()).collect()
}

/// How far `late` is from `signal`, `delay` samples later, once the filter has settled.
fn rms(late: &[f32], signal: &[f32], delay: usize) -> f32 {
    let pairs = late[50 + delay..].iter().zip(&signal[50..]);
    let n = (late.len() - 50 - delay) as f32;
    (pairs.map(|(a, b)| (a - b) * (a - b)).sum::<f32>() / n).sqrt()
}

#[test]
fn the_filter_gives_what_pytorch_gives() {
    let file = include_bytes!("../examples/models/denoise.gguf");
    let mut bytes = vec![0u64; file.len().div_ceil(8)];
    let bytes = &mut bytemuck::cast_slice_mut(&mut bytes)[..file.len()];
    bytes.copy_from_slice(file);
    let size = probe(file).unwrap().model_mem_size;
    let mut mem = vec![0u64; size.div_ceil(8)];
    let model = Model::load(bytes, &mut bytemuck::cast_slice_mut(&mut mem)[..size]).unwrap();
    let params = SessionParams { n_ctx: 1, n_batch: 1, ..SessionParams::default() };
    let size = Session::mem_size(&model, &params).unwrap();
    let mut session_mem = vec![0u64; size.div_ceil(8)];
    let session_mem = &mut bytemuck::cast_slice_mut(&mut session_mem)[..size];
    let mut session = Session::new(&model, session_mem, &params).unwrap();

    let noisy = numbers(include_str!("data/denoise/noisy.txt"));
    let clean = numbers(include_str!("data/denoise/clean.txt"));
    let want = numbers(include_str!("data/denoise/filtered.txt"));
    let how = Predict { stateful: true, every_step: false };
    let mut got = vec![0.0; noisy.len()];
    for (sample, output) in noisy.chunks(1).zip(got.chunks_mut(1)) {
        assert_eq!(session.predict(sample, how, output), Ok(1));
    }
    let worst = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 2e-6, "{worst}");
    let (before, after) = (rms(&noisy, &clean, 0), rms(&got, &clean, DELAY));
    assert!(after * 5.0 < before, "off by {before} before and {after} after");
}
