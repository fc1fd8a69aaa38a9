//! Reads a request's body: the right type, not too large, not too slowly, and unpacked.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Frame, SizeHint};
use tower::{ServiceExt as _, service_fn};
use tower_http::decompression::RequestDecompression;

use super::app::App;
use super::budget::Reservation;
use super::error::{ApiError, ErrorCode};

/// Compressions that a body may have.
const ENCODINGS: [&str; 4] = ["gzip", "br", "zstd", "identity"];

/// Checks what the headers say of the body, before any of it is read.
pub(super) fn check_headers(headers: &HeaderMap, limit_bytes: usize) -> Result<(), ApiError> {
    if length(headers).is_some_and(|length| length > limit_bytes) {
        return Err(too_large(limit_bytes));
    }
    if !headers.get(header::CONTENT_TYPE).is_some_and(is_json) {
        let message = "the body must be JSON, with the header content-type: application/json";
        return Err(ApiError::new(ErrorCode::UnsupportedMediaType, message));
    }
    encoding(headers).map(|_| ())
}

/// The body's length as it comes, where the headers say it.
pub(super) fn length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether a media type is JSON in UTF-8.
fn is_json(value: &HeaderValue) -> bool {
    let Ok(value) = value.to_str() else { return false };
    let mut parts = value.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/json"));
    let is_utf8 = parts.filter_map(|parameter| parameter.split_once('=')).all(|(name, charset)| {
        let charset = charset.trim().trim_matches('"');
        !name.trim().eq_ignore_ascii_case("charset")
            || ["utf-8", "utf8", "us-ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known))
    });
    is_json && is_utf8
}

/// The body's one compression.
fn encoding(headers: &HeaderMap) -> Result<&'static str, ApiError> {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    let Some(value) = values.next() else { return Ok("identity") };
    let given = value.to_str().unwrap_or_default().trim();
    let known = ENCODINGS.into_iter().find(|known| given.eq_ignore_ascii_case(known));
    known.filter(|_| values.next().is_none()).ok_or_else(|| {
        let message = format!("the header content-encoding must be one of {}", ENCODINGS.join(", "));
        ApiError::new(ErrorCode::UnsupportedMediaType, message).detail("allowed", ENCODINGS.to_vec())
    })
}

/// The whole body, unpacked, and the memory that it was given: to be kept until the request is over.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    app: &App,
) -> Result<(Vec<u8>, Reservation), ApiError> {
    let encoding = encoding(headers)?;
    let limit_bytes = app.settings.limits.body_limit_bytes;
    app.bodies.check(length(headers).unwrap_or(0))?;
    let mut reservation = app.bodies.reserve_nothing();
    // The packed size counts as well: a packed body may be all padding.
    let packed = Limited::new(body, limit_bytes);
    let whole = async {
        let mut unpacked = Limited::new(decompressed(encoding, packed).await, limit_bytes);
        let mut bytes = Vec::new();
        while let Some(frame) = unpacked.frame().await {
            let frame = frame.map_err(|error| unreadable(error.as_ref(), encoding, limit_bytes))?;
            if let Ok(data) = frame.into_data() {
                reservation.grow_to(bytes.len() + data.len())?;
                bytes.extend_from_slice(&data);
            }
        }
        Ok::<_, ApiError>(bytes)
    };
    let patience = app.settings.body_timeout;
    let bytes = tokio::time::timeout(patience, whole).await.map_err(|_| too_slow(patience))??;
    Ok((bytes, reservation))
}

/// The middleware for unpacking, used as a function, so that the order of checks is the handler's.
async fn decompressed(encoding: &'static str, body: Limited<Body>) -> Body {
    let mut request = Request::new(body);
    request.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    let (give, take) = tokio::sync::oneshot::channel();
    let mut give = Some(give);
    let keep = service_fn(|request: Request<tower_http::decompression::DecompressionBody<Limited<Body>>>| {
        if let Some(give) = give.take() {
            let _ = give.send(Body::new(request.into_body()));
        }
        async { Ok::<_, Infallible>(Response::new(Body::empty())) }
    });
    let _ = RequestDecompression::new(keep).oneshot(request).await;
    take.await.unwrap_or_default()
}

fn unreadable(error: &(dyn StdError + 'static), encoding: &str, limit_bytes: usize) -> ApiError {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return too_large(limit_bytes);
        }
        if error.is::<hyper::Error>() {
            return ApiError::new(ErrorCode::BadRequest, "the body ended before its end");
        }
        cause = error.source();
    }
    ApiError::new(ErrorCode::BadRequest, format!("the body is not what content-encoding: {encoding} says"))
}

fn too_large(limit_bytes: usize) -> ApiError {
    let message = format!("the body is larger than the limit of {limit_bytes} bytes; send it in parts");
    ApiError::new(ErrorCode::PayloadTooLarge, message).detail("limit_bytes", limit_bytes)
}

fn too_slow(limit: Duration) -> ApiError {
    let message = format!("the body did not arrive within {} ms", limit.as_millis());
    ApiError::new(ErrorCode::RequestTimeout, message).detail("limit_ms", limit.as_secs_f64() * 1000.0)
}

/// Sees to it that a body which the handler did not want is still read to its end, up to a bound.
///
/// A server that answers early and closes while the client still sends makes the client's system discard
/// the answer, and the caller sees a broken connection in place of, say, a 413.
pub(super) fn drain_on_drop(request: Request<Body>) -> Request<Body> {
    // Who asks before sending is told no, and then sends nothing; reading on would be taken for a yes.
    if request.headers().contains_key(header::EXPECT) {
        return request;
    }
    request.map(|body| Body::new(DrainedBody { body }))
}

/// Reading on is for honest clients, which end soon.
const DRAIN_TIME: Duration = Duration::from_secs(5);

struct DrainedBody {
    body: Body,
}

impl hyper::body::Body for DrainedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for DrainedBody {
    fn drop(&mut self) {
        let mut body = std::mem::take(&mut self.body);
        // A small body has come with its head: it is taken here, without the task and the timer that reading on takes.
        // What is not here yet comes through this very task, so that the loop ends.
        let mut context = Context::from_waker(Waker::noop());
        while !body.is_end_stream() {
            match Pin::new(&mut body).poll_frame(&mut context) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(_) => return,
                Poll::Pending => return read_on(body),
            }
        }
    }
}

/// Reads a body to its end in a task of its own, for some time.
fn read_on(mut body: Body) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(tokio::time::timeout(DRAIN_TIME, async move {
            while let Some(Ok(_)) = body.frame().await {}
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_in_utf8_is_json() {
        let cases = [
            ("application/json", true),
            ("Application/JSON; charset=\"UTF-8\"", true),
            ("application/json; charset=latin1", false),
            ("text/json", false),
            ("application/x-www-form-urlencoded", false),
            ("", false),
        ];
        for (value, expected) in cases {
            assert_eq!(is_json(&HeaderValue::from_static(value)), expected, "{value}");
        }
    }
}
