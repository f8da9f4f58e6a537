//! Kernels for WebAssembly's fixed 128-bit SIMD, chosen when the module is built.
//!
//! Rows 0..4 of a group are one vector and rows 4..8 another. Eight-bit
//! weights are widened as they are loaded; the activations are 16-bit already,
//! so one `i32x4.dot_i16x8_s` multiplies two rows by four activations. It
//! leaves two sums per row, which are added once per block: integers, so the
//! order does not matter.

use super::Product;
use core::arch::wasm32::*;

/// Pointers into one product.
///
/// Every pointer below is moved only inside the sizes that `Product::check`
/// established: w over `n_groups` groups of `k` columns, x over `n` vectors of
/// `k`, y over `n` rows of `n_groups * 8`.
#[derive(Clone, Copy)]
struct Raw {
    w: *const u8,
    q: *const i16,
    d: *const f32,
    s: *const i32,
    f: *const f32,
    y: *mut f32,
    k: usize,
}

/// Calls `tile2`, where there is one, for two vectors at once, and `tile1` for
/// what is left, group by group.
///
/// # Safety
/// `p` passed `Product::check`; the tiles stay inside what [`Raw`] states, for
/// the two vectors `k`, `k / 32` and `y_stride` elements apart.
#[inline(never)]
unsafe fn for_each_tile(
    p: &mut Product<'_, '_>,
    tile1: unsafe fn(Raw, usize),
    tile2: Option<unsafe fn(Raw, usize)>,
) {
    let (k, blocks) = (p.w.k, p.w.k / 32);
    for g in 0..p.w.n_groups {
        let mut t = 0;
        while t < p.n {
            // SAFETY: g < n_groups and t < n, so every offset is inside its slice (check()).
            // The slices a format does not use are empty and their pointers unused:
            // wrapping arithmetic keeps computing them harmless.
            unsafe {
                let raw = Raw {
                    w: p.w.data.as_ptr().add(g * p.w.stride),
                    q: p.x.q.as_ptr().wrapping_add(t * k),
                    d: p.x.d.as_ptr().wrapping_add(t * blocks),
                    s: p.x.s.as_ptr().wrapping_add(t * blocks),
                    f: p.x.f.as_ptr().wrapping_add(t * k),
                    y: p.y.as_mut_ptr().add(t * p.y_stride + g * 8),
                    k,
                };
                t += match tile2 {
                    Some(tile2) if t + 1 < p.n => {
                        tile2(raw, p.y_stride);
                        2
                    }
                    _ => {
                        tile1(raw, p.y_stride);
                        1
                    }
                };
            }
        }
    }
}

#[inline(always)]
unsafe fn load(p: *const u8) -> v128 {
    // SAFETY: the caller's pointer is good for 16 bytes; v128.load takes any alignment.
    unsafe { v128_load(p.cast()) }
}

/// Half precision in the upper 16 bits of each lane, to single.
///
/// Moved down three places the exponent and fraction stand where f32 has them,
/// short of a factor 2^112, which also makes subnormals right.
#[inline(always)]
fn half_high_to_f32(v: v128) -> v128 {
    let bits = v128_and(i32x4_shr(v, 3), u32x4_splat(0x8fff_e000));
    f32x4_mul(bits, f32x4_splat(5.192_297e33))
}

/// The eight half-precision scales at `p`, as two vectors.
#[inline(always)]
unsafe fn scales(p: *const u8) -> [v128; 2] {
    // SAFETY: the caller's pointer is good for 16 bytes.
    let halves = unsafe { load(p) };
    let zero = u16x8_splat(0);
    let low = i16x8_shuffle::<8, 0, 9, 1, 10, 2, 11, 3>(halves, zero);
    let high = i16x8_shuffle::<8, 4, 9, 5, 10, 6, 11, 7>(halves, zero);
    [half_high_to_f32(low), half_high_to_f32(high)]
}

pub(super) fn f32(p: &mut Product<'_, '_>) {
    // SAFETY: `p` was checked by the caller, matmul().
    unsafe { for_each_tile(p, f32_tile, None) }
}

/// # Safety
/// As [`for_each_tile`] asks, for one vector.
unsafe fn f32_tile(raw: Raw, _: usize) {
    let mut acc = [[f32x4_splat(0.0); 2]; 4];
    // SAFETY: k words of eight rows, k activations, eight results: see Raw.
    unsafe {
        let (mut w, x) = (raw.w, raw.f);
        let whole = raw.k & !3;
        let mut i = 0;
        while i < whole {
            for (part, acc) in acc.iter_mut().enumerate() {
                add_f32(acc, w.add(part * 32), x.add(i + part));
            }
            w = w.add(128);
            i += 4;
        }
        for (part, acc) in acc.iter_mut().enumerate().take(raw.k - whole) {
            add_f32(acc, w.add(part * 32), x.add(i + part));
        }
        store_folded(raw.y, acc);
    }
}

#[inline(always)]
unsafe fn add_f32(acc: &mut [v128; 2], w: *const u8, x: *const f32) {
    // SAFETY: the caller's pointers are good for 32 bytes and one number.
    unsafe {
        let x = v128_load32_splat(x.cast());
        acc[0] = f32x4_add(acc[0], f32x4_mul(load(w), x));
        acc[1] = f32x4_add(acc[1], f32x4_mul(load(w.add(16)), x));
    }
}

#[inline(always)]
unsafe fn store_folded(y: *mut f32, p: [[v128; 2]; 4]) {
    for half in 0..2 {
        let sum = f32x4_add(f32x4_add(p[0][half], p[1][half]), f32x4_add(p[2][half], p[3][half]));
        // SAFETY: the caller's pointer is good for eight numbers.
        unsafe { v128_store(y.add(half * 4).cast(), sum) };
    }
}

pub(super) fn f16(p: &mut Product<'_, '_>) {
    // SAFETY: `p` was checked by the caller, matmul().
    unsafe { for_each_tile(p, f16_tile, None) }
}

/// # Safety
/// As [`for_each_tile`] asks, for one vector.
unsafe fn f16_tile(raw: Raw, _: usize) {
    let mut acc = [[f32x4_splat(0.0); 2]; 4];
    // SAFETY: k / 2 words of eight rows, k activations, eight results: see Raw.
    unsafe {
        let (mut w, x) = (raw.w, raw.f);
        let whole = raw.k & !3;
        let mut i = 0;
        while i < whole {
            let [a, b, c, d] = &mut acc;
            add_f16(a, b, w, x.add(i));
            add_f16(c, d, w.add(32), x.add(i + 2));
            w = w.add(64);
            i += 4;
        }
        if i < raw.k {
            let [a, b, ..] = &mut acc;
            add_f16(a, b, w, x.add(i));
        }
        store_folded(raw.y, acc);
    }
}

#[inline(always)]
unsafe fn add_f16(even: &mut [v128; 2], odd: &mut [v128; 2], w: *const u8, x: *const f32) {
    // SAFETY: the caller's pointers are good for 32 bytes and two numbers.
    unsafe {
        let x0 = v128_load32_splat(x.cast());
        let x1 = v128_load32_splat(x.add(1).cast());
        for half in 0..2 {
            let pair = load(w.add(half * 16));
            let w0 = half_high_to_f32(i32x4_shl(pair, 16));
            let w1 = half_high_to_f32(pair);
            even[half] = f32x4_add(even[half], f32x4_mul(w0, x0));
            odd[half] = f32x4_add(odd[half], f32x4_mul(w1, x1));
        }
    }
}

/// Integer sums of one block and vector: rows (0,1), (2,3), (4,5), (6,7), two sums each.
type Dots = [v128; 4];

/// Adds the dots to the rows' sums, scaled.
#[inline(always)]
fn add_block(acc: &mut [v128; 2], dots: Dots, less: v128, d: [v128; 2], xd: v128) {
    for half in 0..2 {
        let (a, b) = (dots[half * 2], dots[half * 2 + 1]);
        let sum = i32x4_add(i32x4_shuffle::<0, 2, 4, 6>(a, b), i32x4_shuffle::<1, 3, 5, 7>(a, b));
        let sum = f32x4_convert_i32x4(i32x4_sub(sum, less));
        acc[half] = f32x4_add(acc[half], f32x4_mul(sum, f32x4_mul(d[half], xd)));
    }
}

#[inline(always)]
unsafe fn store_tile<const T: usize>(raw: Raw, y_stride: usize, acc: [[v128; 2]; T]) {
    for (t, acc) in acc.iter().enumerate() {
        // SAFETY: vector t's eight results: see Raw.
        unsafe {
            let y = raw.y.add(t * y_stride);
            v128_store(y.cast(), acc[0]);
            v128_store(y.add(4).cast(), acc[1]);
        }
    }
}

pub(super) fn q8_0(p: &mut Product<'_, '_>) {
    // SAFETY: `p` was checked by the caller, matmul().
    unsafe { for_each_tile(p, q8_0_tile::<1>, Some(q8_0_tile::<2>)) }
}

/// # Safety
/// As [`for_each_tile`] asks.
unsafe fn q8_0_tile<const T: usize>(raw: Raw, y_stride: usize) {
    let mut acc = [[f32x4_splat(0.0); 2]; T];
    let blocks = raw.k / 32;
    let mut w = raw.w;
    for b in 0..blocks {
        // SAFETY: block b of the group (16 + 256 bytes) and of each vector: see Raw.
        unsafe {
            let d = scales(w);
            let mut dots = [[i32x4_splat(0); 4]; T];
            for step in 0..8 {
                let word = w.add(16 + step * 32);
                let rows = [
                    i16x8_load_extend_i8x8(word.cast()),
                    i16x8_load_extend_i8x8(word.add(8).cast()),
                    i16x8_load_extend_i8x8(word.add(16).cast()),
                    i16x8_load_extend_i8x8(word.add(24).cast()),
                ];
                for (t, dots) in dots.iter_mut().enumerate() {
                    let x = v128_load64_splat(raw.q.add(t * raw.k + b * 32 + step * 4).cast());
                    for (dot, row) in dots.iter_mut().zip(rows) {
                        *dot = i32x4_add(*dot, i32x4_dot_i16x8(row, x));
                    }
                }
            }
            for (t, acc) in acc.iter_mut().enumerate() {
                let xd = v128_load32_splat(raw.d.add(t * blocks + b).cast());
                add_block(acc, dots[t], i32x4_splat(0), d, xd);
            }
            w = w.add(272);
        }
    }
    // SAFETY: as this function's own.
    unsafe { store_tile(raw, y_stride, acc) };
}

pub(super) fn q4_0(p: &mut Product<'_, '_>) {
    // SAFETY: `p` was checked by the caller, matmul().
    unsafe { for_each_tile(p, q4_0_tile::<1>, Some(q4_0_tile::<2>)) }
}

/// # Safety
/// As [`for_each_tile`] asks.
unsafe fn q4_0_tile<const T: usize>(raw: Raw, y_stride: usize) {
    let mut acc = [[f32x4_splat(0.0); 2]; T];
    let blocks = raw.k / 32;
    let mut w = raw.w;
    for b in 0..blocks {
        // SAFETY: block b of the group (16 + 128 bytes) and of each vector: see Raw.
        unsafe {
            let d = scales(w);
            let mut dots = [[i32x4_splat(0); 4]; T];
            for step in 0..4 {
                let word = w.add(16 + step * 32);
                for half in 0..2 {
                    let bytes = load(word.add(half * 16));
                    let low = v128_and(bytes, u8x16_splat(15));
                    let high = u8x16_shr(bytes, 4);
                    let low = [i16x8_extend_low_i8x16(low), i16x8_extend_high_i8x16(low)];
                    let high = [i16x8_extend_low_i8x16(high), i16x8_extend_high_i8x16(high)];
                    for (t, dots) in dots.iter_mut().enumerate() {
                        let x = raw.q.add(t * raw.k + b * 32 + step * 4);
                        let x0 = v128_load64_splat(x.cast());
                        let x1 = v128_load64_splat(x.add(16).cast());
                        for pair in 0..2 {
                            let dot = &mut dots[half * 2 + pair];
                            *dot = i32x4_add(*dot, i32x4_dot_i16x8(low[pair], x0));
                            *dot = i32x4_add(*dot, i32x4_dot_i16x8(high[pair], x1));
                        }
                    }
                }
            }
            for (t, acc) in acc.iter_mut().enumerate() {
                let xd = v128_load32_splat(raw.d.add(t * blocks + b).cast());
                // The nibbles are offset by 8: take 8 x (sum of the activations) off.
                let less = i32x4_splat(raw.s.add(t * blocks + b).read() * 8);
                add_block(acc, dots[t], less, d, xd);
            }
            w = w.add(144);
        }
    }
    // SAFETY: as this function's own.
    unsafe { store_tile(raw, y_stride, acc) };
}
