//! Periodic work. Each job goes in small steps with a rest after each, so that chat hardly feels it, and stops at once when the
//! server does.

pub mod retention;
