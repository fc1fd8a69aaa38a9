//! `sentor predict` over files that were misread once: each is read right, or refused with a sentence that says what to do.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;

use crate::support::program::sentor;

/// What a run printed.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs the program; an argument `@name` is a file of the folder.
fn run(folder: &Path, arguments: &[&str], input: Option<&[u8]>) -> Ran {
    let mut command = sentor(folder);
    command.stdin(Stdio::piped());
    for argument in arguments {
        match argument.strip_prefix('@') {
            Some(name) => command.arg(folder.join(name)),
            None => command.arg(argument),
        };
    }
    let mut child = command.spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // A program that refuses its arguments reads nothing.
    let _ = stdin.write_all(input.unwrap_or_default());
    drop(stdin);
    let output = child.wait_with_output().expect("the program ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the output is UTF-8");
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// The cells of each row below the header, by column.
fn rows(csv: &str) -> Vec<Vec<(String, String)>> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let header = reader.headers().expect("a header").clone();
    let row = |record: csv::StringRecord| {
        header.iter().zip(&record).map(|(name, cell)| (name.into(), cell.into())).collect()
    };
    reader.records().map(|record| row(record.expect("a record"))).collect()
}

fn cells(csv: &str, column: &str) -> Vec<String> {
    let of_row =
        |row: Vec<(String, String)>| row.into_iter().find(|(name, _)| name == column).map(|(_, cell)| cell);
    rows(csv).into_iter().map(|row| of_row(row).expect("the column is there")).collect()
}

#[test]
fn documents_and_identifiers_are_those_of_the_file() {
    let folder = TempDir::new().expect("a folder");
    let cases: [(&str, &[u8], &str, &[&str]); 8] = [
        ("nl.csv", b"id;doc\n1;De koffie is lekker\n2;De thee is vies\n", "id", &["1", "2"]),
        ("sep.csv", b"sep=;\r\ndoc_id;doc\r\n1;De koffie is lekker\r\n", "doc_id", &["1"]),
        ("tabs.csv", b"doc_id\tdoc\n1\tDe koffie is lekker\n", "doc_id", &["1"]),
        ("a.json", br#"[{"doc_id":"7","doc":"Great coffee","entities":["coffee"]}]"#, "doc_id", &["7"]),
        ("crlf.csv", b"doc\r\nGreat coffee\r\nBad tea\r\n", "doc_id", &["2", "3"]),
        ("blank.csv", b"doc\nGreat coffee\n\n\nBad tea\n\nFine milk\n", "doc_id", &["2", "5", "7"]),
        ("u.txt", b"B\0a\0d\0 \0t\0e\0a\0\n\0", "doc", &["Bad tea"]),
        (
            "c.csv",
            b"doc_id;doc\r\n1;De koffie in caf\xe9 Zo\xeb is lekker\r\n",
            "doc",
            &["De koffie in café Zoë is lekker"],
        ),
    ];
    for (name, content, column, expected) in cases {
        fs::write(folder.path().join(name), content).expect("a file can be written");
        let ran = run(folder.path(), &["predict", "-f", "csv", "-l", "auto", &format!("@{name}")], None);
        assert_eq!(ran.code, Some(0), "{name}: {}", ran.err);
        assert_eq!(cells(&ran.out, column), expected, "{name}");
        assert!(cells(&ran.out, "predicted_label").iter().all(|label| !label.is_empty()), "{name}");
    }
}

#[test]
fn rows_that_are_lost_are_reported_and_kept_with_their_reason() {
    let folder = TempDir::new().expect("a folder");
    let csv = b"id,doc\n1,Great coffee\n2,\n3,Bad tea\n";
    let stopped = run(folder.path(), &["predict", "--input", "csv", "-f", "csv", "-"], Some(csv));
    assert_eq!(stopped.code, Some(1), "{}", stopped.err);
    assert!(stopped.err.contains("standard input:3: the text is empty"), "{}", stopped.err);
    let kept = run(folder.path(), &["predict", "-k", "--input", "csv", "-f", "csv", "-"], Some(csv));
    assert_eq!(kept.code, Some(5), "{}", kept.err);
    assert_eq!(cells(&kept.out, "id"), ["1", "2", "3"]);
    assert_eq!(cells(&kept.out, "error"), ["", "the text is empty", ""]);
    assert!(kept.err.contains("1 bad row left out"), "{}", kept.err);
    let quote = b"doc_id,doc\n1,\"Great coffee\n2,Bad coffee\n";
    let unclosed = run(folder.path(), &["predict", "-k", "--input", "csv", "-f", "csv", "-"], Some(quote));
    assert_eq!(unclosed.code, Some(5), "{}", unclosed.err);
    assert!(unclosed.err.contains("standard input:2:3: the quote is not closed"), "{}", unclosed.err);
    assert_eq!(cells(&unclosed.out, "doc_id"), ["2"]);
}

#[test]
fn formulas_are_guarded_and_warnings_are_in_the_table() {
    let folder = TempDir::new().expect("a folder");
    let formula = b"doc_id,doc\n\"=1+1\",Great coffee\n";
    let ran = run(folder.path(), &["predict", "--input", "csv", "-f", "csv", "-"], Some(formula));
    assert_eq!(cells(&ran.out, "doc_id"), ["'=1+1"], "{}", ran.err);
    let dutch = "doc\n\"De koffie was koud en de bediening was erg onvriendelijk.\"\n";
    let ran = run(folder.path(), &["predict", "--input", "csv", "-f", "csv", "-"], Some(dutch.as_bytes()));
    assert_eq!(cells(&ran.out, "warnings"), ["the text reads as nl, but was scored as en"], "{}", ran.err);
}

#[test]
fn a_missing_path_is_refused_and_a_text_may_begin_with_a_dash() {
    let folder = TempDir::new().expect("a folder");
    let ran = run(folder.path(), &["predict", "reviews"], None);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    assert!(ran.err.contains("there is no file reviews; use --text"), "{}", ran.err);
    let ran = run(folder.path(), &["predict", "--text", "-1 stars, awful"], None);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.out.contains("\"negative\""), "{}", ran.out);
}

#[test]
fn excel_and_parquet_keep_the_columns_of_the_file() {
    let folder = TempDir::new().expect("a folder");
    let csv =
        "id;review;merk\nr1;\"The camera is superb, but the battery is a joke.\";camera|battery\nr2;Fine.;\n";
    fs::write(folder.path().join("in.csv"), csv).expect("a file can be written");
    for name in ["out.xlsx", "out.parquet"] {
        let ran =
            run(folder.path(), &["predict", "--layout", "wide", "-o", &format!("@{name}"), "@in.csv"], None);
        assert_eq!(ran.code, Some(0), "{name}: {}", ran.err);
        let again = run(folder.path(), &["predict", "-f", "csv", &format!("@{name}")], None);
        assert_eq!(again.code, Some(0), "{name}: {}", again.err);
        // A row for each entity, of which the first document has two.
        assert_eq!(cells(&again.out, "id"), ["r1", "r1", "r2"], "{name}");
        assert_eq!(cells(&again.out, "camera_sentiment"), ["positive", "positive", ""], "{name}");
        assert_eq!(cells(&again.out, "battery_sentiment"), ["negative", "negative", ""], "{name}");
    }
}

#[test]
fn an_unfinished_run_goes_on_where_it_was() {
    let folder = TempDir::new().expect("a folder");
    let lines: Vec<String> =
        (0..200).map(|number| format!("{number},Great coffee number {number}\n")).collect();
    let csv = format!("id,doc\n{}", lines.concat());
    fs::write(folder.path().join("in.csv"), &csv).expect("a file can be written");
    let whole = run(folder.path(), &["predict", "-o", "@whole.csv", "@in.csv"], None);
    assert_eq!(whole.code, Some(0), "{}", whole.err);
    // A bad row ends a run as an interruption does, but for its exit code.
    fs::write(folder.path().join("in.csv"), csv.replace("150,Great coffee number 150", "150,"))
        .expect("a file can be written");
    let ended = run(folder.path(), &["predict", "-o", "@out.csv", "@in.csv"], None);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    let refused = run(folder.path(), &["predict", "-o", "@out.csv", "@in.csv"], None);
    assert!(refused.err.contains("holds an unfinished run: --resume goes on with it"), "{}", refused.err);
    let resumed = run(folder.path(), &["predict", "-k", "--resume", "-o", "@out.csv", "@in.csv"], None);
    assert_eq!(resumed.code, Some(5), "{}", resumed.err);
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect("the output is there");
    let (whole, out) = (read("whole.csv"), read("out.csv"));
    assert_eq!(cells(&out, "id"), cells(&whole, "id"));
    assert_eq!(cells(&out, "positive")[151..], cells(&whole, "positive")[151..]);
    assert!(!folder.path().join("out.csv.progress").exists());
}
