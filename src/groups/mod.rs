//! Groups: who is in them, in which standing, and how far each member's deliveries have come. Facts only: joining and
//! its notices are `requests`, messages are `messages`.

mod changes;
pub mod describe;
pub mod handlers;
pub mod model;
pub mod service;
mod store;

pub use service::State;
