//! What the kernel says about a process: CPU time it used, memory it holds.

use std::{collections::HashMap, fs, time::Duration};

use crate::failure::{Failure, While};

/// `sysconf(_SC_CLK_TCK)`, fixed at 100 in Linux's user interface.
const TICKS_A_SECOND: u64 = 100;
/// A page of x86-64 and of most ARM systems.
const PAGE_KIB: u64 = 4;

/// CPU time of a process at one moment.
pub struct CpuReading {
    /// Nanoseconds on a processor, by thread: exact, but blind to threads that have ended.
    threads: HashMap<u32, u64>,
    /// User and system time of the whole process, ended threads included, to 10 ms each.
    ticks: u64,
}

impl CpuReading {
    /// Reads the CPU time of `pid`.
    pub fn take(pid: u32) -> Result<Self, Failure> {
        let mut threads = HashMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task")).doing("listing the server's threads")? {
            let entry = entry.doing("listing the server's threads")?;
            let id = entry.file_name().to_string_lossy().parse().doing("a thread id")?;
            // A thread that ends between the listing and the reading is left to the ticks.
            if let Ok(text) = fs::read_to_string(entry.path().join("schedstat"))
                && let Some(ns) = text.split(' ').next().and_then(|ns| ns.parse().ok())
            {
                threads.insert(id, ns);
            }
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).doing("reading the server's CPU time")?;
        // The name in parentheses may hold spaces: fields are counted after it.
        let after_name = stat.rsplit_once(") ").doing("the name in stat")?.1;
        let times: Vec<u64> = after_name.split(' ').skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
        Ok(Self { threads, ticks: times.iter().sum() })
    }

    /// CPU time used between an earlier reading and this one.
    pub fn since(&self, earlier: &Self) -> Duration {
        if earlier.threads.keys().any(|id| !self.threads.contains_key(id)) {
            let ticks = self.ticks.saturating_sub(earlier.ticks);
            return Duration::from_millis(ticks * 1000 / TICKS_A_SECOND);
        }
        let used = |(id, now): (&u32, &u64)| now.saturating_sub(earlier.threads.get(id).copied().unwrap_or(0));
        Duration::from_nanos(self.threads.iter().map(used).sum())
    }
}

/// Resident memory in KiB. From `smaps_rollup`, since `status` lags by what each thread has not yet reported.
pub fn rss_kib(pid: u32) -> Result<u64, Failure> {
    kib_of(&format!("/proc/{pid}/smaps_rollup"), "Rss:")
}

/// The highest resident memory since [`reset_peak`], in KiB.
pub fn peak_rss_kib(pid: u32) -> Result<u64, Failure> {
    kib_of(&format!("/proc/{pid}/status"), "VmHWM:")
}

/// Starts the peak anew.
pub fn reset_peak(pid: u32) -> Result<(), Failure> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").doing("resetting the server's memory peak")
}

/// Memory of the kernel for all TCP connections of this machine, in KiB.
pub fn tcp_kib() -> Result<u64, Failure> {
    let text = fs::read_to_string("/proc/net/sockstat").doing("reading /proc/net/sockstat")?;
    let pages = text
        .lines()
        .find(|line| line.starts_with("TCP:"))
        .and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    Ok(pages.doing("the memory of TCP in /proc/net/sockstat")? * PAGE_KIB)
}

/// The process that serves MySQL here, if there is one.
pub fn mysql_server() -> Option<u32> {
    let is_server = |pid: &u32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        matches!(name.trim(), "mariadbd" | "mysqld")
    };
    let entries = fs::read_dir("/proc").ok()?;
    entries.flatten().filter_map(|entry| entry.file_name().to_string_lossy().parse().ok()).find(is_server)
}

fn kib_of(path: &str, key: &str) -> Result<u64, Failure> {
    let text = fs::read_to_string(path).doing(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)).doing(key)?;
    line.trim().trim_end_matches(" kB").trim().parse().doing(key)
}
