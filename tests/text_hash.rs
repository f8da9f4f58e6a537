//! The same text everywhere: two fixed requests, 64 tokens each, on every
//! instruction set of this machine. `cargo xtask test hosts` holds the programs,
//! Node.js and the browsers to the same hashes.

use pagelm::{Isa, Model, Sampling, Session, SessionParams, Step};

const PROMPT: &[u8] = b"The ";
const TOKENS: usize = 64;

/// FNV-1a, 64 bits, over the ids as little-endian `u32`.
fn hash(ids: &[u32]) -> u64 {
    ids.iter().flat_map(|id| id.to_le_bytes()).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn generate(model: &str, isa: Isa, sampling: &Sampling) -> Vec<u32> {
    let path = format!("{}/examples/models/{model}", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(path).unwrap();
    let mut file = vec![0u64; bytes.len().div_ceil(8)];
    let file = &mut bytemuck::cast_slice_mut(&mut file)[..bytes.len()];
    file.copy_from_slice(&bytes);
    let info = pagelm::probe(file).unwrap();
    let mut mem = vec![0u64; info.model_mem_size.div_ceil(8)];
    let mut model = Model::load(file, bytemuck::cast_slice_mut(&mut mem)).unwrap();
    model.set_isa(isa);
    let params = SessionParams::default();
    let mut mem = vec![0u64; Session::mem_size(&model, &params).unwrap().div_ceil(8)];
    let mut session = Session::new(&model, bytemuck::cast_slice_mut(&mut mem), &params).unwrap();
    session.set_sampling(sampling).unwrap();
    session.feed_text(PROMPT, false).unwrap();
    let mut ids = Vec::new();
    while ids.len() < TOKENS {
        match session.run(0).unwrap() {
            Step::More => {}
            Step::Token(id) => ids.push(id),
            Step::Finished(why) => panic!("finished: {why:?}"),
        }
    }
    ids
}

#[test]
fn every_isa_writes_the_same_text() {
    let greedy = Sampling::default();
    let sampled = Sampling { temperature: 0.8, seed: 42, ..Sampling::default() };
    for isa in Isa::available() {
        // Read by `cargo xtask test aarch64`, to see which were there.
        println!("isa {}", isa.name());
        let ids = generate("gpt2-basic-lexicon.gguf", isa, &greedy);
        assert_eq!(format!("{:016x}", hash(&ids)), "0f452fa7a70c3f84", "{}", isa.name());
        let ids = generate("gpt2-basic-bytes.gguf", isa, &sampled);
        assert_eq!(format!("{:016x}", hash(&ids)), "166b3f2a5d968e12", "{}", isa.name());
    }
}
