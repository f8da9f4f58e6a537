//! The C ABI: the functions of `include/pagelm.h`, which are also the exports
//! of the WebAssembly module.
//!
//! Each function checks its arguments (`guard`), converts them (`convert`), makes
//! one call into the core, and maps the result to a status. No logic lives here.
//! The header is made from these files by cbindgen, so the doc comments of
//! `model` and `session` speak to a C programmer.
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
mod session;
mod types;

pub use model::*;
pub use session::*;
pub use types::*;
