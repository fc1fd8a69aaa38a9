//! The errors of each operation, with examples from the code that writes real errors.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use utoipa::Modify;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::Type;
use utoipa::openapi::{
    ContentBuilder, ObjectBuilder, OpenApi as Document, Ref, RefOr, Response, ResponseBuilder,
};

use crate::http::error::{ApiError, ErrorCode};
use crate::http::problems::Problems;

/// Adds the errors of every operation.
pub(super) struct Rejections;

impl Modify for Rejections {
    fn modify(&self, document: &mut Document) {
        for (path, item) in &mut document.paths.paths {
            let methods = [&mut item.get, &mut item.post, &mut item.put, &mut item.delete, &mut item.patch];
            for operation in methods.into_iter().flatten() {
                add(operation, &codes(path));
            }
        }
    }
}

/// Errors of any request: before routing, or by a fault of the server.
const ALWAYS: [ErrorCode; 5] = [
    ErrorCode::BadRequest,
    ErrorCode::MethodNotAllowed,
    ErrorCode::UriTooLong,
    ErrorCode::HeadersTooLarge,
    ErrorCode::ServerError,
];

/// Errors of a request with a key.
const WITH_KEY: [ErrorCode; 5] = [
    ErrorCode::MissingKey,
    ErrorCode::InvalidKey,
    ErrorCode::ExpiredKey,
    ErrorCode::RevokedKey,
    ErrorCode::NotReady,
];

/// Further errors of a request with documents.
const WITH_DOCUMENTS: [ErrorCode; 9] = [
    ErrorCode::InsufficientScope,
    ErrorCode::QuotaExceeded,
    ErrorCode::UnknownPlan,
    ErrorCode::RateLimitExceeded,
    ErrorCode::RequestTimeout,
    ErrorCode::PayloadTooLarge,
    ErrorCode::UnsupportedMediaType,
    ErrorCode::ValidationError,
    ErrorCode::Overloaded,
];

/// Further errors of a request that changes a key.
const WITH_CHANGE: [ErrorCode; 7] = [
    ErrorCode::InsufficientScope,
    ErrorCode::NotFound,
    ErrorCode::RequestTimeout,
    ErrorCode::Conflict,
    ErrorCode::PayloadTooLarge,
    ErrorCode::UnsupportedMediaType,
    ErrorCode::ValidationError,
];

/// The errors of the operations at `path`.
fn codes(path: &str) -> Vec<ErrorCode> {
    let own: &[&[ErrorCode]] = match path {
        "/livez" => &[],
        "/api/demo" => &[&[ErrorCode::Overloaded, ErrorCode::NotReady]],
        "/readyz" => &[&[ErrorCode::NotReady]],
        "/api/health" => &[&WITH_KEY],
        "/metrics" => &[&WITH_KEY, &[ErrorCode::InsufficientScope]],
        "/api/usage" => &[
            &WITH_KEY,
            &[ErrorCode::InsufficientScope, ErrorCode::NotFound],
            &[ErrorCode::UnknownPlan, ErrorCode::RateLimitExceeded],
        ],
        "/api/predicts"
        | "/api/predicts/cluster"
        | "/api/predicts/topic-name"
        | "/v1/embeddings"
        | "/api/jobs"
        | "/api/files/read"
        | "/api/files/workbook" => &[&WITH_KEY, &WITH_DOCUMENTS],
        _ if path.starts_with("/api/jobs/") => {
            &[&WITH_KEY, &[ErrorCode::InsufficientScope, ErrorCode::NotFound, ErrorCode::Conflict]]
        }
        _ => &[&WITH_KEY, &WITH_CHANGE],
    };
    let all = ALWAYS.into_iter().chain(own.iter().flat_map(|codes| codes.iter().copied()));
    // In the order of the table, so by status.
    let all: Vec<ErrorCode> = all.collect();
    ErrorCode::ALL.iter().copied().filter(|code| all.contains(code)).collect()
}

fn add(operation: &mut Operation, codes: &[ErrorCode]) {
    let mut by_status: BTreeMap<u16, Vec<ErrorCode>> = BTreeMap::new();
    for code in codes {
        by_status.entry(code.status().as_u16()).or_default().push(*code);
    }
    for (status, codes) in by_status {
        operation.responses.responses.insert(status.to_string(), RefOr::T(response(&codes)));
    }
}

fn response(codes: &[ErrorCode]) -> Response {
    let names: Vec<String> = codes.iter().map(|code| format!("`{}`", code.name())).collect();
    let examples = codes.iter().map(|code| {
        let error = example(*code);
        (code.name(), ExampleBuilder::new().value(Some(body(&error))).build())
    });
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("ErrorBody")))
        .examples_from_iter(examples)
        .build();
    let response =
        ResponseBuilder::new().description(names.join(" or ")).content("application/json", content);
    let has_retry_after = codes.iter().any(|code| example(*code).has_retry_after());
    if !has_retry_after {
        return response.build();
    }
    let seconds = ObjectBuilder::new().schema_type(Type::Integer).build();
    let header =
        HeaderBuilder::new().schema(seconds).description(Some("Seconds until it is worth trying again"));
    response.header("Retry-After", header.build()).build()
}

fn body(error: &ApiError) -> Value {
    let body = error.body("0197e2d5-2c3a-7d4e-9a53-0a6d1c6f8f11", "", Timestamp::UNIX_EPOCH);
    serde_json::from_slice(&body).unwrap_or_default()
}

/// An example of an error.
fn example(code: ErrorCode) -> ApiError {
    let error = |message: &str| ApiError::new(code, message);
    match code {
        ErrorCode::BadRequest => error("language is \"xx\", but must be one of en, nl, auto")
            .detail("parameter", "language")
            .detail("allowed", vec!["en", "nl", "auto"]),
        ErrorCode::MissingKey => error("no API key: send it in the header x-api-key"),
        ErrorCode::InvalidKey => error("this API key is not known here"),
        ErrorCode::ExpiredKey => {
            error("API key has expired").detail("expires_at", "2026-01-01T00:00:00.000Z")
        }
        ErrorCode::RevokedKey => {
            error("API key has been revoked").detail("revoked_at", "2026-01-01T00:00:00.000Z")
        }
        ErrorCode::InsufficientScope => error("this API key lacks the scope predict")
            .detail("required", "predict")
            .detail("granted", vec!["metrics"]),
        ErrorCode::QuotaExceeded => error("quota exceeded: the plan free allows 100 requests a day")
            .detail("limit", 100)
            .detail("remaining", 0)
            .detail("reset", 1_767_312_000)
            .detail("retry_after", 3600)
            .detail("window", "day")
            .detail("plan", "free")
            .retry_after(3600),
        ErrorCode::UnknownPlan => {
            error("the plan gold of this API key is not set up on this server").detail("plan", "gold")
        }
        ErrorCode::RateLimitExceeded => {
            error("rate limit exceeded: the plan free allows 5 requests a minute")
                .detail("limit", 5)
                .detail("remaining", 0)
                .detail("reset", 1_767_308_460)
                .detail("retry_after", 12)
                .detail("window", "minute")
                .detail("plan", "free")
                .retry_after(12)
        }
        ErrorCode::Conflict => error("the key k2345abcdefgh is revoked, and such a key has no successor")
            .detail("state", "revoked"),
        ErrorCode::NotFound => error("there is nothing at GET /nowhere"),
        ErrorCode::MethodNotAllowed => {
            error("/livez does not take POST; the header Allow names what it does")
        }
        ErrorCode::RequestTimeout => {
            error("the body did not arrive within 30000 ms").detail("limit_ms", 30_000.0)
        }
        ErrorCode::PayloadTooLarge => {
            error("the body is larger than the limit of 16777216 bytes; send it in parts")
                .detail("limit_bytes", 16_777_216)
        }
        ErrorCode::UriTooLong => error("the path and query are too long"),
        ErrorCode::UnsupportedMediaType => {
            error("the body must be JSON, with the header content-type: application/json")
        }
        ErrorCode::ValidationError => ApiError::validation(&Problems::only("docs[3].doc", "is required")),
        ErrorCode::HeadersTooLarge => error("the headers are too many or too large"),
        ErrorCode::ServerError => ApiError::server(),
        ErrorCode::Overloaded => {
            error("the server has more work than it can do in time; try again").retry_after(3)
        }
        ErrorCode::NotReady => error("the models are still being loaded").retry_after(1),
    }
}
