//! Black-box tests: a server in the process, people who talk to it over HTTP and sockets. One module a topic.
//!
//! Each test has a server and people of its own. The store is SQLite in a temporary directory, or, when
//! `QINGNIAO_TEST_DATABASE_URL=mysql://root@127.0.0.1:3306` is set, one MySQL database that all tests of the run share.

mod accounts;
mod answers;
mod auth;
mod autobahn;
mod away;
mod backlog;
mod becoming_friends;
mod bodies;
mod chaos;
#[cfg(unix)]
mod config_cli;
mod covers;
mod deadlocks;
mod delivery;
mod descriptions;
mod documents;
mod envelope;
mod examples;
#[cfg(unix)]
mod ffmpeg;
mod forgotten;
mod friends;
mod friends_input;
mod fuzz;
mod group_changes;
mod group_chat;
mod group_delivery;
mod group_join;
mod groups;
mod half_way;
mod harness;
mod hostile;
#[cfg(unix)]
mod import;
mod limits;
mod many_groups;
mod migrations;
mod operations;
mod oss;
mod passwords;
#[cfg(unix)]
mod plans;
#[cfg(unix)]
mod posters;
mod profile;
mod public_files;
mod qrcode;
mod queued;
mod readiness;
mod requests_friends;
mod retention;
mod revoke;
mod room;
mod routes;
mod search;
mod single_chat;
mod slow;
mod sockets;
mod strangers;
#[allow(dead_code, unused_imports, reason = "each topic uses a part of it")]
mod support;
mod tidy;
mod turned_away;
mod upload_places;
mod uploads;
mod visitor_accounts;
mod visitors;
mod ws;
