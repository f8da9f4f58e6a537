//! Kernels for WebAssembly's 128-bit SIMD, chosen when the module is built: the
//! fixed instructions alone, or with those of relaxed-simd.
//!
//! Rows 0..4 of a group are one vector and rows 4..8 another, and a lane of 32
//! bits is a row: a word of four weights is multiplied where it lies, by a
//! quad of activations that every lane holds. What has to be the same for
//! every row of a product (the order of a quad, signs, powers of two) is done
//! to the activations, once; see [`quantize`] and `acts::numbers`.
//!
//! - **simd128.** The bytes of a word are cut into the even and the odd ones
//!   by a shift and a mask, which leaves them times 256 as 16-bit numbers for
//!   `i32x4.dot_i16x8_s`; nibbles are cut out by masks alone and stay times 1,
//!   16 or 256, while their activations carry the rest of 256. The 256 is
//!   shifted out once per block. |sum| <= 256 x 32 x 128 x 127 < 2^28.
//! - **relaxed-simd.** `i32x4.relaxed_dot_i8x16_i7x16_add_s` leaves it to the
//!   machine what happens to a second operand beyond 0..=127 and to sums of two
//!   products beyond 16 bits. Neither occurs: the second operand is a nibble
//!   or the magnitude of an activation (2 x 128 x 127 = 32,512), with the
//!   activation's sign moved to the weight: w x = (w ^ m) |x| - m |x|, where m
//!   is -1 for a negative x, and the sum of -m |x| is known before.
//!   docs/NUMERICS.md says more.

use super::Product;
use super::acts::{BLOCK, TINY};
use crate::lanes;
use crate::math;
use crate::quant::DType;
use core::arch::wasm32::*;

/// Pointers into one product.
///
/// Every pointer below is moved only inside the sizes that `Product::check`
/// established: w over `n_groups` groups of `k` columns, `stride` bytes apart,
/// q or f over as many vectors of `k` as the tile takes, d and s over a number
/// for each of their blocks, y over eight results of each group and vector;
/// those of the next group follow, those of the next vector are `y_stride` on.
#[derive(Clone, Copy)]
struct Raw {
    w: *const u8,
    q: *const u8,
    d: *const f32,
    s: *const i32,
    f: *const f32,
    y: *mut f32,
    k: usize,
    n_groups: usize,
    stride: usize,
    y_stride: usize,
}

/// The tile of one vector and, where there is one, that of four.
type Tiles = (unsafe fn(Raw), Option<unsafe fn(Raw)>);

fn tiles<F: Format>() -> Tiles {
    (tile1::<F>, Some(tile4::<F>))
}

pub(super) fn matmul(p: &mut Product<'_, '_>) {
    let tiles = match p.w.dtype.known() {
        DType::F32 => (f32_tile as _, None),
        DType::F16 => (f16_tile as _, None),
        DType::Q8_0 => tiles::<Q8_0>(),
        DType::Q4_0 => tiles::<Q4_0>(),
    };
    // SAFETY: `p` was checked by the caller, super::matmul().
    unsafe { for_each_tile(p, tiles) }
}

/// Calls `tile4`, where there is one, for four vectors at once, and `tile1`
/// for what is left; two groups after two groups, so that the weights are near
/// for the next vectors. A vector alone is one call.
///
/// # Safety
/// `p` passed `Product::check`; the tiles stay inside what [`Raw`] states.
#[inline(never)]
unsafe fn for_each_tile(p: &mut Product<'_, '_>, (tile1, tile4): Tiles) {
    let (k, blocks) = (p.w.k, p.w.k / BLOCK);
    let most = if p.n == 1 { p.w.n_groups } else { 2 };
    let mut g = 0;
    while g < p.w.n_groups {
        let n_groups = most.min(p.w.n_groups - g);
        let mut t = 0;
        while t < p.n {
            // SAFETY: g < n_groups and t < n, so every offset is inside its slice (check()).
            // The slices a format does not use are empty and their pointers unused:
            // wrapping arithmetic keeps computing them harmless.
            unsafe {
                let raw = Raw {
                    w: p.w.data.as_ptr().add(g * p.w.stride),
                    q: p.x.q.as_ptr().wrapping_add(t * k).cast(),
                    d: p.x.d.as_ptr().wrapping_add(t * blocks),
                    s: p.x.s.as_ptr().wrapping_add(t * blocks),
                    f: p.x.f.as_ptr().wrapping_add(t * k),
                    y: p.y.as_mut_ptr().add(t * p.y_stride + g * 8),
                    k,
                    n_groups,
                    stride: p.w.stride,
                    y_stride: p.y_stride,
                };
                t += match tile4 {
                    Some(tile4) if t + 3 < p.n => {
                        tile4(raw);
                        4
                    }
                    _ => {
                        tile1(raw);
                        1
                    }
                };
            }
        }
        g += n_groups;
    }
}

static ONES: v128 = i16x8(1, 1, 1, 1, 1, 1, 1, 1);

/// A constant that stays in a register: V8 builds one that it knows anew at each use.
#[inline(always)]
fn kept(constant: &'static v128) -> v128 {
    // SAFETY: a reference is good for reading; volatile only hides what is read.
    unsafe { core::ptr::read_volatile(constant) }
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
    unsafe fn load(y: *const f32) -> Self {
        // SAFETY: the caller's.
        unsafe { Self(v128_load(y.cast()), v128_load(y.add(4).cast())) }
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
unsafe fn f32_tile(raw: Raw) {
    for g in 0..raw.n_groups {
        let zero = Rows::zero();
        let (mut p0, mut p1, mut p2, mut p3) = (zero, zero, zero, zero);
        // Written out: at the optimisation level that keeps the module small no loop is unrolled.
        // SAFETY: k words of group g, k activations, eight results: see Raw.
        unsafe {
            let (mut w, mut x, mut left) = (raw.w.add(g * raw.stride), raw.f, raw.k);
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
            p0.add(p1).add(p2.add(p3)).store(raw.y.add(g * 8));
        }
    }
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
unsafe fn f16_tile(raw: Raw) {
    for g in 0..raw.n_groups {
        let zero = (Rows::zero(), Rows::zero());
        let (mut p01, mut p23) = (zero, zero);
        // SAFETY: k / 2 words of group g, k activations, eight results: see Raw.
        unsafe {
            let (mut w, mut x, mut left) = (raw.w.add(g * raw.stride), raw.f, raw.k);
            while left >= 4 {
                p01 = add_f16(p01, w, x);
                p23 = add_f16(p23, w.add(32), x.add(2));
                (w, x, left) = (w.add(64), x.add(4), left - 4);
            }
            if left > 0 {
                p01 = add_f16(p01, w, x);
            }
            p01.0.add(p01.1).add(p23.0.add(p23.1)).store(raw.y.add(g * 8));
        }
    }
}

/// What turns a block's scales into floats: see [`half_high_to_f32`].
#[derive(Clone, Copy)]
struct Halves {
    bits: v128,
    factor: v128,
}

impl Halves {
    #[inline(always)]
    fn new() -> Self {
        static BITS: v128 = u32x4(0x8fff_e000, 0x8fff_e000, 0x8fff_e000, 0x8fff_e000);
        static FACTOR: v128 = f32x4(5.192_297e33, 5.192_297e33, 5.192_297e33, 5.192_297e33);
        Self { bits: kept(&BITS), factor: kept(&FACTOR) }
    }

    /// Four halves. The widening fills the places above the fraction with copies
    /// of the sign, of which one is kept.
    #[inline(always)]
    unsafe fn four(self, p: *const u8) -> v128 {
        // SAFETY: the caller's pointer is good for eight bytes.
        let wide = unsafe { i32x4_load_extend_i16x4(p.cast()) };
        f32x4_mul(v128_and(i32x4_shl(wide, 13), self.bits), self.factor)
    }

    /// The scales of eight rows times the activations' scale.
    ///
    /// # Safety
    /// 16 bytes at `p`, one number at `d`.
    #[inline(always)]
    unsafe fn scales(self, p: *const u8) -> Rows {
        // SAFETY: the caller's.
        unsafe { Rows(self.four(p), self.four(p.add(8))) }
    }
}

impl Rows {
    /// Integers to floats, times (weight scales x activation scale at `d`), added to self.
    ///
    /// # Safety
    /// One number at `d`.
    #[inline(always)]
    unsafe fn add_block(self, dots: Self, scales: Self, d: *const f32) -> Self {
        // SAFETY: the caller's.
        let d = unsafe { v128_load32_splat(d.cast()) };
        let scale = Rows(f32x4_mul(scales.0, d), f32x4_mul(scales.1, d));
        let (a, b) = (f32x4_convert_i32x4(dots.0), f32x4_convert_i32x4(dots.1));
        self.add(Rows(f32x4_mul(a, scale.0), f32x4_mul(b, scale.1)))
    }

    /// The same number for every row.
    ///
    /// # Safety
    /// One number at `s`.
    #[inline(always)]
    unsafe fn splat(s: *const i32) -> Self {
        // SAFETY: the caller's.
        let s = unsafe { splat(s.cast()) };
        Self(s, s)
    }

    /// Adds the pairs of products with 16-bit numbers to 32-bit sums.
    #[cfg(not(target_feature = "relaxed-simd"))]
    #[inline(always)]
    fn add_dot(self, w: Self, x: v128) -> Self {
        Self(i32x4_add(self.0, i32x4_dot_i16x8(w.0, x)), i32x4_add(self.1, i32x4_dot_i16x8(w.1, x)))
    }
}

/// A format of whole numbers: how a word of eight rows is multiplied with a quad.
trait Format: Copy {
    /// Words in a block.
    const WORDS: usize;
    /// Bytes from one quad of activations to the next.
    const QUAD: usize;
    /// A word of eight rows, taken apart.
    type Word: Copy;
    fn new() -> Self;
    /// # Safety
    /// 32 bytes at `w`.
    unsafe fn word(self, w: *const u8) -> Self::Word;
    /// # Safety
    /// A quad at `x`, and what belongs to it.
    unsafe fn add(self, sums: Rows, w: Self::Word, x: *const u8) -> Rows;
    /// What the sums of a block begin at: see `Acts::s`.
    ///
    /// # Safety
    /// One number at `s`.
    #[inline(always)]
    unsafe fn start(self, s: *const i32) -> Rows {
        // SAFETY: the caller's.
        unsafe { Rows::splat(s) }
    }
}

/// The dot products of a block: plain simd128 sums them times 256.
#[inline(always)]
fn dots(sums: Rows) -> Rows {
    if cfg!(target_feature = "relaxed-simd") {
        return sums;
    }
    Rows(i32x4_shr(sums.0, 8), i32x4_shr(sums.1, 8))
}

/// Keeps what was loaded before from being loaded after. Without it the
/// compiler does all of rows 0..4 before rows 4..8, and runs out of registers.
#[inline(always)]
fn in_order() {
    core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::SeqCst);
}

/// Bytes of a block of activations.
const ACTS: usize = 2 * BLOCK;

/// Two groups at a time: the memory reads two streams faster than one. A last
/// group without another is its own second.
///
/// # Safety
/// As [`for_each_tile`] asks, for one vector.
unsafe fn tile1<F: Format>(raw: Raw) {
    let (f, halves) = (F::new(), Halves::new());
    for g in (0..raw.n_groups).step_by(2) {
        let next = usize::from(g + 1 < raw.n_groups);
        // SAFETY: groups g and g + next, and block b of them and of the vector, and eight results
        // of each: see Raw.
        unsafe {
            let (mut acc0, mut acc1) = (Rows::zero(), Rows::zero());
            let (mut w, mut x) = (raw.w.add(g * raw.stride), raw.q);
            let stride = next * raw.stride;
            for b in 0..raw.k / BLOCK {
                let head = w;
                w = w.add(16);
                let (mut sums0, mut quad) = (f.start(raw.s.add(b)), x);
                let mut sums1 = sums0;
                for _ in 0..F::WORDS {
                    sums0 = f.add(sums0, f.word(w), quad);
                    sums1 = f.add(sums1, f.word(w.add(stride)), quad);
                    in_order();
                    (w, quad) = (w.add(32), quad.add(F::QUAD));
                }
                x = x.add(ACTS);
                let d = raw.d.add(b);
                acc0 = acc0.add_block(dots(sums0), halves.scales(head), d);
                acc1 = acc1.add_block(dots(sums1), halves.scales(head.add(stride)), d);
            }
            acc0.store(raw.y.add(g * 8));
            acc1.store(raw.y.add((g + next) * 8));
        }
    }
}

/// Four vectors: the sums of a row are kept where the result goes, so that the
/// registers are left to the block.
///
/// # Safety
/// As [`for_each_tile`] asks, for four vectors.
unsafe fn tile4<F: Format>(raw: Raw) {
    let f = F::new();
    let halves = Halves::new();
    let blocks = raw.k / BLOCK;
    for g in 0..raw.n_groups {
        // SAFETY: group g, block b of it and of each vector, and eight results of each: see Raw.
        unsafe {
            let (mut w, y) = (raw.w.add(g * raw.stride), raw.y.add(g * 8));
            for t in 0..4 {
                Rows::zero().store(y.add(t * raw.y_stride));
            }
            for b in 0..blocks {
                let start = |t: usize| f.start(raw.s.add(t * blocks + b));
                let (mut s0, mut s1, mut s2, mut s3) = (start(0), start(1), start(2), start(3));
                let head = w;
                w = w.add(16);
                let stride = 2 * raw.k;
                let mut x = raw.q.add(b * ACTS);
                for _ in 0..F::WORDS {
                    let word = f.word(w);
                    s0 = f.add(s0, word, x);
                    s1 = f.add(s1, word, x.add(stride));
                    s2 = f.add(s2, word, x.add(2 * stride));
                    s3 = f.add(s3, word, x.add(3 * stride));
                    (w, x) = (w.add(32), x.add(F::QUAD));
                }
                let scales = halves.scales(head);
                let d = raw.d.add(b);
                let block = |t: usize, sums: Rows| {
                    let (d, y) = (d.add(t * blocks), y.add(t * raw.y_stride));
                    Rows::load(y).add_block(dots(sums), scales, d).store(y);
                };
                block(0, s0);
                block(1, s1);
                block(2, s2);
                block(3, s3);
            }
        }
    }
}

/// # Safety
/// Four bytes at `x`.
#[inline(always)]
unsafe fn splat(x: *const u8) -> v128 {
    // SAFETY: the caller's.
    unsafe { v128_load32_splat(x.cast()) }
}

#[cfg(not(target_feature = "relaxed-simd"))]
#[derive(Clone, Copy)]
struct Q8_0 {
    odd: v128,
}

#[cfg(not(target_feature = "relaxed-simd"))]
impl Format for Q8_0 {
    const WORDS: usize = 8;
    const QUAD: usize = 8;
    /// The even and the odd bytes, times 256.
    type Word = (Rows, Rows);

    #[inline(always)]
    fn new() -> Self {
        static ODD: v128 = u32x4(0xff00_ff00, 0xff00_ff00, 0xff00_ff00, 0xff00_ff00);
        Self { odd: kept(&ODD) }
    }

    #[inline(always)]
    unsafe fn word(self, w: *const u8) -> Self::Word {
        // SAFETY: the caller's.
        let (a, b) = unsafe { (load(w), load(w.add(16))) };
        let even = Rows(i16x8_shl(a, 8), i16x8_shl(b, 8));
        (even, Rows(v128_and(a, self.odd), v128_and(b, self.odd)))
    }

    #[inline(always)]
    unsafe fn add(self, sums: Rows, (even, odd): Self::Word, x: *const u8) -> Rows {
        // SAFETY: the caller's.
        let (x02, x13) = unsafe { (splat(x), splat(x.add(4))) };
        sums.add_dot(even, x02).add_dot(odd, x13)
    }

    #[inline(always)]
    unsafe fn start(self, _: *const i32) -> Rows {
        Rows::zero()
    }
}

#[cfg(not(target_feature = "relaxed-simd"))]
#[derive(Clone, Copy)]
struct Q4_0 {
    first: v128,
    second: v128,
    third: v128,
}

#[cfg(not(target_feature = "relaxed-simd"))]
impl Format for Q4_0 {
    const WORDS: usize = 4;
    const QUAD: usize = 8;
    /// The four nibbles of each half word: times 1 the low ones of the even
    /// bytes, times 16 their high ones, times 256 the low ones of the odd
    /// bytes, and times 1 again their high ones.
    type Word = (Rows, Rows, Rows, Rows);

    #[inline(always)]
    fn new() -> Self {
        static FIRST: v128 = u32x4(0x000f_000f, 0x000f_000f, 0x000f_000f, 0x000f_000f);
        static SECOND: v128 = u32x4(0x00f0_00f0, 0x00f0_00f0, 0x00f0_00f0, 0x00f0_00f0);
        static THIRD: v128 = u32x4(0x0f00_0f00, 0x0f00_0f00, 0x0f00_0f00, 0x0f00_0f00);
        Self { first: kept(&FIRST), second: kept(&SECOND), third: kept(&THIRD) }
    }

    #[inline(always)]
    unsafe fn word(self, w: *const u8) -> Self::Word {
        // SAFETY: the caller's.
        let (a, b) = unsafe { (load(w), load(w.add(16))) };
        let masked = |mask| Rows(v128_and(a, mask), v128_and(b, mask));
        let fourth = Rows(u16x8_shr(a, 12), u16x8_shr(b, 12));
        (masked(self.first), masked(self.second), masked(self.third), fourth)
    }

    #[inline(always)]
    unsafe fn add(self, sums: Rows, w: Self::Word, x: *const u8) -> Rows {
        // SAFETY: the caller's; numbers 16.. of a block are 32 bytes on.
        unsafe {
            sums.add_dot(w.0, splat(x))
                .add_dot(w.2, splat(x.add(4)))
                .add_dot(w.1, splat(x.add(32)))
                .add_dot(w.3, splat(x.add(36)))
        }
    }
}

#[cfg(target_feature = "relaxed-simd")]
#[derive(Clone, Copy)]
struct Q8_0;

#[cfg(target_feature = "relaxed-simd")]
impl Format for Q8_0 {
    const WORDS: usize = 8;
    const QUAD: usize = 4;
    type Word = Rows;

    #[inline(always)]
    fn new() -> Self {
        Self
    }

    #[inline(always)]
    unsafe fn word(self, w: *const u8) -> Self::Word {
        // SAFETY: the caller's.
        unsafe { Rows(load(w), load(w.add(16))) }
    }

    #[inline(always)]
    unsafe fn add(self, sums: Rows, w: Self::Word, x: *const u8) -> Rows {
        // SAFETY: the caller's; a block's masks lie behind its magnitudes.
        let (size, mask) = unsafe { (splat(x), splat(x.add(32))) };
        let add = |sums, w| i32x4_relaxed_dot_i8x16_i7x16_add(v128_xor(w, mask), size, sums);
        Rows(add(sums.0, w.0), add(sums.1, w.1))
    }
}

#[cfg(target_feature = "relaxed-simd")]
#[derive(Clone, Copy)]
struct Q4_0 {
    low: v128,
}

#[cfg(target_feature = "relaxed-simd")]
impl Format for Q4_0 {
    const WORDS: usize = 4;
    const QUAD: usize = 4;
    /// The low and the high nibbles.
    type Word = (Rows, Rows);

    #[inline(always)]
    fn new() -> Self {
        static LOW: v128 = u32x4(0x0f0f_0f0f, 0x0f0f_0f0f, 0x0f0f_0f0f, 0x0f0f_0f0f);
        Self { low: kept(&LOW) }
    }

    #[inline(always)]
    unsafe fn word(self, w: *const u8) -> Self::Word {
        // SAFETY: the caller's.
        let (a, b) = unsafe { (load(w), load(w.add(16))) };
        let low = |v| v128_and(v, self.low);
        (Rows(low(a), low(b)), Rows(low(u16x8_shr(a, 4)), low(u16x8_shr(b, 4))))
    }

    #[inline(always)]
    unsafe fn add(self, sums: Rows, (low, high): Self::Word, x: *const u8) -> Rows {
        // SAFETY: the caller's; numbers 16.. of a block are 16 bytes on.
        let (first, second) = unsafe { (splat(x), splat(x.add(16))) };
        let add = |sums, low, high| {
            let sums = i32x4_relaxed_dot_i8x16_i7x16_add(first, low, sums);
            i32x4_relaxed_dot_i8x16_i7x16_add(second, high, sums)
        };
        Rows(add(sums.0, low.0, high.0), add(sums.1, low.1, high.1))
    }
}

/// Quantises blocks, to the bit as `acts::reference` does.
#[inline(never)]
pub(super) fn quantize(dtype: DType, x: &[f32], q: &mut [i16], d: &mut [f32], s: &mut [i32]) {
    static SIZE: v128 = u32x4(0x7fff_ffff, 0x7fff_ffff, 0x7fff_ffff, 0x7fff_ffff);
    static ROUND: v128 = f32x4(math::ROUND, math::ROUND, math::ROUND, math::ROUND);
    static LOW: v128 = u32x4(0xffff, 0xffff, 0xffff, 0xffff);
    let (size, round, low, zero) = (kept(&SIZE), kept(&ROUND), kept(&LOW), f32x4_splat(0.0));
    let store = Store::new(dtype);
    let blocks = x.as_chunks::<BLOCK>().0.iter().zip(q.as_chunks_mut::<BLOCK>().0);
    for (((x, q), d), s) in blocks.zip(d).zip(s) {
        // SAFETY: at is a multiple of 4 below 32.
        let four = |at: usize| unsafe { load(x.as_ptr().add(at).cast()) };
        let larger = |best, at| lanes::larger(best, v128_and(four(at), size));
        // The loads in two chains, as no loop is unrolled.
        let even = larger(larger(larger(larger(zero, 0), 8), 16), 24);
        let odd = larger(larger(larger(larger(zero, 4), 12), 20), 28);
        let mut best = lanes::larger(even, odd);
        best = lanes::larger(best, i32x4_shuffle::<2, 3, 0, 1>(best, best));
        best = lanes::larger(best, i32x4_shuffle::<1, 0, 3, 2>(best, best));
        let amax = f32x4_extract_lane::<0>(best);
        let (inverse, scale) = if amax < TINY { (0.0, 0.0) } else { (127.0 / amax, amax / 127.0) };
        *d = scale;
        let inverse = f32x4_splat(inverse);
        // The low half of a rounded number's bits is the whole number.
        let eight = |at: usize| {
            let whole = |x| v128_and(f32x4_add(f32x4_mul(x, inverse), round), low);
            u16x8_narrow_i32x4(whole(four(at)), whole(four(at + 4)))
        };
        // SAFETY: 64 bytes.
        let sums = unsafe {
            store.block([eight(0), eight(8), eight(16), eight(24)], q.as_mut_ptr().cast())
        };
        let sums = i32x4_add(sums, i32x4_shuffle::<2, 3, 0, 1>(sums, sums));
        *s = i32x4_extract_lane::<0>(sums) + i32x4_extract_lane::<1>(sums);
    }
}

/// Stores blocks of whole numbers as `acts::numbers` reads them.
#[cfg(not(target_feature = "relaxed-simd"))]
struct Store {
    /// Factors of the first and of the second half.
    factors: [v128; 2],
    /// Of a number in `Acts::s`.
    factor: v128,
}

#[cfg(not(target_feature = "relaxed-simd"))]
impl Store {
    #[inline(always)]
    fn new(dtype: DType) -> Self {
        static LOW: v128 = i16x8(256, 256, 1, 1, 256, 256, 1, 1);
        static HIGH: v128 = i16x8(16, 16, 256, 256, 16, 16, 256, 256);
        static LESS: v128 = i16x8(-2048, -2048, -2048, -2048, -2048, -2048, -2048, -2048);
        let whole = dtype == DType::Q4_0;
        let factors = if whole { [kept(&LOW), kept(&HIGH)] } else { [kept(&ONES); 2] };
        Self { factors, factor: kept(&LESS) }
    }

    /// Four sums that make up `Acts::s`.
    ///
    /// # Safety
    /// 64 bytes at `q`.
    #[inline(always)]
    unsafe fn block(&self, [a, b, c, d]: [v128; 4], q: *mut v128) -> v128 {
        let quads = |n, factors| i16x8_mul(i16x8_shuffle::<0, 2, 1, 3, 4, 6, 5, 7>(n, n), factors);
        // SAFETY: the caller's.
        unsafe {
            v128_store(q, quads(a, self.factors[0]));
            v128_store(q.add(1), quads(b, self.factors[0]));
            v128_store(q.add(2), quads(c, self.factors[1]));
            v128_store(q.add(3), quads(d, self.factors[1]));
        }
        // At most 4 x 127 in a lane.
        i32x4_dot_i16x8(i16x8_add(i16x8_add(a, b), i16x8_add(c, d)), self.factor)
    }
}

/// Stores blocks of whole numbers as `acts::numbers` reads them.
#[cfg(target_feature = "relaxed-simd")]
struct Store {
    /// Q4_0 takes the numbers themselves.
    whole: bool,
    /// Of a number in `Acts::s`.
    factor: v128,
}

#[cfg(target_feature = "relaxed-simd")]
impl Store {
    #[inline(always)]
    fn new(dtype: DType) -> Self {
        static LESS: v128 = i16x8(-8, -8, -8, -8, -8, -8, -8, -8);
        let whole = dtype == DType::Q4_0;
        Self { whole, factor: kept(if whole { &LESS } else { &ONES }) }
    }

    /// Four sums that make up `Acts::s`.
    ///
    /// # Safety
    /// 64 bytes at `q`.
    #[inline(always)]
    unsafe fn block(&self, [a, b, c, d]: [v128; 4], q: *mut v128) -> v128 {
        let zero = i16x8_splat(0);
        let half = |at: usize, a, b| {
            let bytes = i8x16_narrow_i16x8(a, b);
            // SAFETY: the caller's.
            unsafe {
                v128_store(q.add(at), if self.whole { bytes } else { i8x16_abs(bytes) });
                v128_store(q.add(at + 2), i8x16_lt(bytes, zero));
            }
        };
        half(0, a, b);
        half(1, c, d);
        let counted = |n| if self.whole { n } else { i16x8_max(i16x8_sub(zero, n), zero) };
        // At most 4 x 127 in a lane.
        let sum = i16x8_add(i16x8_add(counted(a), counted(b)), i16x8_add(counted(c), counted(d)));
        i32x4_dot_i16x8(sum, self.factor)
    }
}
