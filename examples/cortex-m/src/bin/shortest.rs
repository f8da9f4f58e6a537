//! A name, invented by a model in flash: the shortest program there is.
#![no_std]
#![no_main]

#[allow(dead_code)]
#[path = "../board.rs"]
mod board;

use pagelm::{Model, Result, Session, SessionParams, Step};

/// Bytes of memory.
const ARENA: usize = 64 << 10;

/// A packed model file (`pagelm pack`), where the engine can use it in place.
#[repr(align(8))]
struct InFlash<const N: usize>([u8; N]);
static NAMES: InFlash<40352> = InFlash(*include_bytes!("../../models/names.gguf"));

fn write_a_name(out: &mut board::Console, arena: &mut [u8]) -> Result<()> {
    let size = pagelm::probe(&NAMES.0)?.model_mem_size.next_multiple_of(8);
    let (model_mem, session_mem) = arena.split_at_mut(size);
    let model = Model::from_packed(&NAMES.0, model_mem)?;
    let params = SessionParams { n_ctx: 32, low_memory: true, ..SessionParams::default() };
    let mut session = Session::new(&model, session_mem, &params)?;
    while let Step::Token(_) = session.run(0)? {
        out.write_bytes(session.text());
    }
    Ok(())
}

fn main(arena: &'static mut [u8]) -> ! {
    let ended = write_a_name(&mut board::Console::open(), arena);
    board::exit(ended.is_ok())
}
