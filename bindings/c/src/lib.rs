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
/// format, then one for the conversion of half floats and one for the functions.
#[cfg(feature = "_check")]
#[unsafe(no_mangle)]
pub extern "C" fn pagelm_check(case: u32, seed: u32) -> i32 {
    use engine::kernels::{Isa, check};
    use engine::quant::DType;
    let case = case as usize;
    let mut pairs = Isa::available().flat_map(|isa| DType::ALL.map(|dtype| (isa, dtype)));
    let n_pairs = pairs.clone().count();
    let result = match pairs.nth(case) {
        Some((isa, dtype)) => check::run(isa, dtype, seed),
        None if case == n_pairs => check::halves(),
        None if case == n_pairs + 1 => check::functions(seed),
        None => return -1,
    };
    i32::from(result.is_err())
}

/// Multiplies `n` vectors by `n_groups` groups of `k` columns, all of it in the
/// caller's memory at `at`: f32 (n, k), room for the quantised form of it, the
/// results, and the packed weights, 64 bytes apart at least. Returns the
/// address behind the weights; with `at` of 0 nothing is done but that.
///
/// # Safety
/// Memory of that size at `at`, a multiple of 64.
#[cfg(feature = "_check")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_check_product(
    dtype: u32,
    k: usize,
    n_groups: usize,
    n: usize,
    at: *mut u8,
    times: u32,
) -> usize {
    use core::slice::{from_raw_parts, from_raw_parts_mut};
    use engine::kernels::{Acts, Isa, Weights, matmul, quantize};
    let Some(dtype) = engine::quant::DType::from_ggml(dtype) else { return 0 };
    let stride = dtype.row_bytes(k).unwrap_or(0) * 8;
    let mut end = at as usize;
    let mut take = |bytes: usize| {
        let from = end;
        end = (end + bytes).next_multiple_of(64);
        from
    };
    let (blocks, rows) = (n * k / 32, n_groups * 8);
    let (f, q, d, s) = (take(4 * n * k), take(2 * n * k), take(4 * blocks), take(4 * blocks));
    let (y, w) = (take(4 * n * rows), take(stride * n_groups));
    if !at.is_null() {
        // SAFETY: the caller's memory; the parts do not overlap.
        unsafe {
            let f = from_raw_parts(f as *const f32, n * k);
            let q = from_raw_parts_mut(q as *mut i16, n * k);
            let d = from_raw_parts_mut(d as *mut f32, blocks);
            let s = from_raw_parts_mut(s as *mut i32, blocks);
            let y = from_raw_parts_mut(y as *mut f32, n * rows);
            let data = from_raw_parts(w as *const u8, stride * n_groups);
            for _ in 0..times {
                if dtype.is_quantized() {
                    quantize(dtype, f, q, d, s);
                }
                let w = Weights { dtype, data, n_groups, stride, k };
                let _ = matmul(Isa::detect(), w, Acts { f, q, d, s }, n, y, rows);
            }
        }
    }
    end
}
