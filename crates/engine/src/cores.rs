//! Number of cores that the process may use.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Physical cores that this process may use, by its affinity and its control group. Two threads of one core share the
/// multiplication units, so a worker on each gains little.
pub fn available_cores() -> usize {
    // Considers the affinity and the quota of the control group, but counts threads.
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    physical_cores(Path::new("/")).map_or(threads, |cores| cores.min(threads)).max(1)
}

/// Physical cores in the affinity of the process, read below `root`; `None` if the files are missing.
fn physical_cores(root: &Path) -> Option<usize> {
    let status = fs::read_to_string(root.join("proc/self/status")).ok()?;
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let siblings_of = |cpu: usize| {
        let path = format!("sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        fs::read_to_string(root.join(path)).ok()
    };
    let cores: Option<BTreeSet<String>> = parse_list(allowed.trim())?.into_iter().map(siblings_of).collect();
    cores.map(|cores| cores.len()).filter(|&count| count > 0)
}

/// Parses a list of the kernel's, such as `0-3,8`.
fn parse_list(list: &str) -> Option<Vec<usize>> {
    let ranges = list.split(',').map(|part| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some(from.parse::<usize>().ok()?..=to.parse().ok()?)
    });
    Some(ranges.collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_one_core_count_once_and_only_where_allowed() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("it has a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        };
        assert_eq!(physical_cores(root.path()), None);
        for cpu in 0..8 {
            let siblings = format!("{},{}\n", cpu % 4, cpu % 4 + 4);
            write(&format!("sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"), &siblings);
        }
        for (allowed, cores) in [("0-7", 4), ("0-3", 4), ("1,5", 1), ("0-1,4,6", 3), ("7", 1)] {
            write("proc/self/status", &format!("Name:\tx\nCpus_allowed_list:\t{allowed}\nThreads:\t1\n"));
            assert_eq!(physical_cores(root.path()), Some(cores), "{allowed}");
        }
        write("proc/self/status", "Cpus_allowed_list:\t0-63\n");
        assert_eq!(physical_cores(root.path()), None, "a processor without topology");
    }

    #[test]
    fn there_is_at_least_one_core() {
        assert!(available_cores() >= 1);
    }
}
