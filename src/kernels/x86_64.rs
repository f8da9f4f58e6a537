//! Kernels for x86-64: AVX2, and with it AVX-VNNI or AVX-512 VNNI, chosen when
//! the machine says it has them.
//!
//! The eight rows of a group are the eight lanes of a vector, and a word of a
//! packed group is what one lane of a byte product takes: four weights of one
//! row. Those products want one operand without a sign:
//!
//! - Q4_0: the nibbles as they are, 0..=15. They stand for numbers less by 8,
//!   so 8 x (sum of the activations) is taken off.
//! - Q8_0 with VNNI: the weight + 128, by one XOR, and 128 x (sum of the
//!   activations) taken off.
//! - Q8_0 without: |weight| and the activation with the weight's sign. Two such
//!   products are at most 2 x 128 x 127, which 16 bits hold.
//!
//! All of it is exact, so nothing here can differ from the reference but the
//! order of the sums in `f32`, which is the reference's.

use super::{Product, Quant};
use crate::quant::DType;
use core::arch::x86_64::*;

/// Which of the sets below this machine can run.
#[derive(Clone, Copy, Default)]
pub(super) struct Features {
    pub avx2: bool,
    /// VNNI in 256 bits, by AVX's encoding.
    pub avx_vnni: bool,
    /// VNNI in 256 bits, by AVX-512's encoding: twice the registers.
    pub avx512_vnni: bool,
}

/// Asks the processor, and whether the system saves the registers.
pub(super) fn features() -> Features {
    #[target_feature(enable = "xsave")]
    fn enabled_state() -> u64 {
        // SAFETY: reading XCR0 is allowed where OSXSAVE is set, which the caller saw.
        unsafe { _xgetbv(0) }
    }
    // SAFETY: every x86-64 processor has CPUID.
    #[allow(unused_unsafe)]
    let (top, one) = unsafe { (__cpuid(0).eax, __cpuid(1).ecx) };
    let has = |register: u32, bits: &[u32]| bits.iter().all(|bit| register & (1 << bit) != 0);
    let (fma, osxsave, avx, f16c) = (12, 27, 28, 29);
    if top < 7 || !has(one, &[osxsave, avx]) {
        return Features::default();
    }
    // SAFETY: OSXSAVE implies XSAVE.
    let state = unsafe { enabled_state() } as u32;
    // SAFETY: leaf 7 exists, as `top` says; a part that does not is all zeros
    // or, before processors had any part but 0, not asked for.
    #[allow(unused_unsafe)]
    let (seven, more) = unsafe {
        let seven = __cpuid_count(7, 0);
        (seven, if seven.eax >= 1 { __cpuid_count(7, 1).eax } else { 0 })
    };
    let (avx2_bit, avx512f, avx512vl, avx512_vnni, avx_vnni) = (5, 16, 31, 11, 4);
    // State of the SSE and AVX registers; then of the masks and the larger ones.
    let avx2 = has(state, &[1, 2]) && has(seven.ebx, &[avx2_bit]);
    // The compiler takes FMA and F16C for granted where it has AVX-512.
    let avx512 = has(state, &[5, 6, 7]) && has(seven.ebx, &[avx512f, avx512vl]);
    Features {
        avx2,
        avx_vnni: avx2 && has(more, &[avx_vnni]),
        avx512_vnni: avx2 && avx512 && has(one, &[fma, f16c]) && has(seven.ecx, &[avx512_vnni]),
    }
}

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

/// How far ahead of its use memory is asked for. The processor's own prefetching
/// ends at a page of 4 KiB; this goes on into the next one.
const AHEAD: usize = 2048;

/// Asks for a block of `bytes` that will be read soon. Any address may be asked for.
#[inline(always)]
fn prefetch(p: *const u8, bytes: usize) {
    for line in 0..bytes.div_ceil(64) {
        // SAFETY: SSE is in every x86-64, and a prefetch reads nothing that could be seen.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.wrapping_add(AHEAD + line * 64).cast()) };
    }
}

/// Half precision in the upper 16 bits of each lane, to single; see wasm32.rs.
#[inline]
#[target_feature(enable = "avx2")]
fn half_high_to_f32(v: __m256i) -> __m256 {
    let bits = _mm256_and_si256(_mm256_srai_epi32(v, 3), _mm256_set1_epi32(0x8fff_e000_u32 as i32));
    _mm256_mul_ps(_mm256_castsi256_ps(bits), _mm256_set1_ps(5.192_297e33))
}

/// # Safety
/// `p` good for 16 bytes.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn scales(p: *const u8) -> __m256 {
    // SAFETY: the caller's.
    let halves = unsafe { _mm_loadu_si128(p.cast()) };
    half_high_to_f32(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16))
}

/// # Safety
/// `p` good for 32 bytes.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn words(p: *const u8) -> __m256i {
    // SAFETY: the caller's.
    unsafe { _mm256_loadu_si256(p.cast()) }
}

/// Four activations in every lane.
///
/// # Safety
/// `x` good for four numbers.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn splat4(x: *const Quant) -> __m256i {
    // SAFETY: the caller's.
    _mm256_set1_epi32(unsafe { x.cast::<i32>().read_unaligned() })
}

#[inline]
#[target_feature(enable = "avx2")]
fn mul_add(acc: __m256, w: __m256, x: __m256) -> __m256 {
    // Two roundings on purpose: the contract knows no fused multiply-add.
    _mm256_add_ps(acc, _mm256_mul_ps(w, x))
}

/// A block's integers, scaled, onto the rows' sums.
#[inline]
#[target_feature(enable = "avx2")]
fn add_block(acc: __m256, dot: __m256i, d: __m256, xd: f32) -> __m256 {
    mul_add(acc, _mm256_cvtepi32_ps(dot), _mm256_mul_ps(d, _mm256_set1_ps(xd)))
}

/// # Safety
/// `raw.y` good for eight results of T vectors.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store<const T: usize>(raw: Raw, acc: [__m256; T]) {
    for (t, acc) in acc.into_iter().enumerate() {
        // SAFETY: the caller's.
        unsafe { _mm256_storeu_ps(raw.y.add(t * raw.y_stride), acc) };
    }
}

/// The stated fold of four partial sums.
#[inline]
#[target_feature(enable = "avx2")]
fn fold(p: [__m256; 4]) -> __m256 {
    _mm256_add_ps(_mm256_add_ps(p[0], p[1]), _mm256_add_ps(p[2], p[3]))
}

/// Runs a product that passed `Product::check`.
pub(super) fn avx2(p: &mut Product<'_, '_>) {
    // SAFETY: `Isa` with this set is only made where features() named it, and
    // the caller checked `p`.
    unsafe {
        match p.w.dtype {
            DType::F32 => f32(p),
            DType::F16 => f16(p),
            DType::Q8_0 => q8_0(p),
            DType::Q4_0 => q4_0(p),
        }
    }
}

#[target_feature(enable = "avx2")]
unsafe fn f32(p: &mut Product<'_, '_>) {
    for_each_tile!(p, f32_tile, 2 1);
}

#[inline]
#[target_feature(enable = "avx2")]
unsafe fn f32_tile<const T: usize>(raw: Raw) {
    let mut acc = [[_mm256_setzero_ps(); 4]; T];
    let whole = raw.k & !3;
    // SAFETY: k words of eight rows, k activations, eight results: see Raw.
    unsafe {
        let w = raw.w.cast::<f32>();
        let mut i = 0;
        while i < whole {
            prefetch(raw.w.wrapping_add(i * 32), 128);
            for part in 0..4 {
                let w = _mm256_loadu_ps(w.add((i + part) * 8));
                for (t, acc) in acc.iter_mut().enumerate() {
                    let x = _mm256_set1_ps(*raw.f.add(t * raw.k + i + part));
                    acc[part] = mul_add(acc[part], w, x);
                }
            }
            i += 4;
        }
        for part in 0..raw.k - whole {
            let w = _mm256_loadu_ps(w.add((i + part) * 8));
            for (t, acc) in acc.iter_mut().enumerate() {
                let x = _mm256_set1_ps(*raw.f.add(t * raw.k + i + part));
                acc[part & 3] = mul_add(acc[part & 3], w, x);
            }
        }
        store(raw, acc.map(|p| fold(p)));
    }
}

#[target_feature(enable = "avx2")]
unsafe fn f16(p: &mut Product<'_, '_>) {
    for_each_tile!(p, f16_tile, 2 1);
}

#[inline]
#[target_feature(enable = "avx2")]
unsafe fn f16_tile<const T: usize>(raw: Raw) {
    let mut acc = [[_mm256_setzero_ps(); 4]; T];
    let words_of_a_row = raw.k / 2;
    // SAFETY: k / 2 words of eight rows, k activations, eight results: see Raw.
    unsafe {
        let mut i = 0;
        while i < words_of_a_row {
            prefetch(raw.w.wrapping_add(i * 32), 64);
            // Words of an even place hold elements of sums 0 and 1, the others of 2 and 3.
            for half in 0..2 {
                if i + half < words_of_a_row {
                    let pair = words(raw.w.add((i + half) * 32));
                    let w0 = half_high_to_f32(_mm256_slli_epi32(pair, 16));
                    let w1 = half_high_to_f32(pair);
                    for (t, acc) in acc.iter_mut().enumerate() {
                        let x = raw.f.add(t * raw.k + (i + half) * 2);
                        let (a, b) = (half * 2, half * 2 + 1);
                        acc[a] = mul_add(acc[a], w0, _mm256_set1_ps(*x));
                        acc[b] = mul_add(acc[b], w1, _mm256_set1_ps(*x.add(1)));
                    }
                }
            }
            i += 2;
        }
        store(raw, acc.map(|p| fold(p)));
    }
}

/// Both nibbles of each byte, the lower ones first.
#[inline]
#[target_feature(enable = "avx2")]
fn nibbles(bytes: __m256i) -> (__m256i, __m256i) {
    let mask = _mm256_set1_epi8(15);
    (_mm256_and_si256(bytes, mask), _mm256_and_si256(_mm256_srli_epi16(bytes, 4), mask))
}

#[target_feature(enable = "avx2")]
unsafe fn q8_0(p: &mut Product<'_, '_>) {
    for_each_tile!(p, q8_0_tile, 4 2 1);
}

#[inline]
#[target_feature(enable = "avx2")]
unsafe fn q8_0_tile<const T: usize>(raw: Raw) {
    let ones = _mm256_set1_epi16(1);
    let mut acc = [_mm256_setzero_ps(); T];
    let blocks = raw.k / 32;
    for b in 0..blocks {
        // SAFETY: block b of the group (16 + 256 bytes) and of each vector: see Raw.
        unsafe {
            let w = raw.w.add(b * 272);
            prefetch(w, 272);
            let d = scales(w);
            let mut dots = [_mm256_setzero_si256(); T];
            for step in 0..8 {
                let word = words(w.add(16 + step * 32));
                let size = _mm256_abs_epi8(word);
                for (t, dot) in dots.iter_mut().enumerate() {
                    let x = splat4(raw.q.add(t * raw.k + b * 32 + step * 4));
                    let pairs = _mm256_maddubs_epi16(size, _mm256_sign_epi8(x, word));
                    *dot = _mm256_add_epi32(*dot, _mm256_madd_epi16(pairs, ones));
                }
            }
            for (t, acc) in acc.iter_mut().enumerate() {
                *acc = add_block(*acc, dots[t], d, *raw.d.add(t * blocks + b));
            }
        }
    }
    // SAFETY: see Raw.
    unsafe { store(raw, acc) };
}

#[target_feature(enable = "avx2")]
unsafe fn q4_0(p: &mut Product<'_, '_>) {
    for_each_tile!(p, q4_0_tile, 4 2 1);
}

#[inline]
#[target_feature(enable = "avx2")]
unsafe fn q4_0_tile<const T: usize>(raw: Raw) {
    let ones = _mm256_set1_epi16(1);
    let mut acc = [_mm256_setzero_ps(); T];
    let blocks = raw.k / 32;
    for b in 0..blocks {
        // SAFETY: block b of the group (16 + 128 bytes) and of each vector: see Raw.
        unsafe {
            let w = raw.w.add(b * 144);
            prefetch(w, 144);
            let d = scales(w);
            // Eight times two products of at most 15 x 127: 30,480, which 16 bits hold.
            let mut pairs = [_mm256_setzero_si256(); T];
            for step in 0..4 {
                let (low, high) = nibbles(words(w.add(16 + step * 32)));
                for (t, pairs) in pairs.iter_mut().enumerate() {
                    let x = raw.q.add(t * raw.k + b * 32 + step * 4);
                    let a = _mm256_maddubs_epi16(low, splat4(x));
                    let b = _mm256_maddubs_epi16(high, splat4(x.add(16)));
                    *pairs = _mm256_add_epi16(*pairs, _mm256_add_epi16(a, b));
                }
            }
            for (t, acc) in acc.iter_mut().enumerate() {
                let at = t * blocks + b;
                let less = _mm256_set1_epi32(*raw.s.add(at) * 8);
                let dot = _mm256_sub_epi32(_mm256_madd_epi16(pairs[t], ones), less);
                *acc = add_block(*acc, dot, d, *raw.d.add(at));
            }
        }
    }
    // SAFETY: see Raw.
    unsafe { store(raw, acc) };
}

/// The kernels of quantised weights with VNNI, whose one instruction multiplies
/// and adds a whole word; once for either encoding of it.
macro_rules! vnni {
    ($set:ident, $features:literal, $dot:ident, $($tile:literal)*) => {
        pub(super) mod $set {
            use super::*;

            /// Runs a product that passed `Product::check`.
            pub fn matmul(p: &mut Product<'_, '_>) {
                // SAFETY: `Isa` with this set is only made where features() named it,
                // which implies AVX2, and the caller checked `p`.
                unsafe {
                    match p.w.dtype {
                        DType::F32 => f32(p),
                        DType::F16 => f16(p),
                        DType::Q8_0 => q8_0(p),
                        DType::Q4_0 => q4_0(p),
                    }
                }
            }

            #[target_feature(enable = $features)]
            unsafe fn q8_0(p: &mut Product<'_, '_>) {
                for_each_tile!(p, q8_0_tile, $($tile)*);
            }

            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn q8_0_tile<const T: usize>(raw: Raw) {
                let offset = _mm256_set1_epi8(-128);
                let mut acc = [_mm256_setzero_ps(); T];
                let blocks = raw.k / 32;
                for b in 0..blocks {
                    // SAFETY: block b of the group (16 + 256 bytes) and of each vector: see Raw.
                    unsafe {
                        let w = raw.w.add(b * 272);
                        prefetch(w, 272);
                        let mut dots = less::<T, 128>(raw, b);
                        for step in 0..8 {
                            let word = _mm256_xor_si256(words(w.add(16 + step * 32)), offset);
                            for (t, dot) in dots.iter_mut().enumerate() {
                                let x = splat4(raw.q.add(t * raw.k + b * 32 + step * 4));
                                *dot = $dot(*dot, word, x);
                            }
                        }
                        add_blocks(raw, b, &mut acc, dots, scales(w));
                    }
                }
                // SAFETY: see Raw.
                unsafe { store(raw, acc) };
            }

            #[target_feature(enable = $features)]
            unsafe fn q4_0(p: &mut Product<'_, '_>) {
                for_each_tile!(p, q4_0_tile, $($tile)*);
            }

            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn q4_0_tile<const T: usize>(raw: Raw) {
                let mut acc = [_mm256_setzero_ps(); T];
                let blocks = raw.k / 32;
                for b in 0..blocks {
                    // SAFETY: block b of the group (16 + 128 bytes) and of each vector: see Raw.
                    unsafe {
                        let w = raw.w.add(b * 144);
                        prefetch(w, 144);
                        let mut dots = less::<T, 8>(raw, b);
                        for step in 0..4 {
                            let (low, high) = nibbles(words(w.add(16 + step * 32)));
                            for (t, dot) in dots.iter_mut().enumerate() {
                                let x = raw.q.add(t * raw.k + b * 32 + step * 4);
                                *dot = $dot($dot(*dot, low, splat4(x)), high, splat4(x.add(16)));
                            }
                        }
                        add_blocks(raw, b, &mut acc, dots, scales(w));
                    }
                }
                // SAFETY: see Raw.
                unsafe { store(raw, acc) };
            }
        }
    };
}

vnni!(avx_vnni, "avx2,avxvnni", _mm256_dpbusd_avx_epi32, 4 2 1);
vnni!(avx512_vnni, "avx2,avx512vl,avx512vnni", _mm256_dpbusd_epi32, 8 4 2 1);

/// What the weights' offset adds to block b's products, with its sign turned.
///
/// # Safety
/// Block b of T vectors: see `Raw`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn less<const T: usize, const OFFSET: i32>(raw: Raw, b: usize) -> [__m256i; T] {
    let mut dots = [_mm256_setzero_si256(); T];
    for (t, dot) in dots.iter_mut().enumerate() {
        // SAFETY: the caller's.
        let sum = unsafe { *raw.s.add(t * (raw.k / 32) + b) };
        // Of activations that overflowed the sum means nothing, and may be large.
        *dot = _mm256_set1_epi32(sum.wrapping_mul(-OFFSET));
    }
    dots
}

/// [`add_block`] for each of T vectors.
///
/// # Safety
/// Block b of T vectors: see `Raw`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn add_blocks<const T: usize>(
    raw: Raw,
    b: usize,
    acc: &mut [__m256; T],
    dots: [__m256i; T],
    d: __m256,
) {
    for (t, acc) in acc.iter_mut().enumerate() {
        // SAFETY: the caller's.
        let xd = unsafe { *raw.d.add(t * (raw.k / 32) + b) };
        *acc = add_block(*acc, dots[t], d, xd);
    }
}
