//! Friends: who is in whose list, under which remark, blocked or starred. Facts only: asking and agreeing is `requests`.

pub mod describe;
pub mod handlers;
pub mod lists;
pub mod model;
pub mod service;
mod store;

pub use service::State;
