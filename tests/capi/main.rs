//! The C ABI, called as a C program calls it: through the exported functions
//! and raw pointers. tools/reference/bytes_model.py makes the model.
#![cfg(feature = "capi")]

mod generating;
mod handles;
mod host;
mod loading;
mod memory;
mod statuses;
mod structs;
mod text;
