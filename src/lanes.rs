//! Elementwise arithmetic, on one number or on as many as a register holds.
//!
//! [`crate::math`] and the loops of a layer are written once, for any [`Real`]:
//! `f32` is one, and [`Lanes`] is what they take at a time. Where a build has
//! vectors and its optimisation level makes none by itself (wasm), that is a
//! vector; elsewhere it is `f32`, and the compiler's vectoriser does the rest.
//! Every operation here rounds alike in both, so the bits do not depend on it.
#![forbid(unsafe_code)]

use crate::slices;
use core::ops::{Add, Div, Mul, Neg, Sub};

/// Numbers that are added, multiplied and compared one by one.
pub trait Real:
    Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// Every number is `x`.
    #[must_use]
    fn splat(x: f32) -> Self;
    /// |x|.
    #[must_use]
    fn abs(self) -> Self;
    /// `other` where it is larger, else `self`: NaN in `other` never wins.
    #[must_use]
    fn larger(self, other: Self) -> Self;
    /// `other` where it is smaller, else `self`.
    #[must_use]
    fn smaller(self, other: Self) -> Self;
    /// Its magnitude with the sign of `sign`.
    #[must_use]
    fn copysign(self, sign: Self) -> Self;
    /// 2^x of a whole number in -126..=127.
    #[must_use]
    fn exp2_whole(self) -> Self;
}

/// Adding and subtracting 1.5 x 2^23 rounds to the nearest integer, ties to even.
pub const ROUND: f32 = 12_582_912.0;
/// The bits of 1.0, in which the exponent is that of 2^0.
const ONE: i32 = 0x3f80_0000;
/// Places of the fraction.
const FRACTION: u32 = 23;

impl Real for f32 {
    #[inline(always)]
    fn splat(x: f32) -> Self {
        x
    }

    #[inline(always)]
    fn abs(self) -> Self {
        self.abs()
    }

    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        if self < other { other } else { self }
    }

    #[inline(always)]
    fn smaller(self, other: Self) -> Self {
        if other < self { other } else { self }
    }

    #[inline(always)]
    fn copysign(self, sign: Self) -> Self {
        self.copysign(sign)
    }

    #[inline(always)]
    fn exp2_whole(self) -> Self {
        // Behind the rounding the low bits are the whole number.
        let whole = (self + ROUND).to_bits() << FRACTION;
        Self::from_bits(whole.wrapping_add(ONE as u32))
    }
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod vector {
    use super::*;
    use bytemuck::{Pod, Zeroable};
    use core::arch::wasm32::*;

    /// Four numbers.
    #[derive(Clone, Copy, Pod, Zeroable)]
    #[repr(transparent)]
    pub struct Lanes(v128);

    /// How many numbers [`Lanes`] are.
    pub const N_LANES: usize = 4;

    /// b where a < b, else a.
    #[inline(always)]
    pub(crate) fn larger(a: v128, b: v128) -> v128 {
        // Where there is relaxed-simd, LLVM takes `f32x4.relaxed_max` for
        // `f32x4.pmax`, which leaves NaN and the sign of zero to the machine.
        if cfg!(target_feature = "relaxed-simd") {
            v128_bitselect(b, a, f32x4_lt(a, b))
        } else {
            f32x4_pmax(a, b)
        }
    }

    /// b where b < a, else a.
    #[inline(always)]
    fn smaller(a: v128, b: v128) -> v128 {
        if cfg!(target_feature = "relaxed-simd") {
            v128_bitselect(b, a, f32x4_lt(b, a))
        } else {
            f32x4_pmin(a, b)
        }
    }

    /// Eight numbers, which stay in registers.
    #[derive(Clone, Copy)]
    pub struct Eight(Lanes, Lanes);

    impl Eight {
        /// f of each two.
        #[inline(always)]
        pub fn zip(self, other: Self, f: impl Fn(Lanes, Lanes) -> Lanes) -> Self {
            Self(f(self.0, other.0), f(self.1, other.1))
        }

        /// Them in order.
        #[inline(always)]
        pub fn numbers(self) -> [f32; 8] {
            bytemuck::cast([self.0, self.1])
        }
    }

    impl From<&[f32; 8]> for Eight {
        #[inline(always)]
        fn from(x: &[f32; 8]) -> Self {
            let [a, b]: &[[f32; 4]; 2] = bytemuck::cast_ref(x);
            Self(bytemuck::cast(*a), bytemuck::cast(*b))
        }
    }

    macro_rules! operators {
        ($($name:ident $method:ident $vector:ident),*) => {$(
            impl $name for Lanes {
                type Output = Self;
                #[inline(always)]
                fn $method(self, other: Self) -> Self {
                    Self($vector(self.0, other.0))
                }
            }
        )*};
    }
    operators!(Add add f32x4_add, Sub sub f32x4_sub, Mul mul f32x4_mul, Div div f32x4_div);

    impl Neg for Lanes {
        type Output = Self;
        #[inline(always)]
        fn neg(self) -> Self {
            Self(f32x4_neg(self.0))
        }
    }

    impl Real for Lanes {
        #[inline(always)]
        fn splat(x: f32) -> Self {
            Self(f32x4_splat(x))
        }

        #[inline(always)]
        fn abs(self) -> Self {
            Self(f32x4_abs(self.0))
        }

        #[inline(always)]
        fn larger(self, other: Self) -> Self {
            Self(larger(self.0, other.0))
        }

        #[inline(always)]
        fn smaller(self, other: Self) -> Self {
            Self(smaller(self.0, other.0))
        }

        #[inline(always)]
        fn copysign(self, sign: Self) -> Self {
            Self(v128_bitselect(sign.0, self.0, f32x4_splat(-0.0)))
        }

        #[inline(always)]
        fn exp2_whole(self) -> Self {
            let whole = i32x4_shl(f32x4_add(self.0, f32x4_splat(ROUND)), FRACTION);
            Self(i32x4_add(whole, i32x4_splat(ONE)))
        }
    }
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use vector as chosen;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(crate) use vector::larger;

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod chosen {
    /// One number.
    pub type Lanes = f32;
    /// How many numbers [`Lanes`] are.
    pub const N_LANES: usize = 1;

    /// Eight numbers.
    #[derive(Clone, Copy)]
    pub struct Eight([f32; 8]);

    impl Eight {
        /// f of each two.
        #[inline(always)]
        pub fn zip(mut self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
            for (a, b) in self.0.iter_mut().zip(other.0) {
                *a = f(*a, b);
            }
            self
        }

        /// Them in order.
        pub fn numbers(self) -> [f32; 8] {
            self.0
        }
    }

    impl From<&[f32; 8]> for Eight {
        fn from(x: &[f32; 8]) -> Self {
            Self(*x)
        }
    }
}

pub use chosen::{Eight, Lanes, N_LANES};

/// The first numbers of a slice.
#[inline(always)]
fn load(x: &[f32]) -> Lanes {
    match x.first_chunk::<N_LANES>() {
        Some(chunk) => bytemuck::cast(*chunk),
        None => part(x),
    }
}

/// What there is of less than a chunk, then zeros.
#[inline(never)]
fn part(x: &[f32]) -> Lanes {
    let mut all = [0.0; N_LANES];
    slices::copy(&mut all, x);
    bytemuck::cast(all)
}

/// Puts numbers where they fit.
#[inline(always)]
fn store(numbers: Lanes, x: &mut [f32]) {
    match x.first_chunk_mut::<N_LANES>() {
        Some(chunk) => *chunk = bytemuck::cast(numbers),
        None => slices::copy(x, &bytemuck::cast::<_, [f32; N_LANES]>(numbers)),
    }
}

/// `x[i] = f(x[i], y[i], ...)` for every element, as far as the shortest goes.
#[inline(always)]
pub fn update<const N: usize>(
    x: &mut [f32],
    y: [&[f32]; N],
    f: impl Fn(Lanes, [Lanes; N]) -> Lanes,
) {
    let n = y.iter().fold(x.len(), |n, y| n.min(y.len()));
    // Cut to one length, so that the compiler sees that no index is beyond it.
    let y = y.map(|y| y.get(..n).unwrap_or_default());
    let Some(x) = x.get_mut(..n) else { return };
    let mut at = 0;
    while at < n {
        let y = y.map(|y| load(y.get(at..).unwrap_or_default()));
        let x = x.get_mut(at..).unwrap_or_default();
        store(f(load(x), y), x);
        at += N_LANES;
    }
}

/// `x[i] = f(x[i])` for every element.
#[inline(always)]
pub fn map(x: &mut [f32], f: impl Fn(Lanes) -> Lanes) {
    update(x, [], |x, []| f(x));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_reach_every_element_of_the_shortest() {
        for n in 0..10 {
            let mut x: [f32; 9] = core::array::from_fn(|i| i as f32);
            let (y, z) = ([0.5; 9], [2.0; 9]);
            update(&mut x, [&y[..n.min(9)], &z], |x, [y, z]| x * z + y);
            for (i, x) in x.iter().enumerate() {
                assert_eq!(*x, if i < n { 2.0 * i as f32 + 0.5 } else { i as f32 });
            }
        }
    }

    #[test]
    fn powers_of_two_are_exact() {
        for n in -126..=127 {
            assert_eq!((n as f32).exp2_whole(), 2f32.powi(n));
        }
    }
}
