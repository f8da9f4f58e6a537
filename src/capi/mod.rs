//! The C ABI: the functions of `include/pagelm.h`, which are also the exports
//! of the WebAssembly module.
//!
//! Each function checks its arguments (`guard`), converts them (`convert`), makes
//! one call into the core, and maps the result to a status. No logic lives here.
//! The header is made from these files by cbindgen, so the doc comments of
//! `model`, `session`, `text`, `view` and `predict` speak to a C programmer.
//!
//! Handles lie at the start of the memory that their `init` was given, and the
//! core's part follows. A handle begins with a mark that depends on its
//! address; a session also remembers which life of its model it belongs to.
//!
//! Safety: every function is `unsafe` with the same contract, the promise in
//! `guard`'s module comment, and cites it as "the header's conventions".

mod convert;
mod guard;
mod model;
#[cfg(feature = "rnn")]
mod predict;
mod session;
#[cfg(feature = "text")]
mod text;
mod types;
#[cfg(feature = "text")]
mod view;

pub use model::*;
#[cfg(feature = "rnn")]
pub use predict::*;
pub use session::*;
#[cfg(feature = "text")]
pub use text::*;
pub use types::*;
#[cfg(feature = "text")]
pub use view::*;
