//! Asking somebody to be friends, answering, and parting (API document chapters 5, 6, 7, 17, 33, 40).

pub mod describe;
pub mod handlers;
pub mod model;
pub mod service;
mod store;
