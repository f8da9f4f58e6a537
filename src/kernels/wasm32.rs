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

/// The sums of eight rows.
#[derive(Clone, Copy)]
struct Rows(v128, v128);

impl Rows {
    #[inline(always)]
    fn zero() -> Self {
        Self(f32x4_splat(0.0), f32x4_splat(0.0))
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(f32x4_add(self.0, other.0), f32x4_add(self.1, other.1))
    }

    /// self + w x, rounded twice.
    #[inline(always)]
    fn add_mul(self, w: Self, x: v128) -> Self {
        self.add(Self(f32x4_mul(w.0, x), f32x4_mul(w.1, x)))
    }

    /// # Safety
    /// `y` good for eight numbers.
    #[inline(always)]
    unsafe fn store(self, y: *mut f32) {
        // SAFETY: the caller's.
        unsafe {
            v128_store(y.cast(), self.0);
            v128_store(y.add(4).cast(), self.1);
        }
    }
}

pub(super) fn f32(p: &mut Product<'_, '_>) {
    // SAFETY: `p` was checked by the caller, matmul().
    unsafe { for_each_tile(p, f32_tile, None) }
}

/// p + (the word at `w` of eight rows) x
///
/// # Safety
/// 32 bytes at `w`, one number at `x`.
#[inline(always)]
unsafe fn add_f32(p: Rows, w: *const u8, x: *const f32) -> Rows {
    // SAFETY: the caller's.
    unsafe { p.add_mul(Rows(load(w), load(w.add(16))), v128_load32_splat(x.cast())) }
}

/// # Safety
/// As [`for_each_tile`] asks, for one vector.
unsafe fn f32_tile(raw: Raw, _: usize) {
    let (mut p0, mut p1, mut p2, mut p3) = (Rows::zero(), Rows::zero(), Rows::zero(), Rows::zero());
    let (mut w, mut x, mut left) = (raw.w, raw.f, raw.k);
    // Written out: at the optimisation level that keeps the module small no loop is unrolled.
    // SAFETY: k words of eight rows, k activations, eight results: see Raw.
    unsafe {
        while left >= 4 {
            p0 = add_f32(p0, w, x);
            p1 = add_f32(p1, w.add(32), x.add(1));
            p2 = add_f32(p2, w.add(64), x.add(2));
            p3 = add_f32(p3, w.add(96), x.add(3));
            (w, x, left) = (w.add(128), x.add(4), left - 4);
        }
        if left > 0 {
            p0 = add_f32(p0, w, x);
        }
        if left > 1 {
            p1 = add_f32(p1, w.add(32), x.add(1));
        }
        if left > 2 {
            p2 = add_f32(p2, w.add(64), x.add(2));
        }
        p0.add(p1).add(p2.add(p3)).store(raw.y);
    }
}

pub(super) fn f16(p: &mut Product<'_, '_>) {
    // SAFETY: `p` was checked by the caller, matmul().
    unsafe { for_each_tile(p, f16_tile, None) }
}

/// (even, odd) + (the word at `w` of eight rows) (x0, x1)
///
/// # Safety
/// 32 bytes at `w`, two numbers at `x`.
#[inline(always)]
unsafe fn add_f16((even, odd): (Rows, Rows), w: *const u8, x: *const f32) -> (Rows, Rows) {
    // SAFETY: the caller's.
    unsafe {
        let (x0, x1) = (v128_load32_splat(x.cast()), v128_load32_splat(x.add(1).cast()));
        let (low, high) = (load(w), load(w.add(16)));
        let first =
            Rows(half_high_to_f32(i32x4_shl(low, 16)), half_high_to_f32(i32x4_shl(high, 16)));
        let second = Rows(half_high_to_f32(low), half_high_to_f32(high));
        (even.add_mul(first, x0), odd.add_mul(second, x1))
    }
}

/// # Safety
/// As [`for_each_tile`] asks, for one vector.
unsafe fn f16_tile(raw: Raw, _: usize) {
    let (mut p01, mut p23) = ((Rows::zero(), Rows::zero()), (Rows::zero(), Rows::zero()));
    let (mut w, mut x, mut left) = (raw.w, raw.f, raw.k);
    // SAFETY: k / 2 words of eight rows, k activations, eight results: see Raw.
    unsafe {
        while left >= 4 {
            p01 = add_f16(p01, w, x);
            p23 = add_f16(p23, w.add(32), x.add(2));
            (w, x, left) = (w.add(64), x.add(4), left - 4);
        }
        if left > 0 {
            p01 = add_f16(p01, w, x);
        }
        p01.0.add(p01.1).add(p23.0.add(p23.1)).store(raw.y);
    }
}

/// Integer sums of one block and vector: rows (0,1), (2,3), (4,5), (6,7), two sums each.
#[derive(Clone, Copy)]
struct Dots(v128, v128, v128, v128);

impl Dots {
    #[inline(always)]
    fn zero() -> Self {
        let zero = i32x4_splat(0);
        Self(zero, zero, zero, zero)
    }

    /// Adds four weights of each row times four activations, which `x` holds twice.
    #[inline(always)]
    fn add(self, w: Self, x: v128) -> Self {
        Self(
            i32x4_add(self.0, i32x4_dot_i16x8(w.0, x)),
            i32x4_add(self.1, i32x4_dot_i16x8(w.1, x)),
            i32x4_add(self.2, i32x4_dot_i16x8(w.2, x)),
            i32x4_add(self.3, i32x4_dot_i16x8(w.3, x)),
        )
    }

    /// The rows' sums less `less`, as floats.
    #[inline(always)]
    fn rows(self, less: v128) -> Rows {
        #[inline(always)]
        fn pairs(a: v128, b: v128) -> v128 {
            i32x4_add(i32x4_shuffle::<0, 2, 4, 6>(a, b), i32x4_shuffle::<1, 3, 5, 7>(a, b))
        }
        Rows(
            f32x4_convert_i32x4(i32x4_sub(pairs(self.0, self.1), less)),
            f32x4_convert_i32x4(i32x4_sub(pairs(self.2, self.3), less)),
        )
    }
}

/// acc + dots x (weight scales x activation scale)
#[inline(always)]
fn add_block(acc: Rows, dots: Rows, d: [v128; 2], xd: v128) -> Rows {
    let scale = Rows(f32x4_mul(d[0], xd), f32x4_mul(d[1], xd));
    acc.add(Rows(f32x4_mul(dots.0, scale.0), f32x4_mul(dots.1, scale.1)))
}

pub(super) fn q8_0(p: &mut Product<'_, '_>) {
    // SAFETY: `p` was checked by the caller, matmul().
    unsafe { for_each_tile(p, q8_0_tile::<false>, Some(q8_0_tile::<true>)) }
}

/// The word at `w` of eight rows, widened.
///
/// # Safety
/// 32 bytes at `w`.
#[inline(always)]
unsafe fn widen(w: *const u8) -> Dots {
    // SAFETY: the caller's.
    unsafe {
        Dots(
            i16x8_load_extend_i8x8(w.cast()),
            i16x8_load_extend_i8x8(w.add(8).cast()),
            i16x8_load_extend_i8x8(w.add(16).cast()),
            i16x8_load_extend_i8x8(w.add(24).cast()),
        )
    }
}

/// Four activations, twice.
///
/// # Safety
/// Four numbers at `x`.
#[inline(always)]
unsafe fn splat4(x: *const i16) -> v128 {
    // SAFETY: the caller's.
    unsafe { v128_load64_splat(x.cast()) }
}

/// One vector, or `TWO`.
///
/// # Safety
/// As [`for_each_tile`] asks.
unsafe fn q8_0_tile<const TWO: bool>(raw: Raw, y_stride: usize) {
    let (mut acc0, mut acc1) = (Rows::zero(), Rows::zero());
    let blocks = raw.k / 32;
    let (mut w, mut x) = (raw.w, raw.q);
    for b in 0..blocks {
        // SAFETY: block b of the group (16 + 256 bytes) and of each vector: see Raw.
        unsafe {
            let d = scales(w);
            let (mut dots0, mut dots1) = (Dots::zero(), Dots::zero());
            w = w.add(16);
            // Two words a turn: enough for the loop's own cost to vanish.
            for _ in 0..4 {
                let (even, odd) = (widen(w), widen(w.add(32)));
                dots0 = dots0.add(even, splat4(x)).add(odd, splat4(x.add(4)));
                if TWO {
                    let x = x.add(raw.k);
                    dots1 = dots1.add(even, splat4(x)).add(odd, splat4(x.add(4)));
                }
                (w, x) = (w.add(64), x.add(8));
            }
            let xd = raw.d.add(b);
            let none = i32x4_splat(0);
            acc0 = add_block(acc0, dots0.rows(none), d, v128_load32_splat(xd.cast()));
            if TWO {
                let xd = xd.add(blocks);
                acc1 = add_block(acc1, dots1.rows(none), d, v128_load32_splat(xd.cast()));
            }
        }
    }
    // SAFETY: eight results of each vector: see Raw.
    unsafe {
        acc0.store(raw.y);
        if TWO {
            acc1.store(raw.y.add(y_stride));
        }
    }
}

pub(super) fn q4_0(p: &mut Product<'_, '_>) {
    // SAFETY: `p` was checked by the caller, matmul().
    unsafe { for_each_tile(p, q4_0_tile::<false>, Some(q4_0_tile::<true>)) }
}

/// The nibbles of the word at `w` of eight rows, widened: the low ones, which
/// are numbers 0..16 of the block, and the high ones, 16..32.
///
/// # Safety
/// 32 bytes at `w`.
#[inline(always)]
unsafe fn widen_nibbles(w: *const u8) -> (Dots, Dots) {
    // SAFETY: the caller's.
    let (a, b) = unsafe { (load(w), load(w.add(16))) };
    let mask = u8x16_splat(15);
    let (low_a, low_b) = (v128_and(a, mask), v128_and(b, mask));
    let (high_a, high_b) = (u8x16_shr(a, 4), u8x16_shr(b, 4));
    let both = |a, b| {
        Dots(
            i16x8_extend_low_i8x16(a),
            i16x8_extend_high_i8x16(a),
            i16x8_extend_low_i8x16(b),
            i16x8_extend_high_i8x16(b),
        )
    };
    (both(low_a, low_b), both(high_a, high_b))
}

/// One vector, or `TWO`.
///
/// # Safety
/// As [`for_each_tile`] asks.
unsafe fn q4_0_tile<const TWO: bool>(raw: Raw, y_stride: usize) {
    let (mut acc0, mut acc1) = (Rows::zero(), Rows::zero());
    let blocks = raw.k / 32;
    let (mut w, mut x) = (raw.w, raw.q);
    for b in 0..blocks {
        // SAFETY: block b of the group (16 + 128 bytes) and of each vector: see Raw.
        unsafe {
            let d = scales(w);
            let (mut dots0, mut dots1) = (Dots::zero(), Dots::zero());
            w = w.add(16);
            for _ in 0..4 {
                let (low, high) = widen_nibbles(w);
                dots0 = dots0.add(low, splat4(x)).add(high, splat4(x.add(16)));
                if TWO {
                    let x = x.add(raw.k);
                    dots1 = dots1.add(low, splat4(x)).add(high, splat4(x.add(16)));
                }
                (w, x) = (w.add(32), x.add(4));
            }
            // Past the high half, which the loop read along the way.
            x = x.add(16);
            let (xd, s) = (raw.d.add(b), raw.s.add(b));
            // The nibbles are offset by 8: take 8 x (sum of the activations) off.
            let less = i32x4_splat(s.read() * 8);
            acc0 = add_block(acc0, dots0.rows(less), d, v128_load32_splat(xd.cast()));
            if TWO {
                let (xd, less) = (xd.add(blocks), i32x4_splat(s.add(blocks).read() * 8));
                acc1 = add_block(acc1, dots1.rows(less), d, v128_load32_splat(xd.cast()));
            }
        }
    }
    // SAFETY: eight results of each vector: see Raw.
    unsafe {
        acc0.store(raw.y);
        if TWO {
            acc1.store(raw.y.add(y_stride));
        }
    }
}
