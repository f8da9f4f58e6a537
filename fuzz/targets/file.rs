//! Any bytes as a model file: refused with an error, or a model that runs.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pagelm::session::Predict;
use pagelm::{Loader, Model, Pooling, Result, Session, SessionParams, Step, WhenFull};
use pagelm_fuzz::Block;

/// A file may ask for more memory or work than a fuzzer's turn has.
const MOST: usize = 1 << 22;

fuzz_target!(|data: &[u8]| {
    let _ = load(data);
});

fn load(data: &[u8]) -> Result<()> {
    let info = pagelm::probe(data)?;
    if info.model_mem_size > MOST || info.work_per_token > 64 {
        return Ok(());
    }
    let (mut file, mut mem) = (Block::of(data), Block::new(info.model_mem_size));
    let (file, mem) = (file.bytes(), mem.bytes());
    if info.packed {
        return run(&Model::from_packed(file, mem)?);
    }
    // In three pieces, as from a slow network.
    let size = file.len();
    let header = info.header_size.min(size);
    let mut loader = Loader::new(&file[..header], size, mem)?;
    for arrived in [header, header + (size - header) / 2, size] {
        loader.advance(&mut file[..arrived])?;
    }
    run(&loader.finish(file)?)
}

fn run(model: &Model) -> Result<()> {
    let info = model.info();
    let params = SessionParams {
        n_ctx: info.n_ctx.min(12),
        n_batch: if info.n_head > 0 { 4 } else { 0 },
        when_full: WhenFull::Slide,
        embedding: true,
        attention: true,
        ..SessionParams::default()
    };
    let size = Session::mem_size(model, &params)?;
    if size > MOST {
        return Ok(());
    }
    let mut mem = Block::new(size);
    let mut session = Session::new(model, mem.bytes(), &params)?;
    let _ = session.feed_text(b"a b\xffc<|endoftext|>", true);
    let _ = session.feed_ids(&[0, 1, 2]);
    for _ in 0..40 {
        match session.run(1) {
            Ok(Step::Finished(_)) | Err(_) => break,
            Ok(_) => {}
        }
    }
    let _ = (session.embedding(Pooling::Mean).is_ok(), session.attention(0, 0).is_ok());
    let mut snapshot = vec![0; session.snapshot_size()?];
    session.snapshot(&mut snapshot)?;
    session.restore(&snapshot)?;
    let steps = 3;
    let mut out = vec![0.0; session.predict_len(steps, true)?.min(MOST)];
    let how = Predict { stateful: false, every_step: true };
    let _ = session.predict_ids(&[0, 1, 0], how, &mut out);
    let input = vec![0.25; (info.n_input as usize * steps).min(MOST)];
    session.predict(&input, how, &mut out)?;
    Ok(())
}
