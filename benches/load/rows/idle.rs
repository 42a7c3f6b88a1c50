//! Memory of idle sockets: what the server's resident memory grows by when 10,000 users come online and then do nothing.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    failure::Failure,
    figures::{Findings, Goal, float},
    people, procfs,
    server::{CHEAP_PASSWORDS, Server},
    setting::Setting,
};

const SOCKETS: usize = 10_000;
/// Lets what belongs to the connecting itself go away.
const SETTLING_TIME: Duration = Duration::from_secs(4);

pub async fn run(setting: &Setting) -> Result<Findings, Failure> {
    let server = Server::start(setting, CHEAP_PASSWORDS).await?;
    let people = people::register(server.address, "idle", SOCKETS).await?;
    sleep(SETTLING_TIME).await;
    let before = procfs::rss_kib(server.pid())?;
    let mut listeners = people::come_online(server.address, &people, |_| |_: &[u8]| ()).await?;
    tokio::select! {
        failure = listeners.failure() => return Err(failure),
        () = sleep(SETTLING_TIME) => {}
    }
    let after = procfs::rss_kib(server.pid())?;

    let mut findings = Findings::default();
    let grown = float(after.saturating_sub(before));
    findings.tell("RSS a socket, KiB", grown / float(SOCKETS), Goal::AtMost(5.0));
    findings.tell("RSS before, MiB", float(before) / 1024.0, Goal::Told);
    findings.tell("RSS with all sockets, MiB", float(after) / 1024.0, Goal::Told);
    Ok(findings)
}
