//! Questions and answers that people prepare for the automatic reply (decision 31). Facts only: the reply itself is sent
//! by `messages`.

pub mod describe;
pub mod handlers;
pub mod model;
pub mod service;
mod store;

pub use service::State;
