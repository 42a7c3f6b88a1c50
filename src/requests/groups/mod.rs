//! Groups: made, named, joined, left and ended, with the notices of each.

pub mod handlers;
mod join;
mod service;
