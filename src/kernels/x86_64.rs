//! Kernels for x86-64 with AVX2, chosen when the machine says it has it.
//!
//! The eight rows of a group are the eight lanes of a vector. As in the wasm
//! kernels, `vpmaddwd` leaves two sums per row, added once per block.

use super::Product;
use crate::quant::DType;
use core::arch::x86_64::*;

/// Whether the processor has AVX2 and the system saves its registers.
pub(super) fn has_avx2() -> bool {
    #[target_feature(enable = "xsave")]
    fn enabled_state() -> u64 {
        // SAFETY: reading XCR0 is allowed where OSXSAVE is set, which the caller saw.
        unsafe { _xgetbv(0) }
    }
    // SAFETY: every x86-64 processor has CPUID.
    #[allow(unused_unsafe)]
    let (top, one) = unsafe { (__cpuid(0).eax, __cpuid(1).ecx) };
    const OSXSAVE: u32 = 1 << 27;
    const YMM_STATE: u64 = 0b110;
    if top < 7 || one & OSXSAVE == 0 {
        return false;
    }
    // SAFETY: OSXSAVE implies XSAVE.
    let state = unsafe { enabled_state() };
    // SAFETY: leaf 7 exists, as `top` says.
    #[allow(unused_unsafe)]
    let seven = unsafe { __cpuid_count(7, 0).ebx };
    state & YMM_STATE == YMM_STATE && seven & (1 << 5) != 0
}

/// Runs a product that passed `Product::check`.
pub(super) fn matmul(p: &mut Product<'_, '_>) {
    // SAFETY: `Isa` with this set is only made where has_avx2() held, and the
    // caller checked `p`.
    unsafe {
        match p.w.dtype {
            DType::F32 => f32(p),
            DType::F16 => f16(p),
            DType::Q8_0 => q8_0(p),
            DType::Q4_0 => q4_0(p),
        }
    }
}

/// Pointers into one product, moved only inside what `Product::check`
/// established: w over a group of `k` columns, the others over one vector of
/// `k` (`k / 32` blocks), y over eight results.
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
        }
    }
}

/// Two vectors at a time over a group, then the odd one.
macro_rules! for_each_tile {
    ($p:ident, $tile:ident) => {
        for g in 0..$p.w.n_groups {
            let mut t = 0;
            while t < $p.n {
                // SAFETY: g < n_groups, t < n; two vectors only where t + 1 < n.
                unsafe {
                    let raw = raw($p, g, t);
                    if t + 1 < $p.n {
                        $tile::<2>(raw, $p.y_stride);
                    } else {
                        $tile::<1>(raw, $p.y_stride);
                    }
                }
                t += 2;
            }
        }
    };
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

#[inline]
#[target_feature(enable = "avx2")]
fn mul_add(acc: __m256, w: __m256, x: __m256) -> __m256 {
    // Two roundings on purpose: the contract knows no fused multiply-add.
    _mm256_add_ps(acc, _mm256_mul_ps(w, x))
}

/// # Safety
/// `y` good for eight numbers.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store_folded(y: *mut f32, p: [__m256; 4]) {
    let sum = _mm256_add_ps(_mm256_add_ps(p[0], p[1]), _mm256_add_ps(p[2], p[3]));
    // SAFETY: the caller's.
    unsafe { _mm256_storeu_ps(y, sum) };
}

#[target_feature(enable = "avx2")]
unsafe fn f32(p: &mut Product<'_, '_>) {
    for_each_tile!(p, f32_tile);
}

#[inline]
#[target_feature(enable = "avx2")]
unsafe fn f32_tile<const T: usize>(raw: Raw, y_stride: usize) {
    for t in 0..T {
        let mut acc = [_mm256_setzero_ps(); 4];
        // SAFETY: k words of eight rows, k activations, eight results: see Raw.
        unsafe {
            let (w, x) = (raw.w.cast::<f32>(), raw.f.add(t * raw.k));
            let whole = raw.k & !3;
            let mut i = 0;
            while i < whole {
                for (part, acc) in acc.iter_mut().enumerate() {
                    let at = i + part;
                    *acc =
                        mul_add(*acc, _mm256_loadu_ps(w.add(at * 8)), _mm256_set1_ps(*x.add(at)));
                }
                i += 4;
            }
            for (part, acc) in acc.iter_mut().enumerate().take(raw.k - whole) {
                let at = i + part;
                *acc = mul_add(*acc, _mm256_loadu_ps(w.add(at * 8)), _mm256_set1_ps(*x.add(at)));
            }
            store_folded(raw.y.add(t * y_stride), acc);
        }
    }
}

#[target_feature(enable = "avx2")]
unsafe fn f16(p: &mut Product<'_, '_>) {
    for_each_tile!(p, f16_tile);
}

#[inline]
#[target_feature(enable = "avx2")]
unsafe fn f16_tile<const T: usize>(raw: Raw, y_stride: usize) {
    for t in 0..T {
        let mut acc = [_mm256_setzero_ps(); 4];
        // SAFETY: k / 2 words of eight rows, k activations, eight results: see Raw.
        unsafe {
            let x = raw.f.add(t * raw.k);
            for i in 0..raw.k / 2 {
                let pair = _mm256_loadu_si256(raw.w.add(i * 32).cast());
                let w0 = half_high_to_f32(_mm256_slli_epi32(pair, 16));
                let w1 = half_high_to_f32(pair);
                let first = i % 2 * 2;
                acc[first] = mul_add(acc[first], w0, _mm256_set1_ps(*x.add(i * 2)));
                acc[first + 1] = mul_add(acc[first + 1], w1, _mm256_set1_ps(*x.add(i * 2 + 1)));
            }
            store_folded(raw.y.add(t * y_stride), acc);
        }
    }
}

/// Four activations in every 64 bits.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn splat4(x: *const i16) -> __m256i {
    // SAFETY: the caller's pointer is good for four numbers.
    _mm256_set1_epi64x(unsafe { x.cast::<i64>().read_unaligned() })
}

/// Adds the dots (rows 0..4 and 4..8, two sums each) to the rows' sums, scaled.
#[inline]
#[target_feature(enable = "avx2")]
fn add_block(acc: &mut __m256, dots: [__m256i; 2], less: i32, d: __m256, xd: f32) {
    // hadd works inside 128-bit halves: rows 0 1 4 5 | 2 3 6 7.
    let sum = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(dots[0], dots[1]));
    let sum = _mm256_cvtepi32_ps(_mm256_sub_epi32(sum, _mm256_set1_epi32(less)));
    *acc = mul_add(*acc, sum, _mm256_mul_ps(d, _mm256_set1_ps(xd)));
}

#[target_feature(enable = "avx2")]
unsafe fn q8_0(p: &mut Product<'_, '_>) {
    for_each_tile!(p, q8_0_tile);
}

#[inline]
#[target_feature(enable = "avx2")]
unsafe fn q8_0_tile<const T: usize>(raw: Raw, y_stride: usize) {
    let mut acc = [_mm256_setzero_ps(); T];
    let blocks = raw.k / 32;
    for b in 0..blocks {
        // SAFETY: block b of the group (16 + 256 bytes) and of each vector: see Raw.
        unsafe {
            let w = raw.w.add(b * 272);
            let d = scales(w);
            let mut dots = [[_mm256_setzero_si256(); 2]; T];
            for step in 0..8 {
                let word = w.add(16 + step * 32).cast::<__m128i>();
                let low = _mm256_cvtepi8_epi16(_mm_loadu_si128(word));
                let high = _mm256_cvtepi8_epi16(_mm_loadu_si128(word.add(1)));
                for (t, dots) in dots.iter_mut().enumerate() {
                    let x = splat4(raw.q.add(t * raw.k + b * 32 + step * 4));
                    dots[0] = _mm256_add_epi32(dots[0], _mm256_madd_epi16(low, x));
                    dots[1] = _mm256_add_epi32(dots[1], _mm256_madd_epi16(high, x));
                }
            }
            for (t, acc) in acc.iter_mut().enumerate() {
                add_block(acc, dots[t], 0, d, *raw.d.add(t * blocks + b));
            }
        }
    }
    // SAFETY: eight results of each vector: see Raw.
    unsafe { store_tile(raw, y_stride, acc) };
}

#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store_tile<const T: usize>(raw: Raw, y_stride: usize, acc: [__m256; T]) {
    for (t, acc) in acc.into_iter().enumerate() {
        // SAFETY: eight results of vector t: see Raw.
        unsafe { _mm256_storeu_ps(raw.y.add(t * y_stride), acc) };
    }
}

#[target_feature(enable = "avx2")]
unsafe fn q4_0(p: &mut Product<'_, '_>) {
    for_each_tile!(p, q4_0_tile);
}

#[inline]
#[target_feature(enable = "avx2")]
unsafe fn q4_0_tile<const T: usize>(raw: Raw, y_stride: usize) {
    let mut acc = [_mm256_setzero_ps(); T];
    let blocks = raw.k / 32;
    let nibble = _mm256_set1_epi16(15);
    for b in 0..blocks {
        // SAFETY: block b of the group (16 + 128 bytes) and of each vector: see Raw.
        unsafe {
            let w = raw.w.add(b * 144);
            let d = scales(w);
            let mut dots = [[_mm256_setzero_si256(); 2]; T];
            for step in 0..4 {
                let word = w.add(16 + step * 32).cast::<__m128i>();
                for half in 0..2 {
                    let bytes = _mm256_cvtepu8_epi16(_mm_loadu_si128(word.add(half)));
                    let low = _mm256_and_si256(bytes, nibble);
                    let high = _mm256_srli_epi16(bytes, 4);
                    for (t, dots) in dots.iter_mut().enumerate() {
                        let x = raw.q.add(t * raw.k + b * 32 + step * 4);
                        let a = _mm256_madd_epi16(low, splat4(x));
                        let b = _mm256_madd_epi16(high, splat4(x.add(16)));
                        dots[half] = _mm256_add_epi32(dots[half], _mm256_add_epi32(a, b));
                    }
                }
            }
            for (t, acc) in acc.iter_mut().enumerate() {
                // The nibbles are offset by 8: take 8 x (sum of the activations) off.
                let less = *raw.s.add(t * blocks + b) * 8;
                add_block(acc, dots[t], less, d, *raw.d.add(t * blocks + b));
            }
        }
    }
    // SAFETY: eight results of each vector: see Raw.
    unsafe { store_tile(raw, y_stride, acc) };
}
