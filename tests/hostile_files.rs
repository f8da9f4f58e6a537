//! Files that are cut short, damaged or hostile: an error that says what, never a panic.

mod common;

use common::Aligned;
use pagelm::{Error, Model, Session, SessionParams};

fn tiny() -> Vec<u8> {
    std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/gpt2/tiny.f32.gguf")).unwrap()
}

/// Loads a file and, if that works, runs three tokens.
fn use_it(bytes: &[u8]) -> Result<(), Error> {
    let info = pagelm::probe(bytes)?;
    // A damaged header may ask for any size; a caller would say no to this one.
    if info.model_mem_size > 1 << 26 {
        return Err(Error::TooLarge);
    }
    let mut file = Aligned::zeroed(bytes.len());
    file.bytes_mut().copy_from_slice(bytes);
    let mut mem = Aligned::zeroed(info.model_mem_size);
    let model = Model::load(file.bytes_mut(), mem.bytes_mut())?;
    let params = SessionParams::default();
    let size = Session::mem_size(&model, &params)?;
    if size > 1 << 28 {
        return Err(Error::TooLarge);
    }
    let mut mem = Aligned::zeroed(size);
    let mut session = Session::new(&model, mem.bytes_mut(), &params)?;
    session.feed_ids(&[1, 2, 3])?;
    session.run(0).map(|_| ())
}

/// xorshift64*
fn random(state: &mut u64) -> usize {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize
}

#[test]
fn the_file_itself_works() {
    assert_eq!(use_it(&tiny()), Ok(()));
}

#[test]
fn every_truncation_is_told() {
    let bytes = tiny();
    let header = pagelm::probe(&bytes).unwrap().header_size;
    for len in (0..header).chain((header..bytes.len()).step_by(997)) {
        match use_it(&bytes[..len]) {
            Err(Error::Truncated { need }) => assert!(need > len && need <= bytes.len(), "{len}"),
            other => panic!("{len}: {other:?}"),
        }
    }
}

#[test]
fn damaged_headers_never_panic() {
    let good = tiny();
    let header = pagelm::probe(&good).unwrap().header_size;
    let mut state = 0x9E37_79B9_7F4A_7C15;
    let mut refused = 0;
    for _ in 0..3000 {
        let mut bytes = good.clone();
        for _ in 0..1 + random(&mut state) % 3 {
            let at = random(&mut state) % header;
            bytes[at] = random(&mut state) as u8;
        }
        refused += usize::from(use_it(&bytes).is_err());
    }
    assert!(refused > 1000, "{refused}: most damage is noticed");
}

#[test]
fn numbers_that_are_not_finite_are_found_in_matrices_and_vectors() {
    let good = tiny();
    let gguf = pagelm::gguf::Gguf::parse(&good).unwrap();
    let places: Vec<_> = gguf.tensors().map(|t| (t.offset, t.n_dims)).collect();
    assert!(places.iter().any(|(_, n)| *n == 1) && places.iter().any(|(_, n)| *n == 2));
    for (offset, _) in places {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut bytes = good.clone();
            bytes[offset..offset + 4].copy_from_slice(&bad.to_le_bytes());
            assert_eq!(use_it(&bytes), Err(Error::NotFinite { offset }));
        }
    }
}

#[test]
fn other_files_are_named_for_what_they_are() {
    assert_eq!(use_it(b"<!doctype html><html>"), Err(Error::BadMagic));
    let mut version = tiny();
    version[4] = 9;
    assert_eq!(use_it(&version), Err(Error::BadVersion { version: 9 }));
    let mut arch = tiny();
    let at = arch.windows(4).position(|w| w == b"gpt2").unwrap();
    arch[at] = b'q';
    assert_eq!(use_it(&arch), Err(Error::UnsupportedArch { offset: at }));
}

/// Weights may be finite and still make numbers that are not: an answer of no use, but an answer.
#[test]
fn activations_that_overflow_are_no_panic() {
    let mut bytes = std::fs::read("tests/data/gpt2/tiny.q8_0.gguf").unwrap();
    let gguf = pagelm::gguf::Gguf::parse(&bytes).unwrap();
    let norms: Vec<_> =
        gguf.tensors().filter(|t| t.name.ends_with(b"norm.weight")).map(|t| t.range()).collect();
    assert!(norms.len() > 2);
    for norm in norms {
        for (i, weight) in bytes[norm].chunks_exact_mut(4).enumerate() {
            let large = if i % 2 == 0 { f32::MAX } else { 1e30 };
            weight.copy_from_slice(&large.to_le_bytes());
        }
    }
    let _ = use_it(&bytes);
}
