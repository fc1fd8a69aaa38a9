//! Reads every file of `tests/data/`. The snapshot is the specification: format, columns, what is said, and each row.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use sentor_files::{DocumentOptions, Documents, Entry, ReadOptions, Source, Table};

#[test]
fn each_file_is_read_right_or_refused_with_what_to_do() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| name(path).starts_with(|first: char| first.is_ascii_digit()));
    paths.sort();
    assert!(paths.len() >= 40);
    let shown: Vec<String> = paths.iter().map(|path| format!("== {}\n{}", name(path), shown(path))).collect();
    insta::assert_snapshot!(shown.join("\n"));
}

fn name(path: &Path) -> String {
    path.file_name().expect("a file").to_string_lossy().into_owned()
}

fn shown(path: &Path) -> String {
    let mut text = String::new();
    let short = |words: String| words.replace(&path.display().to_string(), "FILE");
    match documents(path) {
        Err(error) => writeln!(text, "refused: {}", short(error)),
        Ok(documents) => write!(text, "{}", short(rows(documents))),
    }
    .expect("a string can be written");
    text
}

fn documents(path: &Path) -> Result<Documents, String> {
    let read = || {
        let table = Table::open(Source::open(path)?, &ReadOptions::default())?;
        Documents::new(table, &DocumentOptions::default())
    };
    read().map_err(|error| {
        let source =
            std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        format!("{error}{source}")
    })
}

fn rows(mut documents: Documents) -> String {
    let mut lines =
        vec![format!("{}: {}", documents.table().format().name(), documents.table().columns().join(" | "))];
    loop {
        let entry = documents.next();
        lines.extend(documents.take_notices().iter().map(|notice| format!("({:?}) {notice}", notice.kind)));
        lines.push(match entry {
            None => break,
            Some(Ok(Entry::Document(document))) => {
                let entities: Vec<String> = document.entities.iter().map(ToString::to_string).collect();
                let cells: Vec<String> = document.row.cells.iter().map(ToString::to_string).collect();
                let warnings = document.warnings.join("; ");
                let (line, doc_id, text) = (document.line, document.doc_id, document.text);
                format!(
                    "{line} id {doc_id} {text:?} [{}] {{{}}} {warnings}",
                    entities.join(", "),
                    cells.join(", ")
                )
                .trim_end()
                .to_owned()
            }
            Some(Ok(Entry::Bad(bad))) => format!("BAD {bad}"),
            Some(Err(error)) => format!("BROKEN {error}"),
        });
    }
    if documents.table().blank_rows() > 0 {
        lines.push(format!("{} blank rows", documents.table().blank_rows()));
    }
    lines.join("\n") + "\n"
}
