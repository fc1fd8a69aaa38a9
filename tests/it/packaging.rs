//! The files, settings and flags that `packaging/` names exist, and an installed program finds its models.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use sentor::config::{Fallback, Setting};

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the words of all lines that begin with `instruction`, continuation lines included.
fn instructions(dockerfile: &str, instruction: &str) -> Vec<Vec<String>> {
    let joined = dockerfile.replace("\\\n", " ");
    let lines = joined.lines().filter_map(|line| line.strip_prefix(instruction)?.strip_prefix(' '));
    lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

/// Returns the environment variables of all settings.
fn variables() -> BTreeSet<String> {
    sentor::config::settings().map(Setting::variable).collect()
}

#[test]
fn the_image_copies_existing_files_and_sets_known_settings() {
    let dockerfile = read("packaging/Dockerfile");
    let ignored: BTreeSet<String> = read(".dockerignore").lines().map(str::to_owned).collect();
    let copies = instructions(&dockerfile, "COPY");
    assert!(copies.len() > 3, "{copies:?}");
    for copy in copies.iter().filter(|copy| !copy[0].starts_with("--from=")) {
        for source in &copy[..copy.len() - 1] {
            assert!(Path::new(source).exists(), "{source} is not there");
            assert!(!ignored.contains(source), "{source} is ignored");
        }
    }
    // The build context must contain the files that the build needs.
    for needed in ["Cargo.lock", "src", "crates", "web", "docs", "benches", "examples", "scripts", "models"] {
        assert!(Path::new(needed).exists() && !ignored.contains(needed), "{needed}");
    }
    let set: Vec<String> = instructions(&dockerfile, "ENV").concat();
    let known = variables();
    assert!(set.len() > 3, "{set:?}");
    for assignment in set {
        let name = assignment.split('=').next().expect("split has a first part").to_owned();
        assert!(known.contains(&name), "{name} is no setting");
    }
    assert!(dockerfile.contains("\nUSER sentor\n"), "not as root");
    let check = instructions(&dockerfile, "HEALTHCHECK").concat().join(" ");
    assert!(
        check.ends_with(r#"CMD ["sentor", "health"]"#),
        "{check}: follows the port and TLS of the settings"
    );
    let compose = read("packaging/compose.yaml");
    for words in [
        "dockerfile: packaging/Dockerfile",
        "read_only: true",
        "cap_drop: [ALL]",
        "test: [CMD, sentor, health]",
    ] {
        assert!(compose.contains(words), "{words}");
    }
}

#[test]
fn the_systemd_unit_uses_existing_flags() {
    let unit = read("packaging/sentor.service");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("it starts something");
    let flags: Vec<&str> = start.split_whitespace().filter(|word| word.starts_with("--")).collect();
    let help = Command::new(env!("CARGO_BIN_EXE_sentor")).args(["serve", "--help"]).output();
    let help = String::from_utf8(help.expect("the program runs").stdout).expect("help is text");
    assert!(!flags.is_empty(), "{start}");
    for flag in flags {
        assert!(help.contains(flag), "{flag} is no flag of `sentor serve`");
    }
    // The stop timeout must be longer than the grace time in the settings.
    let seconds =
        unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).expect("it says how long");
    let setting = sentor::config::settings().find(|setting| setting.name == "shutdown_grace_ms");
    let Fallback::Value(grace) = setting.expect("there is such a setting").default else {
        panic!("it has a default")
    };
    let grace: u64 = grace.parse().expect("a number");
    assert!(seconds.parse::<u64>().expect("a number") * 1000 > grace, "{seconds} s for {grace} ms");
}

#[test]
fn an_installed_program_finds_the_models_beside_it() {
    let root = tempfile::TempDir::new().expect("a folder");
    let [programs, shared] = ["bin", "share/sentor"].map(|name| root.path().join(name));
    fs::create_dir_all(&programs).expect("a folder can be made");
    fs::create_dir_all(&shared).expect("a folder can be made");
    let program = programs.join("sentor");
    fs::copy(env!("CARGO_BIN_EXE_sentor"), &program).expect("the program can be copied");
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    std::os::unix::fs::symlink(models, shared.join("models")).expect("a link can be made");
    let list = Command::new(&program)
        .args(["models", "list"])
        .current_dir(&programs)
        .env_clear()
        .env("HOME", root.path())
        .output()
        .expect("the program runs");
    let [out, log] = [list.stdout, list.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(list.status.success() && out.contains("sentor-en") && out.contains("sentor-nl"), "{out}{log}");
}
