//! Accounts: who somebody is, their tokens and passwords, and what they may change of themselves.

mod argon;
pub mod auth;
pub mod credentials;
pub mod describe;
pub mod handlers;
pub mod model;
pub mod passwords;
pub mod search;
pub mod service;
mod sessions;
mod store;
pub mod tokens;
mod userset;

pub use model::{Role, User};
pub use service::State;
pub use userset::SendCount;
