//! What the operating system says of this process.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// What the operating system says of this process; what it does not say is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Process {
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: Option<u64>,
    pub(super) virtual_bytes: Option<u64>,
    pub(super) threads: Option<u64>,
    pub(super) open_files: Option<u64>,
    pub(super) open_files_max: Option<u64>,
}

impl Process {
    /// This process, now.
    pub(super) fn now() -> Self {
        let used = clock_gettime(ClockId::ProcessCPUTime);
        // What is not Linux has no such files.
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kibibytes = |name| field(&status, name).map(|kibibytes| kibibytes << 10);
        // One of them is that by which they are listed.
        let files = fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64);
        Self {
            cpu_seconds: seconds(used.tv_sec, used.tv_nsec),
            resident_bytes: kibibytes("VmRSS:"),
            virtual_bytes: kibibytes("VmSize:"),
            threads: field(&status, "Threads:"),
            open_files: files.map(|files| files.saturating_sub(1)),
            open_files_max: getrlimit(Resource::Nofile).current,
        }
    }
}

/// Seconds since the Unix epoch.
pub(super) fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "a double counts the seconds of any process")]
fn seconds(whole: i64, nanos: i64) -> f64 {
    whole as f64 + nanos as f64 / 1e9
}

/// The number on the line that begins with a name.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_threads_and_files() {
        let process = Process::now();
        assert!(process.resident_bytes > Some(1 << 20), "{process:?}");
        assert!(process.virtual_bytes >= process.resident_bytes, "{process:?}");
        assert!(process.threads >= Some(1) && process.open_files >= Some(3), "{process:?}");
        assert!(process.open_files_max >= process.open_files, "{process:?}");
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let status = "VmPeak:\t  9 kB\nVmRSS:\t 12 kB\nThreads:\tmany\n";
        assert_eq!(field(status, "VmRSS:"), Some(12));
        assert_eq!((field(status, "Vm:"), field(status, "Threads:")), (None, None));
    }
}
