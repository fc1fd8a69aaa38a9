//! The program connects to nobody but its clients, and writes to its data folder only: no library sends telemetry.
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The program with `home` as its home, temporary and working folder. Its environment does not disable telemetry, which
/// the program must do itself.
fn sentor(home: &Path) -> Command {
    let library = std::env::var_os("SENTOR_ONNXRUNTIME").map(PathBuf::from);
    let library = library.or_else(sentor_engine::default_library).expect("ONNX Runtime has been fetched");
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sentor"));
    command
        .env_clear()
        .env("HOME", home)
        .env("TMPDIR", home)
        .env("SENTOR_ONNXRUNTIME", library)
        .env("SENTOR_MODELS_DIR", models)
        .env("SENTOR_DATA_DIR", home.join("data"))
        .current_dir(home)
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// State of a listening socket in `/proc/net/tcp`.
const LISTENS: &str = "0A";

/// All files below `home` outside the data folder.
fn written(home: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![home.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("the folder can be read") {
            let path = entry.expect("the entry can be read").path();
            if path == home.join("data") {
                continue;
            }
            if path.is_dir() {
                folders.push(path.clone());
            }
            found.push(path);
        }
    }
    found
}

/// Returns the lines of the process's sockets of one kind (`tcp`, `udp`, …) in `/proc`, by inode.
fn sockets(process: u32, kind: &str) -> Vec<String> {
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).expect("the process runs");
    let own: BTreeSet<String> = descriptors
        .filter_map(|descriptor| std::fs::read_link(descriptor.ok()?.path()).ok())
        .filter_map(|target| {
            let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(inode.to_owned())
        })
        .collect();
    let table = std::fs::read_to_string(format!("/proc/{process}/net/{kind}")).unwrap_or_default();
    let is_own = |line: &&str| line.split_whitespace().nth(9).is_some_and(|inode| own.contains(inode));
    table.lines().skip(1).filter(is_own).map(str::to_owned).collect()
}

#[test]
fn predict_writes_nothing() {
    let home = TempDir::new().expect("a folder");
    let output = sentor(home.path()).args(["predict", "--text", "Great coffee."]).output();
    let output = output.expect("the program starts");
    assert!(output.status.success() && !output.stdout.is_empty());
    assert_eq!(written(home.path()), Vec::<PathBuf>::new());
}

#[test]
fn serve_writes_to_its_data_folder_and_has_no_socket_but_its_listener() {
    let home = TempDir::new().expect("a folder");
    let mut command = sentor(home.path());
    let mut server = command
        .args(["serve", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    let mut stdout = BufReader::new(server.stdout.take().expect("it is piped"));
    stdout.read_line(&mut line).expect("it can be read");
    assert!(line.starts_with("listening on "), "{line}");
    // Without the variable, ONNX Runtime looks up its vendor's host when it is loaded, and every few seconds after
    // that.
    let started = Instant::now();
    let mut seen = Vec::new();
    while started.elapsed() < Duration::from_secs(2) {
        for kind in ["udp", "udp6", "raw", "raw6"] {
            seen.extend(sockets(server.id(), kind));
        }
        let tcp = ["tcp", "tcp6"].iter().flat_map(|kind| sockets(server.id(), kind));
        seen.extend(tcp.filter(|line| line.split_whitespace().nth(3) != Some(LISTENS)));
        std::thread::sleep(Duration::from_millis(5));
    }
    let ended = Command::new("kill").arg(server.id().to_string()).status();
    assert!(ended.expect("kill is there").success());
    assert!(server.wait().expect("it ends").success());
    assert_eq!(seen, Vec::<String>::new(), "sockets that nobody asked for");
    assert_eq!(written(home.path()), Vec::<PathBuf>::new());
}
