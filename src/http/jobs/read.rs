//! Results, errors and events of a job.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;

use super::{JobService, POLL, authorize, parse_id};
use crate::http::app::App;
use crate::http::blocking;
use crate::http::error::ApiError;
use crate::http::observe::RequestContext;
use crate::http::query::Parameters;
use sentor_jobs::{ByteRange, result_bytes, stream_errors, stream_results};
use sentor_store::jobs::JobRecord;

/// Media type of results and errors.
const JSON_LINES: &str = "application/x-ndjson";

/// How often an idle stream of events shows that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// `GET /api/jobs/{id}/results`: also while the job runs.
#[utoipa::path(
    get, path = "/api/jobs/{id}/results", tag = "jobs",
    summary = "Read the results of a job",
    description = "One JSON object on each line, in the order of the input, as far as the rows are done: `row`, the number \
                   of the row from 1, and the members of a result of `/api/predicts`. The header `x-available-rows` says how \
                   many rows are done. A row of the error file has no line.",
    params(
        ("id" = String, Path, description = "Its identifier."),
        ("after" = Option<u64>, Query, description = "The number of the row after which the answer starts."),
        ("Range" = Option<String>, Header, description = "A range of bytes, such as `bytes=1000-`; not together with `after`."),
    ),
    responses(
        (status = 200, description = "The results so far.", body = String, content_type = "application/x-ndjson"),
        (status = 206, description = "The range of them.", body = String, content_type = "application/x-ndjson"),
        (status = 416, description = "The range begins behind the results so far."),
    ),
)]
pub(in crate::http) async fn read_results(
    State(app): State<Arc<App>>,
    context: RequestContext,
    headers: HeaderMap,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let (service, key) = authorize(&app, &headers, &context)?;
    let job = service.find(&key, &parse_id(&id)?).await?;
    let after: Option<u64> = Parameters::parse(&uri)?.read("after", "the number of a row")?;
    let asked = headers.get(header::RANGE).and_then(|value| value.to_str().ok()).and_then(parse_range);
    let asked = asked.filter(|_| after.is_none());
    let JobService { store, objects, .. } = service;
    let answer = blocking(move || {
        let available = store.available_rows(&job.id)?;
        let total = if asked.is_some() { result_bytes(store.as_ref(), &job.id)? } else { 0 };
        let range = asked.map(|asked| asked.within(total));
        let rows = match &range {
            Some(None) => None,
            range => {
                let range = range.as_ref().and_then(Option::as_ref);
                Some(stream_results(store.as_ref(), &objects, &job.id, after.unwrap_or(0), range)?)
            }
        };
        Ok::<_, ApiError>((available, total, range.flatten(), rows))
    });
    let (available, total, range, rows) = answer.await??;
    let Some(rows) = rows else {
        let unsatisfied = [(header::CONTENT_RANGE, format!("bytes */{total}"))];
        return Ok((StatusCode::RANGE_NOT_SATISFIABLE, unsatisfied).into_response());
    };
    let mut response = Response::new(Body::from_stream(rows));
    let content_range = range.map(|ByteRange { start, end }| format!("bytes {start}-{}/{total}", end - 1));
    if let Some(content_range) = content_range {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let value = HeaderValue::try_from(content_range).map_err(|_| ApiError::server())?;
        response.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON_LINES));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert("x-available-rows", HeaderValue::from(available));
    Ok(response)
}

/// `GET /api/jobs/{id}/errors`: the rows without scores.
#[utoipa::path(
    get, path = "/api/jobs/{id}/errors", tag = "jobs",
    summary = "Read the error file of a job",
    description = "One JSON object on each line, for each row so far that could not be scored: `row`, `line`, `doc_id`, `code` \
                   and `message`.",
    params(("id" = String, Path, description = "Its identifier.")),
    responses((status = 200, description = "The errors so far.", body = String, content_type = "application/x-ndjson")),
)]
pub(in crate::http) async fn read_errors(
    State(app): State<Arc<App>>,
    context: RequestContext,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let (service, key) = authorize(&app, &headers, &context)?;
    let job = service.find(&key, &parse_id(&id)?).await?;
    let JobService { store, objects, .. } = service;
    let lines = blocking(move || stream_errors(store.as_ref(), &objects, &job.id)).await??;
    Ok(([(header::CONTENT_TYPE, JSON_LINES)], Body::from_stream(lines)).into_response())
}

/// `GET /api/jobs/{id}/events`: server-sent events.
#[utoipa::path(
    get, path = "/api/jobs/{id}/events", tag = "jobs",
    summary = "Follow a job",
    description = "Server-sent events: `progress` with the job, as `GET /api/jobs/{id}` shows it, whenever it has changed, and \
                   `end` with the ended job, after which the stream ends. The header `Last-Event-ID` leaves out what its reader \
                   has seen.",
    params(("id" = String, Path, description = "Its identifier.")),
    responses((status = 200, description = "The events.", body = String, content_type = "text/event-stream")),
)]
pub(in crate::http) async fn follow_job(
    State(app): State<Arc<App>>,
    context: RequestContext,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let (service, key) = authorize(&app, &headers, &context)?;
    let job = service.find(&key, &parse_id(&id)?).await?;
    let seen = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let start = Following { app, service, job, seen, has_ended: false };
    let events = stream::unfold(start, |mut following| async move {
        let event = following.next().await?;
        Some((Ok::<_, Infallible>(event), following))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

/// A stream of events.
struct Following {
    app: Arc<App>,
    service: JobService,
    job: JobRecord,
    /// Revision of the last event.
    seen: Option<u64>,
    has_ended: bool,
}

impl Following {
    /// The next event; `None` after the last, and if the job is deleted or the store fails.
    async fn next(&mut self) -> Option<Event> {
        if self.has_ended {
            return None;
        }
        while self.seen == Some(self.job.revision) && !self.job.status.is_final() {
            tokio::time::sleep(POLL).await;
            let (store, id) = (Arc::clone(&self.service.store), self.job.id.clone());
            self.job = blocking(move || store.job(&id)).await.ok()?.ok()??;
        }
        self.has_ended = self.job.status.is_final();
        self.seen = Some(self.job.revision);
        let view = self.service.view_of(self.job.clone(), self.app.now()).await.ok()?;
        let name = if self.has_ended { "end" } else { "progress" };
        Event::default().event(name).id(self.job.revision.to_string()).json_data(view).ok()
    }
}

/// A range of bytes as asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AskedRange {
    From { start: u64, last: Option<u64> },
    Last { bytes: u64 },
}

impl AskedRange {
    /// The part of `total` bytes; `None` if there is none.
    fn within(self, total: u64) -> Option<ByteRange> {
        let (start, end) = match self {
            Self::From { start, last } => {
                (start, last.map_or(total, |last| last.saturating_add(1).min(total)))
            }
            Self::Last { bytes } => (total.saturating_sub(bytes), total),
        };
        (start < end).then_some(start..end)
    }
}

/// Parses one range of bytes. Anything else is ignored, as RFC 9110 lets a server do.
fn parse_range(value: &str) -> Option<AskedRange> {
    let (first, last) = value.trim().strip_prefix("bytes=")?.split_once('-')?;
    match (first.trim(), last.trim()) {
        ("", bytes) => Some(AskedRange::Last { bytes: bytes.parse().ok()? }),
        (start, "") => Some(AskedRange::From { start: start.parse().ok()?, last: None }),
        (start, last) => {
            let (start, last) = (start.parse().ok()?, last.parse().ok()?);
            (start <= last).then_some(AskedRange::From { start, last: Some(last) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_within_what_is_there() {
        for (value, total, expected) in [
            ("bytes=0-", 10, Some(0..10)),
            ("bytes=3-5", 10, Some(3..6)),
            ("bytes=3-99", 10, Some(3..10)),
            ("bytes=-4", 10, Some(6..10)),
            ("bytes=-40", 10, Some(0..10)),
            ("bytes=10-", 10, None),
            ("bytes=-0", 10, None),
        ] {
            assert_eq!(parse_range(value).and_then(|range| range.within(total)), expected, "{value}");
        }
        for value in ["bytes=5-3", "bytes=a-", "lines=0-", "bytes=0-1,3-4", ""] {
            assert_eq!(parse_range(value), None, "{value}");
        }
    }
}
