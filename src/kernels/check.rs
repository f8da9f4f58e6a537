//! The suite every instruction set must pass: equal to the scalar reference,
//! to the bit, and the reference equal to a plain sum in `f64`.
//!
//! It needs no `std`, so that a wasm build can run it on itself.
#![forbid(unsafe_code)]

use super::{Acts, BLOCK, Isa, Quant, Weights, acts, matmul, quantize, row};
use crate::lanes::{self, Lanes, Real};
use crate::math;
use crate::quant::{DType, GROUP, dequantize_row, half_to_f32, pack_group, quantize_row};

/// The largest case: columns, groups, vectors.
const MAX_K: usize = 416;
const MAX_GROUPS: usize = 3;
const MAX_N: usize = 7;
const MAX_ROWS: usize = MAX_GROUPS * GROUP;

/// Shapes (k, groups, n); odd ones are skipped by formats they do not fit.
const SHAPES: [(usize, usize, usize); 15] = [
    (1, 1, 1),
    (2, 1, 2),
    (3, 2, 1),
    (6, 1, 3),
    (32, 1, 1),
    (45, 2, 2),
    (64, 2, 1),
    (64, 3, 4),
    (64, 3, 7),
    (90, 2, 1),
    (96, 3, 5),
    (128, 1, 2),
    (224, 2, 3),
    (416, 3, 1),
    (416, 3, 5),
];

/// What is multiplied: enough room for the largest case.
struct Bench {
    /// (rows, k) in file order.
    rows: [u8; MAX_ROWS * MAX_K * 4],
    /// The same, packed.
    packed: [u8; MAX_ROWS * MAX_K * 4],
    f: [f32; MAX_N * MAX_K],
    q: [Quant; MAX_N * MAX_K],
    d: [f32; MAX_N * MAX_K / BLOCK],
    s: [i32; MAX_N * MAX_K / BLOCK],
}

/// xorshift32: the numbers need only be varied.
struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    /// In -1..1, with some zeros and some far larger.
    fn float(&mut self) -> f32 {
        let x = self.next() as i32 as f32 / 2_147_483_648.0;
        match self.next() % 16 {
            0 => 0.0,
            1 => x * 100.0,
            _ => x,
        }
    }
}

impl Bench {
    fn new(dtype: DType, k: usize, n_rows: usize, n: usize, random: &mut Random) -> Option<Self> {
        let mut bench = Self {
            rows: [0; MAX_ROWS * MAX_K * 4],
            packed: [0; MAX_ROWS * MAX_K * 4],
            f: [0.0; MAX_N * MAX_K],
            q: [0; MAX_N * MAX_K],
            d: [0.0; MAX_N * MAX_K / BLOCK],
            s: [0; MAX_N * MAX_K / BLOCK],
        };
        let row_bytes = dtype.row_bytes(k)?;
        let mut numbers = [0.0; MAX_K];
        for bytes in bench.rows.chunks_exact_mut(row_bytes).take(n_rows) {
            let numbers = numbers.get_mut(..k)?;
            numbers.iter_mut().for_each(|x| *x = random.float());
            quantize_row(dtype, numbers, bytes).ok()?;
            if dtype == DType::Q8_0 {
                // A stored -128 is legal in a file and must be taken at its value.
                *bytes.get_mut(2)? = 0x80;
            }
        }
        let group_bytes = row_bytes * GROUP;
        let groups = bench.packed.chunks_exact_mut(group_bytes);
        for (rows, packed) in bench.rows.chunks_exact(group_bytes).zip(groups).take(n_rows / GROUP)
        {
            pack_group(dtype, rows, packed).ok()?;
        }
        bench.f.iter_mut().take(n * k).for_each(|x| *x = random.float());
        if k.is_multiple_of(BLOCK) {
            quantize(dtype, bench.f.get(..n * k)?, &mut bench.q, &mut bench.d, &mut bench.s);
        }
        Some(bench)
    }

    fn acts(&self) -> Acts<'_> {
        Acts { f: &self.f, q: &self.q, d: &self.d, s: &self.s }
    }
}

/// Whether `isa` agrees with the reference on every shape of a format.
///
/// # Errors
/// What differed.
pub fn run(isa: Isa, dtype: DType, seed: u32) -> Result<(), &'static str> {
    let mut random = Random(seed | 1);
    if dtype.is_quantized() {
        quantised(dtype, &mut random)?;
    }
    for (k, groups, n) in SHAPES {
        let fits =
            k.is_multiple_of(dtype.block_len()) && (dtype != DType::F16 || k.is_multiple_of(2));
        if fits {
            let bench = Bench::new(dtype, k, groups * GROUP, n, &mut random);
            case(&bench.ok_or("the case could not be made")?, isa, dtype, (k, groups, n))?;
        }
    }
    Ok(())
}

fn case(
    bench: &Bench,
    isa: Isa,
    dtype: DType,
    shape: (usize, usize, usize),
) -> Result<(), &'static str> {
    let (k, groups, n) = shape;
    let n_rows = groups * GROUP;
    let stride = dtype.row_bytes(k).ok_or("row size")? * GROUP;
    let w = Weights { dtype, data: &bench.packed, n_groups: groups, stride, k };
    let y_stride = n_rows + 3;
    let (mut got, mut want) =
        ([f32::NAN; MAX_N * (MAX_ROWS + 3)], [f32::NAN; MAX_N * (MAX_ROWS + 3)]);
    matmul(isa, w, bench.acts(), n, &mut got, y_stride).map_err(|_| "matmul refused")?;
    matmul(Isa::SCALAR, w, bench.acts(), n, &mut want, y_stride).map_err(|_| "scalar refused")?;
    if got.iter().zip(&want).any(|(a, b)| a.to_bits() != b.to_bits()) {
        return Err("differs from the scalar reference");
    }
    for t in 0..n {
        let x = bench.acts().vector(t, k);
        for (r, bytes) in bench.rows.chunks_exact(stride / GROUP).take(n_rows).enumerate() {
            let lane = want.get(t * y_stride + r).copied().unwrap_or(f32::NAN);
            if lane.to_bits() != row(dtype, bytes, x).to_bits() {
                return Err("a lane differs from the row by itself");
            }
            near(dtype, bytes, x, lane)?;
        }
    }
    Ok(())
}

/// Whether a result is the dot product, summed plainly in f64.
fn near(dtype: DType, bytes: &[u8], x: Acts<'_>, got: f32) -> Result<(), &'static str> {
    let k = x.f.len();
    let mut numbers = [0.0; MAX_K];
    let numbers = numbers.get_mut(..k).ok_or("too wide")?;
    dequantize_row(dtype, bytes, numbers).map_err(|_| "dequantize")?;
    let (mut sum, mut size) = (0.0f64, 0.0f64);
    for (i, (&w, &f)) in numbers.iter().zip(x.f).enumerate() {
        let x = match (dtype.is_quantized(), x.q.as_chunks().0.get(i / BLOCK), x.d.get(i / BLOCK)) {
            (true, Some(q), Some(&d)) => {
                f64::from(acts::numbers(dtype, q)[i % BLOCK]) * f64::from(d)
            }
            _ => f64::from(f),
        };
        sum += f64::from(w) * x;
        size += (f64::from(w) * x).abs();
    }
    let error = (f64::from(got) - sum).abs();
    if error <= size * 1e-5 + 1e-30 { Ok(()) } else { Err("the reference is not the dot product") }
}

/// Whether activations are quantised as the reference does, ties, blocks of
/// zeros and of next to nothing among them.
fn quantised(dtype: DType, random: &mut Random) -> Result<(), &'static str> {
    const N: usize = 8 * BLOCK;
    let mut x = [0.0; N];
    for (i, block) in x.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
        for (j, x) in block.iter_mut().enumerate() {
            *x = match i {
                // Its scale is 1: all but the first are ties.
                0 if j == 0 => -127.0,
                0 => j as f32 - 16.5,
                1 => 1e-35,
                2 => 0.0,
                _ => random.float(),
            };
        }
    }
    let (mut q, mut d, mut s) = ([[7; N]; 2], [[7.0; N / BLOCK]; 2], [[7; N / BLOCK]; 2]);
    quantize(dtype, &x, &mut q[0], &mut d[0], &mut s[0]);
    acts::reference(dtype, &x, &mut q[1], &mut d[1], &mut s[1]);
    if q[0] == q[1] && d[0].map(f32::to_bits) == d[1].map(f32::to_bits) && s[0] == s[1] {
        Ok(())
    } else {
        Err("activations are quantised otherwise than by the reference")
    }
}

/// Whether the conversion used by the kernels is IEEE's for every finite half.
///
/// # Errors
/// That it is not.
pub fn halves() -> Result<(), &'static str> {
    let finite = (0..=u16::MAX).filter(|bits| bits & 0x7c00 != 0x7c00);
    for bits in finite {
        if half_to_f32(bits).to_bits() != half::f16::from_bits(bits).to_f32_const().to_bits() {
            return Err("a half is converted wrong");
        }
    }
    Ok(())
}

/// Whether the functions give the same for a vector as for each number alone,
/// and the reductions the same as their definition, whatever the length.
///
/// # Errors
/// What differed.
pub fn functions(seed: u32) -> Result<(), &'static str> {
    const N: usize = 37;
    const ODD: [f32; 8] =
        [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 1e-40, -3e38, 88.3, -87.4];
    let mut random = Random(seed | 1);
    for n in 0..N {
        let mut x = [0.0; N];
        x.iter_mut().for_each(|x| *x = random.float() * 4.0);
        reductions(&x, n)?;
        for x in x.iter_mut().step_by(3) {
            *x = *ODD.get(random.next() as usize % ODD.len()).unwrap_or(x);
        }
        largest(x.get(..n).unwrap_or_default())?;
        of_two(&x, n)?;
        macro_rules! alike {
            ($($name:ident),*) => {$(
                let mut got = x;
                lanes::map(got.get_mut(..n).unwrap_or_default(), math::$name::<Lanes>);
                for (i, (got, x)) in got.iter().zip(x).enumerate() {
                    let want = if i < n { math::$name::<f32>(x) } else { x };
                    if got.to_bits() != want.to_bits() && !(got.is_nan() && want.is_nan()) {
                        return Err(stringify!($name));
                    }
                }
            )*};
        }
        alike!(exp, tanh, sigmoid, erf, gelu_tanh, gelu_erf, relu);
    }
    Ok(())
}

/// NaN never wins, and of zeros the first stays.
fn largest(x: &[f32]) -> Result<(), &'static str> {
    let mut best = [f32::NEG_INFINITY; 8];
    for (i, &x) in x.iter().enumerate() {
        best[i % 8] = best[i % 8].larger(x);
    }
    let want = best.iter().fold(f32::NEG_INFINITY, |a, &b| a.larger(b));
    if math::max(x).to_bits() == want.to_bits() { Ok(()) } else { Err("max") }
}

/// As far as the shorter goes, and no further.
fn of_two(x: &[f32], n: usize) -> Result<(), &'static str> {
    let mut got = [0.25; 40];
    let y = x.get(..n).ok_or("too long")?;
    lanes::update2(&mut got, [y, x], |a, [b, c]| a + b * c);
    for (i, got) in got.iter().enumerate() {
        let want = x.get(i).filter(|_| i < n).map_or(0.25, |x| 0.25 + x * x);
        if got.to_bits() != want.to_bits() && !(got.is_nan() && want.is_nan()) {
            return Err("update");
        }
    }
    Ok(())
}

/// Element i goes to partial result i mod 8, and these are folded as stated.
fn reductions(x: &[f32], n: usize) -> Result<(), &'static str> {
    let x = x.get(..n).ok_or("too long")?;
    let eight = |start: f32, f: &dyn Fn(f32, f32) -> f32| {
        let mut s = [start; 8];
        for (i, &x) in x.iter().enumerate() {
            s[i % 8] = f(s[i % 8], x);
        }
        s
    };
    let fold = |s: [f32; 8]| ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
    let largest = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let same = math::max(x).to_bits() == largest.to_bits()
        && math::sum(x).to_bits() == fold(eight(0.0, &|s, x| s + x)).to_bits()
        && math::sum_squares(x, 0.5).to_bits()
            == fold(eight(0.0, &|s, x| s + (x - 0.5) * (x - 0.5))).to_bits()
        && math::sum_exp(x, 3.0).to_bits()
            == fold(eight(0.0, &|s, x| s + math::exp(x - 3.0))).to_bits();
    if same { Ok(()) } else { Err("a reduction") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_vectors_are_those_of_numbers() {
        for seed in 1..20 {
            assert_eq!(functions(seed * 7919), Ok(()));
        }
    }

    #[test]
    fn every_isa_equals_the_reference() {
        for isa in Isa::available() {
            for dtype in DType::ALL {
                for seed in 1..40 {
                    assert_eq!(
                        run(isa, dtype, seed * 7919),
                        Ok(()),
                        "{} {}",
                        isa.name(),
                        dtype.name()
                    );
                }
            }
        }
    }

    #[test]
    fn every_half_converts() {
        assert_eq!(halves(), Ok(()));
    }

    #[test]
    fn sizes_that_do_not_agree_are_refused() {
        let w =
            Weights { dtype: DType::F32, data: &[0; 8 * 4 * 4], n_groups: 1, stride: 128, k: 4 };
        let x = Acts { f: &[1.0; 4], ..Acts::default() };
        let mut y = [0.0; 8];
        assert_eq!(matmul(Isa::SCALAR, w, x, 1, &mut y, 8), Ok(()));
        assert!(matmul(Isa::SCALAR, w, x, 1, &mut y[..7], 8).is_err());
        assert!(matmul(Isa::SCALAR, w, x, 2, &mut y, 8).is_err());
        assert!(
            matmul(Isa::SCALAR, Weights { n_groups: 2, ..w }, x, 1, &mut [0.0; 16], 8).is_err()
        );
        assert!(matmul(Isa::SCALAR, Weights { k: 8, ..w }, x, 1, &mut y, 8).is_err());
    }
}
