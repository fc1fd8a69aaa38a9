//! `POST /api/files/read`: the rows of a file, for the page, which reads no file itself. `POST /api/files/workbook`: rows as a
//! workbook of Excel.

use std::io::Cursor;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::{IntoResponse as _, Response};
use sentor_files::{
    Item, Limits, OpenError, ReadOptions, Role, Row, Source, Table, WriteFormat, Writer, guess_column,
    parse_encoding,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::answer::off_thread;
use super::app::App;
use super::error::{ApiError, ErrorCode};
use super::observe::RequestContext;
use super::query::{Parameters, bad_parameter};
use super::{auth, body};
use sentor_analysis::Caller;
use sentor_store::keys::Scope;

/// Most rows of an answer. A browser holds them all.
const MAX_ROWS: usize = 200_000;

/// Memory of a cell beside its text.
const CELL_BYTES: usize = 32;

/// The rows of a file.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FileRows {
    /// What it was read as, such as `CSV`.
    format: &'static str,
    columns: Vec<String>,
    /// The columns that usual names tell.
    roles: Roles,
    /// What was found out or guessed, in sentences.
    notices: Vec<String>,
    /// Rows without any content, which are left out.
    blank_rows: u64,
    rows: Vec<FileRow>,
    /// Rows that cannot be read.
    bad_rows: Vec<BadFileRow>,
}

/// The columns that hold what is scored; `null` for those that no usual name tells.
#[derive(Debug, Serialize, ToSchema)]
struct Roles {
    text: Option<String>,
    id: Option<String>,
    entities: Option<String>,
    date: Option<String>,
}

/// A row.
#[derive(Debug, Serialize, ToSchema)]
struct FileRow {
    /// Its first line in the file, from 1.
    line: u64,
    /// A value for each column: a text, a number, true or false, a list, or null.
    cells: Vec<Value>,
}

/// A row that cannot be read.
#[derive(Debug, Serialize, ToSchema)]
struct BadFileRow {
    line: u64,
    /// Place in the line, from 1, where it is known.
    column: Option<u64>,
    reason: String,
}

/// `POST /api/files/read`.
#[utoipa::path(
    post, path = "/api/files/read", tag = "files",
    summary = "Read a file",
    description = "Returns the rows of a file: CSV with any delimiter, JSON Lines, JSON, plain lines, Excel (.xlsx) or Parquet, in \
                   any usual encoding, packed with gzip or zstd or not. It scores nothing. The file may be as large as the body \
                   of a request.",
    params(
        ("name" = Option<String>, Query, description = "The file's name, whose extension helps to tell the format."),
        ("delimiter" = Option<String>, Query, pattern = "^[,;|\\t]$", description = "What stands between two cells of CSV: one ASCII character."),
        ("encoding" = Option<String>, Query, pattern = "^(utf-8|utf-16|windows-1252)$", description = "The encoding, such as `utf-8` or `windows-1252`."),
        ("sheet" = Option<String>, Query, description = "The sheet of a workbook."),
    ),
    request_body(content = Option<String>, content_type = "application/octet-stream", description = "The file."),
    responses((status = 200, description = "The rows, in their order.", body = FileRows)),
)]
pub(super) async fn read_file(
    State(app): State<Arc<App>>,
    context: RequestContext,
    uri: Uri,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<FileRows>, ApiError> {
    let key = auth::require(&app, &headers, Scope::Predict, &context)?;
    auth::admit_query(&app, &key, &context)?;
    let parameters = Parameters::parse(&uri)?;
    let name = parameters.text("name")?.unwrap_or("the file").chars().take(100).collect::<String>();
    let limit = app.settings().limits.body_limit_bytes;
    let options = read_options(&parameters, limit)?;
    let caller = Caller::from(key.account.as_str());
    let (bytes, memory) = body::read(&headers, request.into_body(), limit, &app, &caller).await?;
    let rows = off_thread(true, &caller, move || {
        let _until_read = memory;
        read_rows(bytes, &name, &options, limit)
    });
    Ok(Json(rows.await??))
}

fn read_options(parameters: &Parameters, limit: usize) -> Result<ReadOptions, ApiError> {
    let delimiter = match parameters.text("delimiter")? {
        None => None,
        Some(text) => match text.as_bytes() {
            [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() && *byte != b'"' => Some(*byte),
            _ => {
                return Err(bad_parameter(
                    "delimiter",
                    text,
                    "one ASCII character that is no letter, digit or quote",
                ));
            }
        },
    };
    let encoding = parameters.text("encoding")?.map(|name| {
        parse_encoding(name).ok_or_else(|| {
            bad_parameter("encoding", name, "an encoding such as utf-8, utf-16 or windows-1252")
        })
    });
    let bytes = limit as u64;
    Ok(ReadOptions {
        delimiter,
        encoding: encoding.transpose()?,
        sheet: parameters.text("sheet")?.map(str::to_owned),
        limits: Limits { max_copy_bytes: bytes, max_workbook_text_bytes: bytes },
        ..ReadOptions::default()
    })
}

fn read_rows(bytes: Vec<u8>, name: &str, options: &ReadOptions, limit: usize) -> Result<FileRows, ApiError> {
    let source = Source::from_reader(Box::new(Cursor::new(bytes)), name);
    let mut table = Table::open(source, options).map_err(|error| unreadable(&error))?;
    let (mut rows, mut bad_rows, mut held) = (Vec::new(), Vec::new(), 0);
    for item in table.by_ref() {
        match item.map_err(|error| ApiError::new(ErrorCode::ValidationError, format!("{name}: {error}")))? {
            Item::Row(row) => {
                held += row.cells.iter().map(|cell| CELL_BYTES + text_bytes(cell)).sum::<usize>();
                rows.push(FileRow { line: row.line, cells: row.cells });
            }
            Item::Bad(bad) => {
                held += CELL_BYTES + bad.reason.len();
                bad_rows.push(BadFileRow { line: bad.line, column: bad.column, reason: bad.reason });
            }
        }
        if rows.len() + bad_rows.len() > MAX_ROWS || held > 2 * limit {
            let message = format!(
                "{name} has more rows or text than one request may hold ({MAX_ROWS} rows, {limit} bytes); `sentor predict` reads \
                 files of any size"
            );
            return Err(ApiError::new(ErrorCode::PayloadTooLarge, message).detail("limit_bytes", limit));
        }
    }
    let columns = table.columns().to_vec();
    let width = rows.iter().map(|row| row.cells.len()).max().unwrap_or(0);
    let columns = if width > columns.len() { names(&table, width) } else { columns };
    let role = |role| guess_column(role, &columns).map(|place| columns[place].clone());
    let only = || (columns.len() == 1).then(|| columns[0].clone());
    let roles = Roles {
        text: role(Role::Text).or_else(only),
        id: role(Role::Id),
        entities: role(Role::Entities),
        date: role(Role::Date),
    };
    let notices = table.take_notices().iter().map(ToString::to_string).collect();
    Ok(FileRows {
        format: table.format().name(),
        columns,
        roles,
        notices,
        blank_rows: table.blank_rows(),
        rows,
        bad_rows,
    })
}

/// Names for the members that only later rows of a JSON file have.
fn names(table: &Table, width: usize) -> Vec<String> {
    let known = table.columns();
    let later = (known.len()..width).map(|index| format!("column {}", index + 1));
    known.iter().cloned().chain(later).collect()
}

fn text_bytes(cell: &Value) -> usize {
    match cell {
        Value::String(text) => text.len(),
        Value::Array(_) | Value::Object(_) => cell.to_string().len(),
        _ => 0,
    }
}

/// A file that cannot be read is the caller's to mend.
fn unreadable(error: &OpenError) -> ApiError {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    ApiError::new(ErrorCode::ValidationError, format!("{error}{cause}"))
}

/// Rows to write.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct WorkbookBody {
    columns: Vec<String>,
    /// A value for each column: a text, a number, true or false, or null.
    rows: Vec<Vec<Value>>,
}

/// `POST /api/files/workbook`.
#[utoipa::path(
    post, path = "/api/files/workbook", tag = "files",
    summary = "Write a workbook",
    description = "Returns rows as a workbook of Excel (.xlsx) with one sheet. No cell of it is a formula.",
    request_body(content = WorkbookBody, content_type = "application/json"),
    responses((status = 200, description = "The workbook.", body = String,
               content_type = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")),
)]
pub(super) async fn write_workbook(
    State(app): State<Arc<App>>,
    context: RequestContext,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, ApiError> {
    let key = auth::require(&app, &headers, Scope::Predict, &context)?;
    auth::admit_query(&app, &key, &context)?;
    let limit = app.settings().limits.body_limit_bytes;
    body::check_headers(&headers, limit)?;
    let caller = Caller::from(key.account.as_str());
    let (bytes, memory) = body::read(&headers, request.into_body(), limit, &app, &caller).await?;
    let workbook = off_thread(true, &caller, move || {
        let _until_written = memory;
        let body: WorkbookBody = serde_json::from_slice(&bytes).map_err(|error| {
            ApiError::new(ErrorCode::BadRequest, format!("the body is not such JSON: {error}"))
        })?;
        workbook(body).map_err(|error| ApiError::new(ErrorCode::ValidationError, error.to_string()))
    });
    let workbook: Vec<u8> = workbook.await??;
    let media_type = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static(media_type))], Body::from(workbook)).into_response())
}

fn workbook(body: WorkbookBody) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let columns: Arc<[String]> = body.columns.into();
    let mut writer = Writer::new(WriteFormat::Xlsx, &mut bytes, &columns, &[])?;
    for (line, cells) in (2..).zip(body.rows) {
        writer.write(&Row::of_cells(line, Arc::clone(&columns), cells), &[])?;
    }
    writer.finish()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workbook_is_read_as_it_was_written() {
        let columns = ["id", "doc"].map(str::to_owned).to_vec();
        let rows = vec![vec![Value::from(1), Value::from("=1+1")], vec![Value::Null, Value::from("café")]];
        let bytes = workbook(WorkbookBody { columns, rows }).expect("memory can be written");
        let read = read_rows(bytes, "a.xlsx", &ReadOptions::default(), 1 << 20).expect("a workbook");
        assert_eq!(read.columns, ["id", "doc"]);
        assert_eq!(read.rows[0].cells, [Value::from(1), Value::from("=1+1")]);
        assert_eq!((read.rows[1].line, &read.rows[1].cells[1]), (3, &Value::from("café")));
    }

    #[test]
    fn a_file_that_grows_beyond_the_limit_is_refused() {
        let csv = format!("doc\n{}", "some text\n".repeat(1000));
        let error =
            read_rows(csv.into_bytes(), "a.csv", &ReadOptions::default(), 1000).expect_err("too much");
        assert_eq!(error.code(), ErrorCode::PayloadTooLarge);
    }
}
