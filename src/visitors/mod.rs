//! Visitors: guests known by a device, and the signed calls by which they come, register and log in.

pub mod describe;
pub mod handlers;
pub mod model;
pub mod service;

pub use service::State;
