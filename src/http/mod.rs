//! The HTTP kit: the contract's envelope, its loosely typed parameters and its own connection loop. No chat rules.

pub mod component;
pub mod conditional;
pub mod describe;
pub mod edge;
mod entrance;
pub mod envelope;
pub mod fields;
mod forms;
pub mod json;
mod linger;
pub mod meter;
pub mod network;
pub mod origin;
pub mod pace;
pub mod payload;
pub mod proxies;
pub mod serve;
pub mod slots;
pub mod stream;

pub use envelope::{Raw, bare, ok};
pub use fields::{Draft, Fields};
pub use payload::{Params, Payload};
