//! Requests between people: each changes facts of `friends` or `groups` and posts its notices in the same transaction.

pub mod friends;
pub mod groups;
