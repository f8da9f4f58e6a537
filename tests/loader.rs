//! A file that arrives in pieces becomes the same model as one that is there at once.

mod common;

use common::{Aligned, all_logits};
use pagelm::{Error, Loader, Model};
use std::path::Path;

/// Models of every weight format, with and without tokenizers, rows that are no whole groups among them.
fn files() -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["tests/data/gpt2", "examples/models"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "gguf") {
                files.push((path.display().to_string(), std::fs::read(&path).unwrap()));
            }
        }
    }
    assert!(files.len() > 10);
    files
}

/// Feeds the loader pieces of up to `most` bytes; what has not arrived is rubbish until then.
fn in_pieces<R>(
    bytes: &[u8],
    most: usize,
    then: impl FnOnce(&Model) -> R,
) -> Result<(R, Vec<u8>), Error> {
    let info = pagelm::probe(bytes)?;
    let mut file = Aligned::from(vec![0xAA; bytes.len()]);
    let mut mem = Aligned::from(vec![0x55; info.model_mem_size]);
    let mut arrived = info.header_size;
    file.bytes_mut()[..arrived].copy_from_slice(&bytes[..arrived]);
    let mut loader = Loader::new(&file.bytes()[..arrived], bytes.len(), mem.bytes_mut())?;
    let mut step = 1;
    while !loader.advance(&mut file.bytes_mut()[..arrived])? {
        let to = (arrived + step).min(bytes.len());
        file.bytes_mut()[arrived..to].copy_from_slice(&bytes[arrived..to]);
        (arrived, step) = (to, step * 7 % most + 1);
    }
    let result = then(&loader.finish(file.bytes_mut())?);
    Ok((result, file.bytes().to_vec()))
}

fn at_once<R>(bytes: &[u8], then: impl FnOnce(&Model) -> R) -> Result<(R, Vec<u8>), Error> {
    let mut file = Aligned::from(bytes.to_vec());
    let mut mem = Aligned::zeroed(pagelm::probe(bytes)?.model_mem_size);
    let result = then(&Model::load(file.bytes_mut(), mem.bytes_mut())?);
    Ok((result, file.bytes().to_vec()))
}

/// What a model makes of a text, if it takes texts, and of ids.
fn use_it(model: &Model) -> (Vec<u32>, Vec<f32>) {
    let text = b"The cat, a 2nd one\n";
    let mut ids = Vec::new();
    let mut work = vec![0; pagelm::tokenizer::Tokenizer::work_size(text.len())];
    // Not every vocabulary has these characters.
    let _ = model.tokenizer().encode(text, false, &mut work, &mut |id| {
        ids.push(id);
        Ok(())
    });
    let is_gpt = model.info().arch.starts_with(b"gpt2");
    (ids, if is_gpt { all_logits(model, &[1, 2, 0], 2) } else { Vec::new() })
}

#[test]
fn pieces_of_any_size_become_the_same_model() {
    for (name, bytes) in files() {
        let (want, packed) = at_once(&bytes, use_it).unwrap();
        for most in [61, 4093, 300_007] {
            let (got, file) = in_pieces(&bytes, most, use_it).unwrap();
            assert!(file == packed, "{name} in pieces of up to {most}: other bytes");
            assert_eq!(got, want, "{name} in pieces of up to {most}");
        }
    }
}

#[test]
fn a_weight_that_is_no_number_is_found_at_the_same_place() {
    let (_, bytes) = files().into_iter().find(|(name, _)| name.contains("tiny.f32")).unwrap();
    let start = pagelm::probe(&bytes).unwrap().header_size;
    for place in (start + 64..bytes.len() - 4).step_by(bytes.len() / 40) {
        let mut bad = bytes.clone();
        bad[place & !3..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
        let want = at_once(&bad, |_| ()).unwrap_err();
        assert!(matches!(want, Error::NotFinite { .. }), "{want:?}");
        assert_eq!(in_pieces(&bad, 997, |_| ()).unwrap_err(), want);
    }
}
