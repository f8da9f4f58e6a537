//! Text on a bare Cortex-M4: no operating system, no allocator, no crate but
//! the engine. The models lie in read-only memory and are used where they lie;
//! one static arena is all the memory there is.
//!
//! It prints each text and a hash of its tokens, which is the same on every
//! machine. docs/BARE_METAL.md explains; `board.rs` is the board.
#![no_std]
#![no_main]

mod board;

use board::{Console, exit};
use core::fmt::Write;
use pagelm::{Model, Result, Sampling, Session, SessionParams, Step};

/// A packed model file (`pagelm pack`), where the engine can use it in place.
#[repr(align(8))]
struct InFlash<const N: usize>([u8; N]);

/// A text to write.
struct Text<'a> {
    name: &'a str,
    model: &'a [u8],
    prompt: &'a str,
    sampling: Sampling,
}

macro_rules! in_flash {
    ($file:literal) => {{
        const FILE: &[u8] = include_bytes!(concat!("../models/", $file));
        static MODEL: InFlash<{ FILE.len() }> =
            InFlash(*include_bytes!(concat!("../models/", $file)));
        &MODEL.0
    }};
}

const TOKENS: usize = 64;
/// Bytes of memory for a model and its text; each first line says how many it took.
const ARENA: usize = 288 << 10;

fn texts() -> [Text<'static>; 3] {
    let greedy = Sampling::default();
    [
        Text {
            name: "greedy",
            model: in_flash!("gpt2-basic-lexicon.gguf"),
            prompt: "The ",
            sampling: greedy,
        },
        Text {
            name: "sampled",
            model: in_flash!("gpt2-basic-bytes.gguf"),
            prompt: "The ",
            sampling: Sampling { temperature: 0.8, seed: 42, ..greedy },
        },
        Text {
            name: "names",
            model: in_flash!("names.gguf"),
            prompt: "",
            sampling: Sampling { temperature: 0.8, seed: 7, ignore_eos: 1, ..greedy },
        },
    ]
}

/// Writes one text; the arena is free again afterwards.
fn write(out: &mut Console, text: &Text<'_>, arena: &mut [u8]) -> Result<()> {
    let info = pagelm::probe(text.model)?;
    let (model_mem, rest) = arena.split_at_mut(info.model_mem_size.next_multiple_of(8));
    let model = Model::from_packed(text.model, model_mem)?;
    let params =
        SessionParams { n_ctx: 128.min(info.n_ctx), low_memory: true, ..SessionParams::default() };
    let used = info.model_mem_size + Session::mem_size(&model, &params)?;
    let mut session = Session::new(&model, rest, &params)?;
    session.set_sampling(&text.sampling)?;
    if !text.prompt.is_empty() {
        session.feed_text(text.prompt.as_bytes(), false)?;
    }
    let _ = writeln!(out, "{}: {} bytes in flash, {used} of RAM", text.name, text.model.len());
    let (mut tokens, mut hash) = (0, 0xcbf2_9ce4_8422_2325);
    while tokens < TOKENS {
        let step = session.run(0)?;
        out.write_bytes(session.text());
        match step {
            Step::Token(id) => (tokens, hash) = (tokens + 1, fnv1a(hash, id)),
            Step::More => {}
            Step::Finished(_) => break,
        }
    }
    session.release_text();
    out.write_bytes(session.text());
    let _ = writeln!(out, "\n{}: {tokens} tokens, hash {hash:016x}", text.name);
    Ok(())
}

/// FNV-1a, 64 bits, over a token's four bytes.
fn fnv1a(hash: u64, id: u32) -> u64 {
    let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    id.to_le_bytes().into_iter().fold(hash, step)
}

/// Where the board's reset goes.
fn main(arena: &'static mut [u8]) -> ! {
    let mut out = Console::open();
    for text in texts() {
        if let Err(error) = write(&mut out, &text, arena) {
            let _ = writeln!(out, "{}: {error}", text.name);
            exit(false);
        }
    }
    board::end_by_writing_to(texts()[0].model)
}
