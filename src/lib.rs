//! pagelm is an inference engine small enough for a web page.
//!
//! It runs language models from [GGUF] files in one block of memory that the
//! caller gives, allocates nothing, and writes the same bits on every machine.
//!
//! # Layers
//!
//! A module uses only the modules above it in this list:
//!
//! 0. Ground: [`error`], [`math`], moves of slices, [`arena`].
//! 1. Formats, bytes in and views out: [`quant`], [`gguf`].
//! 2. [`kernels`]: matrix products over packed weights, one file per
//!    instruction set, all equal to the bit.
//! 3. [`tensor`]: matrices bound to a file, and the operations of a layer.
//! 4. Siblings that do not know each other: [`models`], [`tokenizer`],
//!    [`sample`].
//! 5. [`session`]: the prompt queue, the step, the stop rules.
//! 6. `capi`: the C ABI, behind the feature of that name.
//!
//! # The memory rule
//!
//! The caller hands over memory; [`arena::Reserve`] carves it. The same layout
//! code first counts, so that a size query answers to the byte, and then
//! carves. Nothing else holds memory, and no call asks for more.
//!
//! # Example
//!
//! ```
//! use pagelm::{Model, Session, SessionParams, Step};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/models/gpt2-basic-bytes.gguf");
//! let mut file = std::fs::read(path)?; // plain GGUF: packed in place
//! let info = pagelm::probe(&file)?;
//! let mut model_mem = vec![0u64; info.model_mem_size.div_ceil(8)];
//! let model = Model::load(&mut file, bytes(&mut model_mem))?;
//!
//! let params = SessionParams::default();
//! let mut session_mem = vec![0u64; Session::mem_size(&model, &params)?.div_ceil(8)];
//! let mut session = Session::new(&model, bytes(&mut session_mem), &params)?;
//! session.feed_text(b"What makes this", false)?;
//! for _ in 0..16 {
//!     if let Step::Finished(_) = session.run(0)? {
//!         break;
//!     }
//!     print!("{}", String::from_utf8_lossy(session.text()));
//! }
//! # Ok(())
//! # }
//! # fn bytes(words: &mut [u64]) -> &mut [u8] { bytemuck::cast_slice_mut(words) }
//! ```
//!
//! [GGUF]: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#![no_std]

#[cfg(target_endian = "big")]
compile_error!("model files and snapshots are little-endian and used in place");

#[cfg(test)]
extern crate std;

pub mod error;
pub mod lanes;
pub mod math;
mod slices;

pub mod arena;

pub mod quant;

pub mod gguf;

pub mod kernels;

pub mod attention;
pub mod tensor;

pub mod models;
#[cfg(feature = "text")]
pub mod sample;
pub mod tokenizer;

pub mod session;

#[cfg(feature = "capi")]
pub mod capi;

pub use error::{Error, Result};
pub use kernels::Isa;
#[cfg(feature = "text")]
pub use models::Pooling;
pub use models::{Loader, Model, ModelInfo, probe};
#[cfg(feature = "text")]
pub use sample::Sampling;
pub use session::{Finish, Progress, Session, SessionInfo, SessionParams, Step, WhenFull};

// The programs on this page are compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/RUST.md")]
struct RustPage;
