//! Elementwise arithmetic, on one number or on as many as a register holds.
//!
//! [`crate::math`] and the loops of a layer are written once, for any [`Real`]:
//! `f32` is one, and [`Lanes`] is what they take at a time. Where a build has
//! vectors and its optimisation level makes none by itself (wasm), that is a
//! vector; elsewhere it is `f32`, and the compiler's vectoriser does what it can.
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

/// `x[i] = f(x[i])` for every element.
#[inline(always)]
pub fn map(x: &mut [f32], f: impl Fn(Lanes) -> Lanes) {
    // One loop for the whole chunks and the rest, so that `f` is compiled once.
    for x in x.chunks_mut(N_LANES) {
        let numbers = chunk(x, 0).unwrap_or_else(|| part(x));
        let numbers: [f32; N_LANES] = bytemuck::cast(f(numbers));
        match x.first_chunk_mut() {
            Some(x) => *x = numbers,
            None => slices::copy(x, &numbers),
        }
    }
}

/// What there is of less than a chunk, then zeros.
#[inline(never)]
fn part(x: &[f32]) -> Lanes {
    let mut all = [0.0; N_LANES];
    slices::copy(&mut all, x);
    bytemuck::cast(all)
}

/// `x[i] = f(x[i], a[i])` for every element, as far as the shorter goes.
#[inline(always)]
pub fn update(x: &mut [f32], a: &[f32], f: impl Fn(Lanes, Lanes) -> Lanes) {
    update3(x, [a; 3], |x, [a, ..]| f(x, a));
}

/// The same with two slices.
#[inline(always)]
pub fn update2(x: &mut [f32], [a, b]: [&[f32]; 2], f: impl Fn(Lanes, [Lanes; 2]) -> Lanes) {
    update3(x, [a, b, b], |x, [a, b, _]| f(x, [a, b]));
}

/// The same with three.
#[inline(always)]
pub fn update3(x: &mut [f32], [a, b, c]: [&[f32]; 3], f: impl Fn(Lanes, [Lanes; 3]) -> Lanes) {
    // Cut to one length, so that one look at the place is enough for all.
    let n = x.len().min(a.len()).min(b.len()).min(c.len());
    let x = x.get_mut(..n).unwrap_or_default();
    let [a, b, c] = [first(a, n), first(b, n), first(c, n)];
    let mut at = 0;
    while let (Some(x), Some(a), Some(b), Some(c)) =
        (chunk_mut(x, at), chunk(a, at), chunk(b, at), chunk(c, at))
    {
        *x = bytemuck::cast(f(bytemuck::cast(*x), [a, b, c]));
        at += N_LANES;
    }
    // What is less than a chunk, number by number.
    while let (Some(x), Some(a), Some(b), Some(c)) =
        (x.get_mut(at), a.get(at), b.get(at), c.get(at))
    {
        let all = [Lanes::splat(*a), Lanes::splat(*b), Lanes::splat(*c)];
        let [first, ..]: [f32; N_LANES] = bytemuck::cast(f(Lanes::splat(*x), all));
        *x = first;
        at += 1;
    }
}

#[inline(always)]
fn first(x: &[f32], n: usize) -> &[f32] {
    x.get(..n).unwrap_or_default()
}

/// The chunk at a place.
#[inline(always)]
fn chunk(x: &[f32], at: usize) -> Option<Lanes> {
    x.get(at..)?.first_chunk::<N_LANES>().map(|x| bytemuck::cast(*x))
}

#[inline(always)]
fn chunk_mut(x: &mut [f32], at: usize) -> Option<&mut [f32; N_LANES]> {
    x.get_mut(at..)?.first_chunk_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_reach_every_element_of_the_shortest() {
        for n in 0..10 {
            let mut x: [f32; 9] = core::array::from_fn(|i| i as f32);
            let (y, z) = ([0.5; 9], [2.0; 9]);
            update2(&mut x, [&y[..n.min(9)], &z], |x, [y, z]| x * z + y);
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
