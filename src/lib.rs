//! Qingniao 青鸟: a chat backend in one binary, drop-in for uni-app clients. `ARCHITECTURE.md` is the map.

pub mod accounts;
pub mod answers;
pub mod app;
pub mod blobs;
pub mod cache;
pub mod clock;
pub mod config;
pub mod db;
pub mod docs;
pub mod error;
pub mod friends;
pub mod gateway;
pub mod groups;
pub mod http;
pub mod hub;
pub mod ids;
pub mod jobs;
pub mod lifecycle;
pub mod limits;
pub mod media;
pub mod messages;
pub mod metrics;
pub mod operations;
pub mod requests;
pub mod router;
pub mod visitors;
