//! Groups: made, named, joined, left and ended, with the notices of each.

pub mod describe;
pub mod handlers;
mod join;
mod service;
