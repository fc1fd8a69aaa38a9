//! Reads a request's body: checks its type, size and pace, and unpacks it.

use std::error::Error as StdError;
use std::io::Read;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Request, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Frame, SizeHint};

use super::answer::off_thread;
use super::app::App;
use super::budget::Reservation;
use super::error::{ApiError, ErrorCode};
use sentor_analysis::Caller;

/// Values of content-encoding that a body may have.
const ENCODINGS: [&str; 4] = ["gzip", "br", "zstd", "identity"];

/// Checks the body's headers before any of it is read.
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

/// Returns the body's length as sent, if the headers have it.
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

/// Reads and unpacks the whole body. The reservation is the memory that it holds.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    limit_bytes: usize,
    app: &App,
    caller: &Caller,
) -> Result<(Vec<u8>, Reservation), ApiError> {
    let encoding = encoding(headers)?;
    app.bodies.check(length(headers).unwrap_or(0), caller)?;
    let mut reservation = app.bodies.reserve_nothing(caller);
    let whole = async {
        // The compressed size is limited as well: a compressed body may consist of padding.
        let mut body = Limited::new(body, limit_bytes);
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| unreadable(error.as_ref(), limit_bytes))?;
            if let Ok(data) = frame.into_data() {
                reservation.grow_to(bytes.len() + data.len())?;
                bytes.extend_from_slice(&data);
            }
        }
        Ok::<_, ApiError>(bytes)
    };
    let limit = app.settings().body_timeout;
    let bytes = tokio::time::timeout(limit, whole).await.map_err(|_| too_slow(limit))??;
    if encoding == "identity" {
        return Ok((bytes, reservation));
    }
    off_thread(true, caller, move || unpack(encoding, &bytes, limit_bytes, reservation)).await?
}

/// Maximum window of zstd, as a power of two: the 8 MiB that RFC 8878 requires of every decoder. The library would
/// allow 128 MiB.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Decompresses a body of one of [`ENCODINGS`]. gzip and zstd may have several members.
fn unpack(
    encoding: &'static str,
    packed: &[u8],
    limit_bytes: usize,
    mut reservation: Reservation,
) -> Result<(Vec<u8>, Reservation), ApiError> {
    let mut decoder: Box<dyn Read + '_> = match encoding {
        "gzip" => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
        "br" => Box::new(brotli::Decompressor::new(packed, UNPACKED_PIECE_BYTES)),
        _ => {
            let decoder = zstd::Decoder::with_buffer(packed);
            let mut decoder = decoder.map_err(|_| invalid_compression(encoding))?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(|_| invalid_compression(encoding))?;
            Box::new(decoder)
        }
    };
    let mut bytes = Vec::new();
    let mut piece = vec![0; UNPACKED_PIECE_BYTES];
    loop {
        let length = decoder.read(&mut piece).map_err(|_| invalid_compression(encoding))?;
        if length == 0 {
            break;
        }
        if bytes.len() + length > limit_bytes {
            return Err(too_large(limit_bytes));
        }
        reservation.grow_to(packed.len() + bytes.len() + length)?;
        bytes.extend_from_slice(&piece[..length]);
    }
    drop(decoder);
    reservation.resize(bytes.len());
    Ok((bytes, reservation))
}

/// Bytes that are decompressed at once.
const UNPACKED_PIECE_BYTES: usize = 16 * 1024;

fn invalid_compression(encoding: &str) -> ApiError {
    ApiError::new(ErrorCode::BadRequest, format!("the body is not what content-encoding: {encoding} says"))
}

fn unreadable(error: &(dyn StdError + 'static), limit_bytes: usize) -> ApiError {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return too_large(limit_bytes);
        }
        cause = error.source();
    }
    ApiError::new(ErrorCode::BadRequest, "the body ended before its end")
}

fn too_large(limit_bytes: usize) -> ApiError {
    let message = format!("the body is larger than the limit of {limit_bytes} bytes; send it in parts");
    ApiError::new(ErrorCode::PayloadTooLarge, message).detail("limit_bytes", limit_bytes)
}

fn too_slow(limit: Duration) -> ApiError {
    let message = format!("the body did not arrive within {} ms", limit.as_millis());
    ApiError::new(ErrorCode::RequestTimeout, message).detail("limit_ms", limit.as_secs_f64() * 1000.0)
}

/// Reads an unread body to its end, for a limited time.
///
/// If a server answers early and closes while the client still sends, the client's system discards the answer, and the caller
/// sees a broken connection in place of, say, a 413.
pub(super) fn drain_on_drop(request: Request<Body>) -> Request<Body> {
    // Reading would tell a client that sent `Expect: 100-continue` to send its body.
    if request.headers().contains_key(header::EXPECT) {
        return request;
    }
    request.map(|body| Body::new(DrainedBody { body }))
}

/// Maximum time to drain a body; honest clients end soon.
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
        // A small body arrived with its head. It is drained here, without a task and a timer. More data would come
        // through this very task, so the loop ends.
        let mut context = Context::from_waker(Waker::noop());
        while !body.is_end_stream() {
            match Pin::new(&mut body).poll_frame(&mut context) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(_) => return,
                Poll::Pending => return drain_in_task(body),
            }
        }
    }
}

/// Drains a body in a task of its own, for at most [`DRAIN_TIME`].
fn drain_in_task(mut body: Body) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(tokio::time::timeout(DRAIN_TIME, async move {
            while let Some(Ok(_)) = body.frame().await {}
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(encoding: &'static str, packed: &[u8]) -> Option<Vec<u8>> {
        let reservation = crate::http::budget::ByteBudget::new(1 << 20).reserve_nothing(&Caller::from("any"));
        unpack(encoding, packed, 1 << 20, reservation).ok().map(|(bytes, _)| bytes)
    }

    #[test]
    fn truncated_compressed_bodies_are_rejected() {
        use std::io::Write as _;
        let text = "a text of some length, ".repeat(1000).into_bytes();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).expect("memory can be written");
        let gzip = gzip.finish().expect("memory can be written");
        let zstd = zstd::encode_all(&*text, 1).expect("memory can be read");
        let mut brotli = Vec::new();
        brotli::CompressorWriter::new(&mut brotli, 4096, 4, 20)
            .write_all(&text)
            .expect("memory can be written");
        for (encoding, packed) in [("gzip", &gzip), ("zstd", &zstd), ("br", &brotli)] {
            assert_eq!(unpacked(encoding, packed).as_ref(), Some(&text), "{encoding}");
            assert_eq!(unpacked(encoding, &packed[..packed.len() - 5]), None, "{encoding}, cut short");
            assert_eq!(unpacked(encoding, b"no such thing"), None, "{encoding}");
            // Encoders may write several members, and some tools do.
            if encoding != "br" {
                let twice = [&packed[..], packed].concat();
                assert_eq!(unpacked(encoding, &twice), Some([&text[..], &text].concat()), "{encoding}");
            }
        }
    }

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
