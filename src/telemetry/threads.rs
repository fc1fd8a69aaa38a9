//! Processor time by kind of thread, as Linux counts it.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sentor_analysis::background;

/// Kinds of threads, by the prefix of their names.
const KINDS: [(&str, &str); 3] =
    [("http", "http"), ("sentor-worker", "workers"), (background::THREAD_NAME, "planning")];

/// The kind of all other threads.
const OTHER: &str = "other";

/// Sums the processor time of this process's threads by kind.
///
/// The last stretch of a thread that ends between two readings is lost; the threads that do the work live as long as
/// the process.
#[derive(Debug, Default)]
pub struct ThreadTimes {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Processor time of each living thread at the last reading, by its number.
    threads: HashMap<String, Duration>,
    totals: HashMap<&'static str, Duration>,
}

impl ThreadTimes {
    /// Returns the processor time so far by kind: `http`, `workers`, `planning`, `other`; empty if the system does not
    /// report it.
    pub fn read(&self) -> Vec<(&'static str, Duration)> {
        self.read_in(Path::new("/proc/self/task"))
    }

    fn read_in(&self, folder: &Path) -> Vec<(&'static str, Duration)> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let threads: HashMap<String, (&'static str, Duration)> = threads_in(folder).collect();
        if threads.is_empty() {
            return Vec::new();
        }
        for (number, &(kind, used)) in &threads {
            let before = seen.threads.get(number).copied().unwrap_or_default();
            // The number of an ended thread may be reused, with less time.
            let more = used.checked_sub(before).unwrap_or(used);
            *seen.totals.entry(kind).or_default() += more;
        }
        seen.threads = threads.into_iter().map(|(number, (_, used))| (number, used)).collect();
        let kinds = KINDS.iter().map(|&(_, kind)| kind).chain([OTHER]);
        kinds.map(|kind| (kind, seen.totals.get(kind).copied().unwrap_or_default())).collect()
    }
}

/// Returns the processor time of this process so far; `None` if the system does not report it.
pub fn process_time() -> Option<Duration> {
    let times = ThreadTimes::default().read();
    (!times.is_empty()).then(|| times.into_iter().map(|(_, used)| used).sum())
}

/// Returns number, kind and processor time of each thread that `folder` lists. Threads that end meanwhile are left out.
fn threads_in(folder: &Path) -> impl Iterator<Item = (String, (&'static str, Duration))> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        // Time on a processor in nanoseconds, time of waiting for one, and how often.
        let schedstat = fs::read_to_string(entry.path().join("schedstat")).ok()?;
        let used = Duration::from_nanos(schedstat.split_whitespace().next()?.parse().ok()?);
        let kind = KINDS.iter().find(|(prefix, _)| name.starts_with(prefix));
        Some((
            entry.file_name().to_string_lossy().into_owned(),
            (kind.map_or(OTHER, |&(_, kind)| kind), used),
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_only_grow_whatever_threads_come_and_go() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let write = |number: &str, name: &str, nanos: u64| {
            let thread = folder.path().join(number);
            fs::create_dir_all(&thread).expect("a folder");
            fs::write(thread.join("comm"), format!("{name}\n")).expect("a file");
            fs::write(thread.join("schedstat"), format!("{nanos} 12 3\n")).expect("a file");
        };
        let times = ThreadTimes::default();
        assert_eq!(times.read_in(&folder.path().join("nowhere")), []);
        let seconds =
            |times: Vec<(&'static str, Duration)>| times.into_iter().map(|(_, time)| time.as_secs());
        write("1", "sentor", 1_000_000_000);
        write("2", "sentor-worker-0", 5_000_000_000);
        write("3", "sentor-worker-1", 4_000_000_000);
        write("4", "http", 2_000_000_000);
        assert!(seconds(times.read_in(folder.path())).eq([2, 9, 0, 1]));
        fs::remove_dir_all(folder.path().join("3")).expect("the thread ends");
        write("2", "sentor-worker-0", 8_000_000_000);
        // Another thread with the number of an old one.
        write("4", "http", 1_000_000_000);
        assert!(seconds(times.read_in(folder.path())).eq([3, 12, 0, 1]));
    }
}
