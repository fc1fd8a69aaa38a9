//! The formats, and which names files of each have.

/// How rows are written in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Cells with a delimiter between them, under a header row.
    Csv,
    /// A JSON object on each line.
    Jsonl,
    /// A JSON list of objects, or one object after another over several lines.
    Json,
    /// A text on each line.
    Lines,
    /// A workbook of Excel.
    Xlsx,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// The name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "CSV",
            Self::Jsonl => "JSON Lines",
            Self::Json => "JSON",
            Self::Lines => "plain lines",
            Self::Xlsx => "Excel (.xlsx)",
            Self::Parquet => "Parquet",
        }
    }

    /// The format that a file's extension promises.
    pub(crate) fn by_extension(extension: &str) -> Option<Self> {
        match extension {
            "csv" | "tsv" | "tab" => Some(Self::Csv),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            _ => None,
        }
    }
}
