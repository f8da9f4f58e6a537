//! The C ABI, called as a C program calls it: through the exported functions
//! and raw pointers. tools/reference/bytes_model.py makes the model.
#![cfg(feature = "capi")]
// Every call here is unsafe for one reason: it plays the C program, keeping or breaking its promises.
#![allow(clippy::undocumented_unsafe_blocks)]

mod generating;
mod handles;
mod host;
mod loading;
mod memory;
#[cfg(feature = "rnn")]
mod predict;
mod statuses;
mod structs;
mod text;
mod view;
