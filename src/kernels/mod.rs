//! Matrix products over packed weights: slices in, slices out.
//!
//! One file per instruction set. `scalar` is the reference; every other file
//! must equal it to the bit, and `check` is the suite that says so. The
//! order of every addition is the numeric contract (docs/NUMERICS.md):
//!
//! - A lane is an output row. No sum is ever split over lanes.
//! - Whole numbers (Q8_0, Q4_0): block after block along the row, the integer
//!   dot product of a block is exact, then one multiplication by (weight scale
//!   x activation scale) and one addition.
//! - F32 and F16: element k goes to partial sum k mod 4, and the row's value
//!   is (p0 + p1) + (p2 + p3). No fused multiply-add.
//!
//! The instruction set is a value ([`Isa`]) passed along, not a global.

#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
mod aarch64;
mod acts;
#[cfg(any(test, feature = "_check"))]
pub mod check;
mod scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm32;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use acts::{Acts, BLOCK, Quant, quantize};

use crate::error::{Checked, Impossible};
use crate::quant::{DType, GROUP};

/// An instruction set that this machine can run.
///
/// A value of this type is the proof that the machine has the instructions:
/// apart from `Scalar` it is only made by [`Isa::available`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(Set);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    Scalar,
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Simd128,
    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
    Neon,
    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
    NeonDot,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
}

impl Isa {
    /// The portable reference.
    pub const SCALAR: Self = Self(Set::Scalar);

    /// The sets this machine can run, the best first.
    pub fn available() -> impl Iterator<Item = Self> + Clone {
        #[cfg(target_arch = "x86_64")]
        let has = x86_64::features();
        let sets = [
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Some(Set::Simd128),
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            aarch64::has_dotprod().then_some(Set::NeonDot),
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            Some(Set::Neon),
            #[cfg(target_arch = "x86_64")]
            has.avx512_vnni.then_some(Set::Avx512Vnni),
            #[cfg(target_arch = "x86_64")]
            has.avx_vnni.then_some(Set::AvxVnni),
            #[cfg(target_arch = "x86_64")]
            has.avx2.then_some(Set::Avx2),
            Some(Set::Scalar),
        ];
        sets.into_iter().flatten().map(Self)
    }

    /// The best set this machine can run.
    #[must_use]
    pub fn detect() -> Self {
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        return Self(Set::Simd128);
        #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
        Self::available().next().unwrap_or(Self::SCALAR)
    }

    /// The set of that name, if this machine can run it.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::available().find(|isa| isa.name() == name)
    }

    /// Its name: `scalar`, `simd128`, `avx2`, `avxvnni`, `avx512vnni`, `neon`, `neondot`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            Set::Scalar => "scalar",
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Set::Simd128 => "simd128",
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            Set::Neon => "neon",
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            Set::NeonDot => "neondot",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni => "avxvnni",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni => "avx512vnni",
        }
    }
}

/// Whole groups of packed rows.
#[derive(Clone, Copy)]
pub struct Weights<'a> {
    /// How the numbers are stored.
    pub dtype: DType,
    /// The groups, `stride` bytes apart.
    pub data: &'a [u8],
    /// Groups of [`GROUP`] rows.
    pub n_groups: usize,
    /// Bytes from one group to the next.
    pub stride: usize,
    /// Columns to use.
    pub k: usize,
}

/// The rows of one product: y (n, rows) = x (n, k) W^T, where W is (rows, k).
struct Product<'a, 'y> {
    w: Weights<'a>,
    x: Acts<'a>,
    /// Vectors in x.
    n: usize,
    y: &'y mut [f32],
    /// Elements of y from one vector's results to the next.
    y_stride: usize,
}

impl Product<'_, '_> {
    /// Everything the kernels rely on.
    fn check(&self) -> Option<()> {
        let Weights { dtype, data, n_groups, stride, k } = self.w;
        let (n, x) = (self.n, &self.x);
        let group = dtype.row_bytes(k)?.checked_mul(GROUP)?;
        let last_group = n_groups.checked_sub(1)?.checked_mul(stride)?;
        let last_y = n.checked_sub(1)?.checked_mul(self.y_stride)?;
        let rows = n_groups.checked_mul(GROUP)?;
        let inputs = n.checked_mul(k)?;
        let fits = data.len() >= last_group.checked_add(group)?
            && self.y.len() >= last_y.checked_add(rows)?
            && if dtype.is_quantized() {
                let blocks = inputs / BLOCK;
                x.q.len() >= inputs && x.d.len() >= blocks && x.s.len() >= blocks
            } else {
                x.f.len() >= inputs && (dtype == DType::F32 || k.is_multiple_of(2))
            };
        fits.then_some(())
    }
}

/// y (n, rows) = x (n, k) W^T over whole groups of packed rows; vector t's
/// results begin at `y[t * y_stride]`.
///
/// # Errors
/// [`Impossible`] if the sizes do not agree.
pub fn matmul(
    isa: Isa,
    w: Weights<'_>,
    x: Acts<'_>,
    n: usize,
    y: &mut [f32],
    y_stride: usize,
) -> Checked<()> {
    if w.n_groups == 0 || n == 0 {
        return Ok(());
    }
    let mut product = Product { w, x, n, y, y_stride };
    product.check().ok_or(Impossible)?;
    let p = &mut product;
    // A shipped wasm module is built for one set: saying so here leaves the other out.
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128", not(feature = "_check")))]
    let isa = {
        let _ = isa;
        Isa(Set::Simd128)
    };
    match isa.0 {
        Set::Scalar => match w.dtype.known() {
            DType::F32 => scalar::f32(p),
            DType::F16 => scalar::f16(p),
            DType::Q8_0 => scalar::q8_0(p),
            DType::Q4_0 => scalar::q4_0(p),
        },
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        Set::Simd128 => wasm32::matmul(p),
        #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
        Set::Neon => aarch64::neon(p),
        #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
        Set::NeonDot => aarch64::neon_dot(p),
        #[cfg(target_arch = "x86_64")]
        Set::Avx2 => x86_64::avx2(p),
        #[cfg(target_arch = "x86_64")]
        Set::AvxVnni => x86_64::avx_vnni::matmul(p),
        #[cfg(target_arch = "x86_64")]
        Set::Avx512Vnni => x86_64::avx512_vnni::matmul(p),
    }
    Ok(())
}

/// One row that is not packed, times one vector: the same number that a lane
/// of a packed group would hold.
#[must_use]
pub fn row(dtype: DType, row: &[u8], x: Acts<'_>) -> f32 {
    scalar::row(dtype, row, x)
}
