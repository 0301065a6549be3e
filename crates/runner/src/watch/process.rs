//! What the process itself costs, under the names that every Prometheus client uses. Linux only:
//! elsewhere there is nothing to read and nothing is said.

use std::time::{SystemTime, UNIX_EPOCH};

use super::exposition::{Kind, Page};

pub(super) fn put(page: &mut Page, started: SystemTime) {
    let since = started.duration_since(UNIX_EPOCH).unwrap_or_default();
    let name = "process_start_time_seconds";
    page.family(name, Kind::Gauge, "When the run started.");
    page.sample(name, &[], since.as_secs_f64());
    if let Some(bytes) = resident_bytes() {
        let name = "process_resident_memory_bytes";
        page.family(name, Kind::Gauge, "Memory in use.");
        page.sample(name, &[], bytes);
    }
    if let Some(seconds) = cpu_seconds() {
        let name = "process_cpu_seconds_total";
        page.family(name, Kind::Counter, "Processor time used, all threads.");
        page.sample(name, &[], seconds);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        let name = "process_open_fds";
        page.family(name, Kind::Gauge, "Open files and connections.");
        page.sample(name, &[], open.count());
    }
}

pub(super) fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The kernel's clock tick in /proc is 1/100 s on every Linux (USER_HZ), whatever it uses inside.
const TICKS_PER_SECOND: f64 = 100.0;

pub(super) fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in parentheses, which may hold spaces.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}
