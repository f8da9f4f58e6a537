//! Kernels for AArch64: NEON, which every such target has, and the byte product
//! `sdot` (the feature `dotprod`) where the machine has it.
//!
//! The eight rows of a group are the lanes of two vectors. `sdot` multiplies and
//! adds a whole word, four weights of one row. Without it the products of two
//! words are added in 16 bits (2 x 128 x 127 fits) before they are widened.
//! The nibbles of Q4_0 stay 0..=15 and stand for numbers less by 8, so 8 x (sum
//! of the activations) is taken off.

use super::{Product, Quant};
use crate::quant::DType;
use core::arch::aarch64::*;

/// Whether the machine has `sdot`: known where the build is for such machines
/// only (Apple's are), asked of the C library on Linux and Android, else no.
pub(super) fn has_dotprod() -> bool {
    cfg!(target_feature = "dotprod") || asked()
}

#[cfg(any(
    all(target_os = "linux", any(target_env = "gnu", target_env = "musl")),
    target_os = "android"
))]
fn asked() -> bool {
    use core::ffi::c_ulong;
    unsafe extern "C" {
        /// What the kernel told the process at its start; 0 for what it does not know.
        safe fn getauxval(kind: c_ulong) -> c_ulong;
    }
    const AT_HWCAP: c_ulong = 16;
    const HWCAP_ASIMDDP: c_ulong = 1 << 20;
    getauxval(AT_HWCAP) & HWCAP_ASIMDDP != 0
}

#[cfg(not(any(
    all(target_os = "linux", any(target_env = "gnu", target_env = "musl")),
    target_os = "android"
)))]
fn asked() -> bool {
    false
}

/// Eight rows.
type Rows = [float32x4_t; 2];
type Dots = [int32x4_t; 2];

/// Pointers into one product, moved only inside what `Product::check`
/// established: w over a group of `k` columns, the others over one vector of
/// `k` (`k / 32` blocks), y over eight results.
#[derive(Clone, Copy)]
struct Raw {
    w: *const u8,
    q: *const Quant,
    d: *const f32,
    s: *const i32,
    f: *const f32,
    y: *mut f32,
    k: usize,
    /// From one vector's results to the next one's.
    y_stride: usize,
}

/// The pointers of group g and vector t.
///
/// # Safety
/// g < n_groups, t < n, and `p` passed `Product::check`.
#[inline(always)]
unsafe fn raw(p: &mut Product<'_, '_>, g: usize, t: usize) -> Raw {
    let (k, blocks) = (p.w.k, p.w.k / 32);
    // SAFETY: inside the checked slices; those a format does not use are
    // empty and their pointers, computed by wrapping, unused.
    unsafe {
        Raw {
            w: p.w.data.as_ptr().add(g * p.w.stride),
            q: p.x.q.as_ptr().wrapping_add(t * k),
            d: p.x.d.as_ptr().wrapping_add(t * blocks),
            s: p.x.s.as_ptr().wrapping_add(t * blocks),
            f: p.x.f.as_ptr().wrapping_add(t * k),
            y: p.y.as_mut_ptr().add(t * p.y_stride + g * 8),
            k,
            y_stride: p.y_stride,
        }
    }
}

/// Runs over a group with as many vectors at a time as are left, of the sizes
/// named, the largest first; the last one must be 1.
macro_rules! for_each_tile {
    ($p:ident, $tile:ident, $($size:literal)*) => {
        for g in 0..$p.w.n_groups {
            let mut t = 0;
            $(while $p.n - t >= $size {
                // SAFETY: g < n_groups, and the vectors t..t + size are among the n.
                unsafe { $tile::<$size>(raw($p, g, t)) };
                t += $size;
            })*
        }
    };
}

/// Runs a product that passed `Product::check`.
pub(super) fn neon(p: &mut Product<'_, '_>) {
    // SAFETY: this file is only there in builds for machines that have NEON.
    unsafe { plain(p) };
}

#[target_feature(enable = "neon")]
fn plain(p: &mut Product<'_, '_>) {
    match p.w.dtype {
        DType::F32 => for_each_tile!(p, f32_tile, 2 1),
        DType::F16 => for_each_tile!(p, f16_tile, 2 1),
        DType::Q8_0 => for_each_tile!(p, q8_0_tile, 2 1),
        DType::Q4_0 => for_each_tile!(p, q4_0_tile, 2 1),
    }
}

/// Runs a product that passed `Product::check`.
pub(super) fn neon_dot(p: &mut Product<'_, '_>) {
    match p.w.dtype {
        DType::F32 | DType::F16 => neon(p),
        // SAFETY: `Isa` with this set is only made where has_dotprod() held, and
        // the caller checked `p`.
        DType::Q8_0 => unsafe { dot::q8_0(p) },
        // SAFETY: as above.
        DType::Q4_0 => unsafe { dot::q4_0(p) },
    }
}

/// # Safety
/// `p` good for 16 bytes.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn bytes(p: *const u8) -> uint8x16_t {
    // SAFETY: the caller's.
    unsafe { vld1q_u8(p) }
}

/// # Safety
/// `p` good for 16 bytes.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn signed(p: *const u8) -> int8x16_t {
    // SAFETY: the caller's.
    unsafe { vld1q_s8(p.cast()) }
}

/// Four activations in every lane.
///
/// # Safety
/// `x` good for four numbers.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn splat4(x: *const Quant) -> int8x16_t {
    // SAFETY: the caller's.
    vreinterpretq_s8_s32(vdupq_n_s32(unsafe { x.cast::<i32>().read_unaligned() }))
}

/// Half precision in the upper 16 bits of each lane, to single; see wasm32.rs.
#[inline]
#[target_feature(enable = "neon")]
fn half_high_to_f32(v: int32x4_t) -> float32x4_t {
    let bits = vandq_s32(vshrq_n_s32::<3>(v), vdupq_n_s32(0x8fff_e000_u32 as i32));
    vmulq_n_f32(vreinterpretq_f32_s32(bits), 5.192_297e33)
}

/// The scales of eight rows.
///
/// # Safety
/// `p` good for 16 bytes.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn scales(p: *const u8) -> Rows {
    // SAFETY: the caller's.
    let halves = unsafe { vreinterpretq_s16_u8(bytes(p)) };
    [
        half_high_to_f32(vshll_n_s16::<16>(vget_low_s16(halves))),
        half_high_to_f32(vshll_high_n_s16::<16>(halves)),
    ]
}

#[inline]
#[target_feature(enable = "neon")]
fn mul_add(acc: float32x4_t, w: float32x4_t, x: f32) -> float32x4_t {
    // Two roundings on purpose: the contract knows no fused multiply-add.
    vaddq_f32(acc, vmulq_n_f32(w, x))
}

/// A block's integers, scaled, onto the rows' sums.
#[inline]
#[target_feature(enable = "neon")]
fn add_block(acc: &mut Rows, dots: Dots, d: Rows, xd: f32) {
    for (acc, (dot, d)) in acc.iter_mut().zip(dots.into_iter().zip(d)) {
        *acc = vaddq_f32(*acc, vmulq_f32(vcvtq_f32_s32(dot), vmulq_n_f32(d, xd)));
    }
}

/// # Safety
/// `raw.y` good for eight results of T vectors.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn store<const T: usize>(raw: Raw, acc: [Rows; T]) {
    for (t, acc) in acc.into_iter().enumerate() {
        // SAFETY: the caller's.
        unsafe {
            let y = raw.y.add(t * raw.y_stride);
            vst1q_f32(y, acc[0]);
            vst1q_f32(y.add(4), acc[1]);
        }
    }
}

/// The stated fold of four partial sums.
#[inline]
#[target_feature(enable = "neon")]
fn fold(p: [Rows; 4]) -> Rows {
    let sum = |i: usize| vaddq_f32(vaddq_f32(p[0][i], p[1][i]), vaddq_f32(p[2][i], p[3][i]));
    [sum(0), sum(1)]
}

/// Nothing yet, for each of four partial sums and eight rows.
#[inline]
#[target_feature(enable = "neon")]
fn zeros() -> [Rows; 4] {
    [[vdupq_n_f32(0.0); 2]; 4]
}

/// # Safety
/// `raw` is of T vectors.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn f32_tile<const T: usize>(raw: Raw) {
    let mut acc = [zeros(); T];
    let whole = raw.k & !3;
    // SAFETY: k words of eight rows, k activations, eight results: see Raw.
    unsafe {
        let mut i = 0;
        while i < raw.k {
            let parts = if i < whole { 4 } else { raw.k - whole };
            for part in 0..parts {
                let w = raw.w.add((i + part) * 32).cast::<f32>();
                let w = [vld1q_f32(w), vld1q_f32(w.add(4))];
                for (t, acc) in acc.iter_mut().enumerate() {
                    let x = *raw.f.add(t * raw.k + i + part);
                    let acc = &mut acc[part & 3];
                    *acc = [mul_add(acc[0], w[0], x), mul_add(acc[1], w[1], x)];
                }
            }
            i += 4;
        }
        store(raw, acc.map(|p| fold(p)));
    }
}

/// # Safety
/// `raw` is of T vectors.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn f16_tile<const T: usize>(raw: Raw) {
    let mut acc = [zeros(); T];
    let words = raw.k / 2;
    // SAFETY: k / 2 words of eight rows, k activations, eight results: see Raw.
    unsafe {
        for i in 0..words {
            let pairs = [bytes(raw.w.add(i * 32)), bytes(raw.w.add(i * 32 + 16))];
            let pairs = pairs.map(|v| vreinterpretq_s32_u8(v));
            let first = pairs.map(|v| half_high_to_f32(vshlq_n_s32::<16>(v)));
            let second = pairs.map(|v| half_high_to_f32(v));
            // Words of an even place hold elements of sums 0 and 1, the others of 2 and 3.
            let at = i % 2 * 2;
            for (t, acc) in acc.iter_mut().enumerate() {
                let x = raw.f.add(t * raw.k + i * 2);
                for (acc, (w, x)) in
                    acc[at..at + 2].iter_mut().zip([(first, *x), (second, *x.add(1))])
                {
                    *acc = [mul_add(acc[0], w[0], x), mul_add(acc[1], w[1], x)];
                }
            }
        }
        store(raw, acc.map(|p| fold(p)));
    }
}

/// # Safety
/// `raw` is of T vectors.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn q8_0_tile<const T: usize>(raw: Raw) {
    let mut acc = [[vdupq_n_f32(0.0); 2]; T];
    let blocks = raw.k / 32;
    for b in 0..blocks {
        // SAFETY: block b of the group (16 + 256 bytes) and of each vector: see Raw.
        unsafe {
            let w = raw.w.add(b * 272);
            // Two sums for each of rows 0 1, 2 3, 4 5, 6 7.
            let mut sums = [[vdupq_n_s32(0); 4]; T];
            for pair in 0..4 {
                let word = w.add(16 + pair * 64);
                let (first, second) = (
                    [signed(word), signed(word.add(16))],
                    [signed(word.add(32)), signed(word.add(48))],
                );
                for (t, sums) in sums.iter_mut().enumerate() {
                    let x = raw.q.add(t * raw.k + b * 32 + pair * 8);
                    let (x0, x1) = (splat4(x), splat4(x.add(4)));
                    for i in 0..2 {
                        let low = vmull_s8(vget_low_s8(first[i]), vget_low_s8(x0));
                        let low = vmlal_s8(low, vget_low_s8(second[i]), vget_low_s8(x1));
                        let high = vmull_high_s8(first[i], x0);
                        let high = vmlal_high_s8(high, second[i], x1);
                        sums[2 * i] = vpadalq_s16(sums[2 * i], low);
                        sums[2 * i + 1] = vpadalq_s16(sums[2 * i + 1], high);
                    }
                }
            }
            let d = scales(w);
            for (t, acc) in acc.iter_mut().enumerate() {
                let [a, b01, c, e] = sums[t];
                let dots = [vpaddq_s32(a, b01), vpaddq_s32(c, e)];
                add_block(acc, dots, d, *raw.d.add(t * blocks + b));
            }
        }
    }
    // SAFETY: see Raw.
    unsafe { store(raw, acc) };
}

/// Both nibbles of each byte, the lower ones first.
#[inline]
#[target_feature(enable = "neon")]
fn nibbles(v: uint8x16_t) -> [int8x16_t; 2] {
    let low = vandq_u8(v, vdupq_n_u8(15));
    [vreinterpretq_s8_u8(low), vreinterpretq_s8_u8(vshrq_n_u8::<4>(v))]
}

/// # Safety
/// `raw` is of T vectors.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn q4_0_tile<const T: usize>(raw: Raw) {
    let mut acc = [[vdupq_n_f32(0.0); 2]; T];
    let blocks = raw.k / 32;
    for b in 0..blocks {
        // SAFETY: block b of the group (16 + 128 bytes) and of each vector: see Raw.
        unsafe {
            let w = raw.w.add(b * 144);
            // Four sums for each of rows 0 1, 2 3, 4 5, 6 7: of eight products of at
            // most 15 x 127 each, which 16 bits hold.
            let mut sums = [[vdupq_n_s16(0); 4]; T];
            for step in 0..4 {
                let word = w.add(16 + step * 32);
                for i in 0..2 {
                    let [low, high] = nibbles(bytes(word.add(16 * i)));
                    for (t, sums) in sums.iter_mut().enumerate() {
                        let x = raw.q.add(t * raw.k + b * 32 + step * 4);
                        let (x0, x1) = (splat4(x), splat4(x.add(16)));
                        let sum = vmlal_s8(sums[2 * i], vget_low_s8(low), vget_low_s8(x0));
                        sums[2 * i] = vmlal_s8(sum, vget_low_s8(high), vget_low_s8(x1));
                        let sum = vmlal_high_s8(sums[2 * i + 1], low, x0);
                        sums[2 * i + 1] = vmlal_high_s8(sum, high, x1);
                    }
                }
            }
            let d = scales(w);
            for (t, acc) in acc.iter_mut().enumerate() {
                let at = t * blocks + b;
                let less = vdupq_n_s32(*raw.s.add(at) * 8);
                let [a, b01, c, e] = sums[t].map(|v| vpaddlq_s16(v));
                let dots = [vpaddq_s32(a, b01), vpaddq_s32(c, e)].map(|v| vsubq_s32(v, less));
                add_block(acc, dots, d, *raw.d.add(at));
            }
        }
    }
    // SAFETY: see Raw.
    unsafe { store(raw, acc) };
}

/// The kernels of quantised weights with `sdot`.
mod dot {
    use super::*;

    /// acc + the products of each word of `w` with word LANE of `x`. The
    /// intrinsic of this name is not stable Rust yet.
    #[inline]
    #[target_feature(enable = "dotprod")]
    fn sdot<const LANE: usize>(mut acc: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
        // SAFETY: it reads and writes these registers alone.
        unsafe {
            core::arch::asm!(
                "sdot {acc:v}.4s, {w:v}.16b, {x:v}.4b[{lane}]",
                acc = inout(vreg) acc,
                w = in(vreg) w,
                x = in(vreg) x,
                lane = const LANE,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        acc
    }

    /// Adds word LANE of T vectors times the words of eight rows.
    #[inline]
    #[target_feature(enable = "dotprod")]
    fn step<const LANE: usize, const T: usize>(
        dots: &mut [Dots; T],
        w: [int8x16_t; 2],
        x: [int8x16_t; T],
    ) {
        for (dots, x) in dots.iter_mut().zip(x) {
            *dots = [sdot::<LANE>(dots[0], w[0], x), sdot::<LANE>(dots[1], w[1], x)];
        }
    }

    /// Sixteen activations of T vectors.
    ///
    /// # Safety
    /// `x` good for sixteen numbers, T vectors of `k` on.
    #[inline]
    #[target_feature(enable = "dotprod")]
    unsafe fn acts<const T: usize>(x: *const Quant, k: usize) -> [int8x16_t; T] {
        let mut out = [vdupq_n_s8(0); T];
        for (t, out) in out.iter_mut().enumerate() {
            // SAFETY: the caller's.
            *out = unsafe { signed(x.add(t * k).cast()) };
        }
        out
    }

    /// # Safety
    /// `p` passed `Product::check`; the machine has `sdot`.
    #[target_feature(enable = "dotprod")]
    pub unsafe fn q8_0(p: &mut Product<'_, '_>) {
        for_each_tile!(p, q8_0_tile, 4 2 1);
    }

    #[inline]
    #[target_feature(enable = "dotprod")]
    unsafe fn q8_0_tile<const T: usize>(raw: Raw) {
        let mut acc = [[vdupq_n_f32(0.0); 2]; T];
        let blocks = raw.k / 32;
        for b in 0..blocks {
            // SAFETY: block b of the group (16 + 256 bytes) and of each vector: see Raw.
            unsafe {
                let w = raw.w.add(b * 272);
                let mut dots = [[vdupq_n_s32(0); 2]; T];
                for half in 0..2 {
                    let x = acts::<T>(raw.q.add(b * 32 + half * 16), raw.k);
                    let word = |i: usize| {
                        let word = w.add(16 + half * 128 + i * 32);
                        [signed(word), signed(word.add(16))]
                    };
                    step::<0, T>(&mut dots, word(0), x);
                    step::<1, T>(&mut dots, word(1), x);
                    step::<2, T>(&mut dots, word(2), x);
                    step::<3, T>(&mut dots, word(3), x);
                }
                let d = scales(w);
                for (t, acc) in acc.iter_mut().enumerate() {
                    add_block(acc, dots[t], d, *raw.d.add(t * blocks + b));
                }
            }
        }
        // SAFETY: see Raw.
        unsafe { store(raw, acc) };
    }

    /// # Safety
    /// `p` passed `Product::check`; the machine has `sdot`.
    #[target_feature(enable = "dotprod")]
    pub unsafe fn q4_0(p: &mut Product<'_, '_>) {
        for_each_tile!(p, q4_0_tile, 4 2 1);
    }

    #[inline]
    #[target_feature(enable = "dotprod")]
    unsafe fn q4_0_tile<const T: usize>(raw: Raw) {
        let mut acc = [[vdupq_n_f32(0.0); 2]; T];
        let blocks = raw.k / 32;
        for b in 0..blocks {
            // SAFETY: block b of the group (16 + 128 bytes) and of each vector: see Raw.
            unsafe {
                let w = raw.w.add(b * 144);
                let mut dots = [[vdupq_n_s32(0); 2]; T];
                for (t, dots) in dots.iter_mut().enumerate() {
                    *dots = [vdupq_n_s32(*raw.s.add(t * blocks + b) * -8); 2];
                }
                let (low, high) =
                    (acts::<T>(raw.q.add(b * 32), raw.k), acts::<T>(raw.q.add(b * 32 + 16), raw.k));
                let word = |i: usize| {
                    let word = w.add(16 + i * 32);
                    let (a, b) = (nibbles(bytes(word)), nibbles(bytes(word.add(16))));
                    ([a[0], b[0]], [a[1], b[1]])
                };
                let words = [word(0), word(1), word(2), word(3)];
                step::<0, T>(&mut dots, words[0].0, low);
                step::<0, T>(&mut dots, words[0].1, high);
                step::<1, T>(&mut dots, words[1].0, low);
                step::<1, T>(&mut dots, words[1].1, high);
                step::<2, T>(&mut dots, words[2].0, low);
                step::<2, T>(&mut dots, words[2].1, high);
                step::<3, T>(&mut dots, words[3].0, low);
                step::<3, T>(&mut dots, words[3].1, high);
                let d = scales(w);
                for (t, acc) in acc.iter_mut().enumerate() {
                    add_block(acc, dots[t], d, *raw.d.add(t * blocks + b));
                }
            }
        }
        // SAFETY: see Raw.
        unsafe { store(raw, acc) };
    }
}
