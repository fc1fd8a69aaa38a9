//! `GET /api/demo`: a sample that is scored for visitors without a key, where the setting `demo` allows it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use sentor_analysis::results::document_result;
use sentor_analysis::{Caller, Document, MentionSource, Options};
use sentor_text::language::{Language, LanguageChoice};
use sentor_text::span::OffsetUnit;
use serde_json::json;

use super::app::App;
use super::error::{ApiError, ErrorCode};
use super::query::Parameters;

/// How long an answer is given again. Visitors cause one document of each language in this time, however many they are.
const KEPT: Duration = Duration::from_mins(1);

/// The last answer of each language.
#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<[Option<Answer>; 2]>);

/// When an answer was made, and its JSON.
type Answer = (Timestamp, Arc<str>);

impl Answers {
    fn fresh(&self, place: usize, now: Timestamp) -> Option<Arc<str>> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (made, answer) = answers[place].as_ref()?;
        let age = Duration::try_from(now.duration_since(*made)).unwrap_or(KEPT);
        (age < KEPT).then(|| Arc::clone(answer))
    }

    fn keep(&self, place: usize, now: Timestamp, answer: &Arc<str>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[place] = Some((now, Arc::clone(answer)));
    }
}

/// The sample of a language.
fn sample(language: Language) -> (&'static str, &'static [&'static str]) {
    match language {
        Language::English => (
            "The camera is superb, but the battery is a joke. Delivery took two days. I would buy from Acme again, although \
             Acme's support never answered.",
            &["camera", "battery", "Acme", "price"],
        ),
        Language::Dutch => (
            "Geweldig product, maar de bezorging duurde eindeloos. De camera maakt prachtige foto's. De klantenservice was \
             onbeschoft.",
            &["product", "bezorging", "camera", "klantenservice"],
        ),
    }
}

/// `GET /api/demo`.
#[utoipa::path(
    get, path = "/api/demo", tag = "sentiment",
    summary = "Score the sample",
    description = "Scores a fixed sample without a key. `enabled` is false, and all else is missing, where the setting `demo` is \
                   off. An answer is given again for a minute.",
    params(("language" = Option<String>, Query, description = "`en`, the default, or `nl`.")),
    responses((status = 200, description = "The sample and its scores; offsets count units of UTF-16.", body = serde_json::Value)),
    security(()),
)]
pub(super) async fn show_demo(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, ApiError> {
    let json = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")];
    if !app.settings().demo {
        return Ok((json, "{\"enabled\":false}").into_response());
    }
    let parameters = Parameters::parse(&uri)?;
    let language = match parameters.text("language")? {
        None => Language::English,
        Some(code) => Language::parse(code).ok_or_else(|| {
            ApiError::new(ErrorCode::BadRequest, "language must be en or nl").detail("parameter", "language")
        })?,
    };
    let (place, now) = (usize::from(language == Language::Dutch), app.now());
    if let Some(answer) = app.demo.fresh(place, now) {
        return Ok((json, answer.to_string()).into_response());
    }
    let (text, entities) = sample(language);
    let document = Document {
        text: text.to_owned(),
        entities: entities.iter().map(|&entity| entity.to_owned()).collect(),
        mentions: MentionSource::Find,
        ..Document::default()
    };
    let caller = Caller::from("demo");
    let options = Options { language: LanguageChoice::Fixed(language), caller, deadline: None };
    let outcome =
        app.ready_analyzer()?.analyze(vec![document], options).await?.pop().ok_or_else(ApiError::server)?;
    let analysis = outcome.map_err(|error| ApiError::from_document(&error, 0))?;
    let result = document_result(Some("1"), text, &analysis, OffsetUnit::Utf16);
    let answer: Arc<str> = json!({
        "enabled": true,
        "language": language.code(),
        "document": {"doc": text, "entities": entities},
        "answer": {"results": [result]},
    })
    .to_string()
    .into();
    app.demo.keep(place, now, &answer);
    Ok((json, answer.to_string()).into_response())
}
