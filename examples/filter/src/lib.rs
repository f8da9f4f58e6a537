//! A recurrent network that filters a signal, for a page or an AudioWorklet:
//! the engine as a Rust library and five functions of our own around it, which
//! is the smallest module that runs a network.
//!
//! The host writes a packed model file (`pagelm pack`) to `place()`, calls
//! `load`, and then, as often as it likes, writes samples to `input()`, calls
//! `filter` and reads as many at `output()`. `filter.mjs` is such a host.
//!
//! ```text
//! RUSTFLAGS=-Ctarget-feature=+simd128 cargo build --target wasm32-unknown-unknown --profile dist
//! cargo run --release -p pagelm-cli -- pack examples/models/denoise.gguf -o denoise.plm    # in the project's folder
//! ```
//!
//! wasm-opt makes a fifth less of it. `cargo xtask test filter` does all of
//! that and holds the outputs to PyTorch's; `target/wasm/*/pagelm-filter.wasm` is
//! the module that docs/SIZES.md weighs.
#![no_std]

use core::cell::UnsafeCell;
use core::slice;
use pagelm::session::Predict;
use pagelm::{Error, Model, Result, Session, SessionParams};

/// Bytes for the model file, the model's table and the state.
const ROOM: usize = 64 << 10;
/// The most samples in a call: a block of an AudioWorklet.
const BLOCK: usize = 128;

/// What one thread alone uses. A wasm module without shared memory has no other.
struct Own<T>(UnsafeCell<T>);

// SAFETY: there is one thread.
unsafe impl<T> Sync for Own<T> {}

impl<T> Own<T> {
    const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }
}

/// Memory at a multiple of 64, which the engine's own places are.
#[repr(C, align(64))]
struct Room {
    bytes: [u8; ROOM],
}

static MEMORY: Own<Room> = Own::new(Room { bytes: [0; ROOM] });
static INPUT: Own<[f32; BLOCK]> = Own::new([0.0; BLOCK]);
static OUTPUT: Own<[f32; BLOCK]> = Own::new([0.0; BLOCK]);
static MODEL: Own<Option<Model<'static>>> = Own::new(None);
static SESSION: Own<Option<Session<'static>>> = Own::new(None);

/// Where the model file goes. What was loaded before lies there: behind a write
/// only `load` may follow.
#[unsafe(no_mangle)]
extern "C" fn place() -> *mut u8 {
    // SAFETY: a place, not a reference; the room is a static.
    unsafe { (&raw mut (*MEMORY.0.get()).bytes).cast() }
}

/// Where the samples go, 128 at most.
#[unsafe(no_mangle)]
extern "C" fn input() -> *mut f32 {
    INPUT.0.get().cast()
}

/// Where the filtered samples are.
#[unsafe(no_mangle)]
extern "C" fn output() -> *mut f32 {
    OUTPUT.0.get().cast()
}

/// Takes the `len` bytes of the model file at `place()`; 0, or what is wrong
/// as a status of `pagelm.h`.
#[unsafe(no_mangle)]
extern "C" fn load(len: usize) -> i32 {
    status(start(len).map(|session| {
        // SAFETY: one thread, and no reference into it lives on between calls.
        unsafe { *SESSION.0.get() = Some(session) };
        0
    }))
}

/// Runs the network over the first `n` numbers at `input()`, from where it was;
/// how many numbers are at `output()` now, or a status.
#[unsafe(no_mangle)]
extern "C" fn filter(n: usize) -> i32 {
    // SAFETY: one thread, and the host does nothing while this runs.
    let (session, input, output) =
        unsafe { (&mut *SESSION.0.get(), &*INPUT.0.get(), &mut *OUTPUT.0.get()) };
    let Some(session) = session else { return Error::NotLoaded.code() };
    let Some(input) = input.get(..n) else { return Error::BadInput { need: BLOCK }.code() };
    let how = Predict { stateful: true, every_step: true };
    status(session.predict(input, how, output).map(|n| n as i32))
}

/// A session of the model file, in what the file leaves of the room.
fn start(len: usize) -> Result<Session<'static>> {
    // SAFETY: one thread, and no reference into them lives on between calls.
    unsafe {
        *SESSION.0.get() = None;
        *MODEL.0.get() = None;
    }
    if len > ROOM {
        return Err(Error::TooLarge);
    }
    let at = len.next_multiple_of(64);
    // SAFETY: nothing refers to the room any more. Both parts are in it (`len` is, and 64 divides
    // its size), and apart.
    let (file, mem) = unsafe {
        (slice::from_raw_parts(place(), len), slice::from_raw_parts_mut(place().add(at), ROOM - at))
    };
    let size = pagelm::probe(file)?.model_mem_size.next_multiple_of(64);
    let (model_mem, mem) =
        mem.split_at_mut_checked(size).ok_or(Error::OutOfMemory { need: size })?;
    let model = Model::from_packed(file, model_mem)?;
    // SAFETY: one thread; the session that refers to it is dropped before it, above.
    let model = unsafe { (*MODEL.0.get()).insert(model) };
    Session::new(model, mem, &SessionParams::default())
}

fn status(result: Result<i32>) -> i32 {
    result.unwrap_or_else(|error| error.code())
}

unsafe extern "C" {
    /// The build has no panic. Should one ever slip in, the name of this import shows up in the
    /// module, where a test looks for it.
    #[link_name = "pagelm_panic_is_reachable"]
    fn panicked() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: takes nothing and does not return, as declared.
    unsafe { panicked() }
}
