//! A full or read-only disk under the data folder.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::support::program::{Server, isolate, text};

/// Mounts a file system of `size` in memory at `folder`, and runs the shell script `script` with the program as `$0`.
/// Only the script's processes see the file system, which ends with them. Returns `None`, with a message on stderr, if
/// the system does not allow a test to mount one.
fn on_small_disk(size: &str, folder: &Path, script: &str) -> Option<Command> {
    let ways: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];
    let of = |way: &[&str], script: &str| {
        let script = format!("mount -t tmpfs -o size={size} none \"$SENTOR_DATA_DIR\" && {script}");
        let mut command = Command::new("unshare");
        isolate(&mut command, folder);
        command.args(way).args(["sh", "-ec", &script, env!("CARGO_BIN_EXE_sentor")]);
        command
    };
    let works = |way: &&&[&str]| of(way, "true").output().is_ok_and(|output| output.status.success());
    let way = ways.iter().find(works);
    if way.is_none() {
        eprintln!(
            "skipped: this machine lets no test make a file system of its own (unshare, mount -t tmpfs)"
        );
    }
    Some(of(way?, script))
}

#[test]
fn on_a_full_disk_scoring_continues_and_usage_is_written_later() {
    let data = TempDir::new().expect("a folder");
    let serve = "\"$0\" keys create shop >\"$SENTOR_DATA_DIR/key\" && \
                 exec \"$0\" serve --listen 127.0.0.1:0 --log-level trace";
    let Some(mut serve) = on_small_disk("2m", data.path(), serve) else { return };
    let server = Server::spawn(&mut serve);
    // The disk as the server sees it.
    let disk = Path::new("/proc")
        .join(server.child.id().to_string())
        .join("root")
        .join(data.path().strip_prefix("/").expect("temporary folders have absolute paths"));
    let key = std::fs::read_to_string(disk.join("key")).expect("the key was written");
    let client = server.client(key.trim());
    let documents = json!([{"doc_id": "1", "doc": "Great product!", "entities": ["product"]}]);
    assert_eq!(client.predict("", &documents).status, 200);
    let usage_is = |word: &str| {
        let started = Instant::now();
        while client.get("/api/health").json()["store"]["usage"] != word {
            assert!(started.elapsed() < Duration::from_mins(1), "usage never is {word}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    usage_is("ok");

    let filler = std::fs::write(disk.join("filler"), vec![0; 4 << 20]);
    let error = filler.expect_err("four megabytes do not fit on two");
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    // The write-ahead log fills its remaining room over several writes.
    let started = Instant::now();
    while client.get("/api/health").json()["store"]["usage"] == "ok" {
        assert!(started.elapsed() < Duration::from_mins(1), "a full disk is never noticed");
        assert_eq!(client.predict("", &documents).status, 200, "scoring goes on");
    }
    assert_eq!(client.get("/api/health").json()["status"], "healthy");
    server.wait_for_log("is full");
    let usage = client.get("/api/usage").json();
    assert_eq!(usage["total"]["requests"], usage["key"]["month"]["used"], "asking writes nothing");

    std::fs::remove_file(disk.join("filler")).expect("the filler is there");
    usage_is("ok");
    let usage = client.get("/api/usage").json();
    assert_eq!(usage["total"]["requests"], usage["key"]["month"]["used"], "nothing was lost");
    server.stop("-TERM");
}

#[test]
fn a_full_and_a_read_only_disk_are_named_at_start() {
    let data = TempDir::new().expect("a folder");
    let full =
        "cat /dev/zero >\"$SENTOR_DATA_DIR/filler\" 2>/dev/null || exec \"$0\" serve --listen 127.0.0.1:0";
    let read_only = "mount -o remount,ro none \"$SENTOR_DATA_DIR\" && exec \"$0\" serve --listen 127.0.0.1:0";
    let filled_later = format!("\"$0\" keys create shop >/dev/null && {{ {full}; }}");
    let locked_later = format!("\"$0\" keys create shop >/dev/null && {read_only}");
    let cases = [
        (full, "is full"),
        (&filled_later, "is full"),
        (read_only, "Read-only file system"),
        (&locked_later, "Read-only file system"),
    ];
    for (script, words) in cases {
        let Some(mut serve) = on_small_disk("1m", data.path(), script) else { return };
        let output = serve.output().expect("it starts");
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{script}: {stderr}");
        assert!(stderr.contains(words) && stderr.contains("sentor.db"), "{script}: {stderr}");
    }
}
