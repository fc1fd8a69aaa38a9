//! The OpenAPI 3.1 description, made from the types and annotations of the handlers.

mod rejections;
pub(super) mod schemas;

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Components, Deprecated, OpenApi as Document, PathItem};
use utoipa::{Modify, OpenApi};

use super::error::ErrorBody;
use super::{admin, demo, embeddings, files, health, jobs, metrics, predict, topics, usage};
use rejections::Rejections;

/// The body of every error.
type Error = ErrorBody<'static>;

/// The whole description. The modifiers add parts that annotations would repeat.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "sentor",
        description = "Scores sentiment toward named entities in English and Dutch text.\n\nEvery answer has \
                       the header `x-request-id`, which names the request in the server's log.",
    ),
    paths(
        predict::predict_documents,
        topics::cluster_documents,
        topics::name_topic,
        embeddings::create_embeddings,
        demo::show_demo,
        files::read_file,
        files::write_workbook,
        health::show_health,
        health::show_liveness,
        health::show_readiness,
        metrics::show_metrics,
        usage::show_usage,
        jobs::submit_job,
        jobs::list_jobs,
        jobs::show_job,
        jobs::delete_job,
        jobs::pause_job,
        jobs::resume_job,
        jobs::cancel_job,
        jobs::read_results,
        jobs::read_errors,
        jobs::follow_job,
        admin::list_keys,
        admin::create_key,
        admin::show_key,
        admin::rotate_key,
        admin::revoke_key,
    ),
    components(schemas(Error, schemas::Offsets)),
    modifiers(&Security, &Examples, &Rejections, &Aliases),
    security(("api_key" = []), ("bearer" = [])),
    tags(
        (name = "sentiment", description = "Scoring documents"),
        (name = "topics", description = "What many documents are about"),
        (name = "files", description = "Reading and writing files, for the page and other programs"),
        (name = "health", description = "For probes; never behind the queue of documents"),
        (name = "jobs", description = "Scoring large inputs, with a key of the scope jobs"),
        (name = "usage", description = "What keys used"),
        (name = "admin", description = "Managing keys, with a key of the scope admin"),
        (name = "operation", description = "For who runs the server"),
    ),
)]
struct Interface;

static DOCUMENT: LazyLock<Document> = LazyLock::new(Interface::openapi);
static JSON: LazyLock<String> = LazyLock::new(|| {
    // A description consists of texts, numbers and lists, which always serialize.
    serde_json::to_string(&*DOCUMENT).unwrap_or_default()
});

/// The description as JSON.
pub fn document() -> &'static str {
    &JSON
}

/// `GET /openapi.json`: the description.
pub(super) async fn show_openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], document())
        .into_response()
}

/// Describes how a key is sent.
struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_with(Components::new);
        let key = ApiKeyValue::with_description("x-api-key", "A key, as `sentor keys create` prints it.");
        components.add_security_scheme("api_key", SecurityScheme::ApiKey(ApiKey::Header(key)));
        components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

/// Headers with the use of the caller's requests per minute.
const RATE_LIMIT: [(&str, &str); 4] = [
    ("X-RateLimit-Limit", "Requests in a minute; 2147483647 where there is no limit"),
    ("X-RateLimit-Used", "How many are used"),
    ("X-RateLimit-Remaining", "How many are left"),
    ("X-RateLimit-Reset", "Unix seconds when the next one will be given back"),
];

/// Adds an example of a request and its answer.
struct Examples;

impl Modify for Examples {
    fn modify(&self, document: &mut Document) {
        let operation = document.paths.paths.get_mut("/api/predicts").and_then(|path| path.post.as_mut());
        let Some(operation) = operation else { return };
        let request = operation.request_body.iter_mut().flat_map(|body| body.content.values_mut());
        request.for_each(|content| content.example = Some(predict::example_request()));
        let answers = operation.responses.responses.values_mut().filter_map(|response| match response {
            utoipa::openapi::RefOr::T(response) => Some(response),
            utoipa::openapi::RefOr::Ref(_) => None,
        });
        for answer in answers {
            answer.content.values_mut().for_each(|content| content.example = Some(predict::example_answer()));
            for (name, meaning) in RATE_LIMIT {
                let number = ObjectBuilder::new().schema_type(Type::Integer).build();
                let header = HeaderBuilder::new().schema(number).description(Some(meaning)).build();
                answer.headers.insert(name.to_owned(), header);
            }
        }
    }
}

/// Adds the second paths of handlers, which some clients call.
struct Aliases;

impl Aliases {
    /// The alias, its original, and the identifier of its operation.
    const ALL: [(&str, &str, &str); 3] = [
        ("/api/ml/predict", "/api/predicts", "predict_documents_v1"),
        ("/api/predict", "/api/predicts", "predict_documents_singular"),
        ("/api/predicts/health", "/api/health", "show_predict_health"),
    ];
}

impl Modify for Aliases {
    fn modify(&self, document: &mut Document) {
        for (alias, original, identifier) in Self::ALL {
            let Some(mut item) = document.paths.paths.get(original).cloned() else { continue };
            rename(&mut item, identifier, original);
            document.paths.paths.insert(alias.to_owned(), item);
        }
    }
}

fn rename(item: &mut PathItem, identifier: &str, original: &str) {
    for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
        operation.operation_id = Some(identifier.to_owned());
        operation.summary = Some(format!("The same as {original}"));
        operation.deprecated = Some(Deprecated::True);
    }
}
