//! Messages: stored, acknowledged, pushed, and remembered until each recipient has proved to have them.
//!
//! `post` is the only way in: everything that is pushed and kept goes through it, one transaction at a time, so that ids
//! grow in commit order. `committer` batches chat messages into such transactions. `delivery` pushes what is pending,
//! `backlog` keeps it findable, `receipts` records what arrived, `newest` sees whether the store forgets, `retention` says what nobody
//! needs any more. `ARCHITECTURE.md` has the invariants.

mod agenda;
mod answering;
pub mod backlog;
pub mod committer;
pub mod delivery;
pub mod describe;
pub mod handlers;
pub mod model;
mod newest;
mod policy;
pub mod post;
pub mod receipts;
pub mod retention;
pub mod service;
mod store;

pub use service::State;
