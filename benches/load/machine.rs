//! The machine on which the figures were taken, for the table's head.

use std::{
    fs,
    io::Write,
    thread,
    time::{Duration, Instant},
};

use crate::failure::{Failure, While};

const SYNCS: usize = 200;

/// Processor, cores, kernel, load and disk in a few words.
pub fn describe() -> Result<String, Failure> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split_once(':')).map_or("unknown processor", |(_, name)| name.trim());
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or("?");
    let sync = sync_time()?;
    Ok(format!("{model}, {cores} cores, Linux {}, load before {load}, one fsync {sync:.0?}", kernel.trim()))
}

/// The median time of making 4 KiB durable at the end of a file, on the disk that holds the databases.
pub fn sync_time() -> Result<Duration, Failure> {
    let mut file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).doing("making a file to sync")?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&[7; 4096]).doing("writing a file to sync")?;
        let begun = Instant::now();
        file.sync_data().doing("syncing a file")?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times[SYNCS / 2])
}
