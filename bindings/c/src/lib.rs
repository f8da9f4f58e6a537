//! The shared and static library, and the WebAssembly module: the functions of
//! `include/pagelm.h`, which the engine defines, and what a final program
//! needs besides.
//!
//! A leaf, because a panic handler and exported names belong to whole programs
//! only: the engine stays a plain library for Rust. What is shipped aborts; a
//! development build that unwinds has the standard library's handler, so that
//! `cargo check --workspace` works.
#![cfg_attr(panic = "abort", no_std)]

pub use engine::capi::*;

// The release build holds no panic. Should one ever slip in, the name of this
// import shows up in the module, where a test looks for it.
#[cfg(all(target_arch = "wasm32", panic = "abort"))]
#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn pagelm_panic_is_reachable() -> !;
}

#[cfg(all(not(target_arch = "wasm32"), panic = "abort"))]
unsafe extern "C" {
    /// The C library's.
    fn abort() -> !;
}

#[cfg(panic = "abort")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    #[cfg(target_arch = "wasm32")]
    // SAFETY: takes nothing and does not return, as declared.
    unsafe {
        pagelm_panic_is_reachable()
    }
    #[cfg(not(target_arch = "wasm32"))]
    // SAFETY: `abort` of every C library takes nothing and does not return.
    unsafe {
        abort()
    }
}

/// Runs one case of the kernel suite in this build: 0 if it passes, 1 if not,
/// -1 if there are no more cases. One case per instruction set and block
/// format, and the last one for the conversion of half floats.
#[cfg(feature = "_check")]
#[unsafe(no_mangle)]
pub extern "C" fn pagelm_check(case: u32, seed: u32) -> i32 {
    use engine::kernels::{Isa, check};
    use engine::quant::DType;
    let case = case as usize;
    let pairs = || Isa::available().flat_map(|isa| DType::ALL.map(|dtype| (isa, dtype)));
    match pairs().nth(case) {
        Some((isa, dtype)) => i32::from(check::run(isa, dtype, seed).is_err()),
        None if case == pairs().count() => i32::from(check::halves().is_err()),
        None => -1,
    }
}
