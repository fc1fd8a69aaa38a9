//! The bodies of admin requests, and their validation.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use crate::http::error::{ApiError, ErrorCode};
use crate::http::openapi::schemas;
use crate::http::problems::Problems;
use sentor_store::keys::{Environment, KeyRecord, NewKey, Scope, Scopes, check_name, parse_expiry};
use sentor_store::metering::Plans;

/// Default overlap of a rotation: a day.
const DEFAULT_OVERLAP_SECONDS: i64 = 24 * 60 * 60;

/// Longest overlap of a rotation: a year.
const MAX_OVERLAP_SECONDS: i64 = 366 * 24 * 60 * 60;

/// The properties of a new key.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct CreateKey {
    /// A name for people, without control characters, and not of white space alone.
    #[schema(max_length = 200, pattern = r"\S")]
    name: String,
    /// A plan of the configuration; `unlimited` by default.
    plan: Option<String>,
    /// The permissions; `predict` and `cluster` by default.
    #[schema(value_type = Option<Vec<schemas::Scope>>, min_items = 1)]
    scopes: Option<Vec<String>>,
    /// The environment; `live` by default. Both work alike.
    #[schema(value_type = Option<schemas::KeyEnvironment>)]
    environment: Option<String>,
    /// The end of the validity: a time to come, with its zone.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// How a key is rotated. A body may be left out.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(super) struct RotateKey {
    /// The time for which the old key still works; a day by default.
    #[schema(minimum = 0, maximum = 31_622_400)]
    overlap_seconds: Option<i64>,
}

impl CreateKey {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ApiError> {
        parse(bytes)
    }

    /// Checks the properties, and lists everything that is wrong.
    pub(super) fn check(self, plans: &Plans, now: Timestamp) -> Result<NewKey, ApiError> {
        let mut problems = Problems::default();
        if let Err(error) = check_name(&self.name) {
            problems.add("name", error.to_string());
        }
        let plan = self.plan.unwrap_or_else(|| KeyRecord::UNLIMITED.to_owned());
        if plans.find(&plan).is_none() {
            problems.add("plan", format!("must be one of {}", plans.names().join(", ")));
        }
        let scopes = match self.scopes {
            None => Scopes::caller(),
            Some(words) => {
                if words.is_empty() {
                    problems.add("scopes", "must hold at least one scope");
                }
                let mut scopes = Vec::new();
                for (index, word) in words.iter().enumerate() {
                    match word.parse::<Scope>() {
                        Ok(scope) => scopes.push(scope),
                        Err(error) => problems.add(&format!("scopes[{index}]"), error.to_string()),
                    }
                }
                scopes.into_iter().collect()
            }
        };
        let environment = match self.environment.as_deref() {
            None | Some("live") => Environment::Live,
            Some("test") => Environment::Test,
            Some(_) => {
                problems.add("environment", "must be live or test");
                Environment::Live
            }
        };
        let expires_at = self.expires_at.and_then(|text| match parse_expiry(&text) {
            Some(at) if at > now && text.contains(['T', 't', ' ']) => Some(at),
            _ => {
                problems.add("expires_at", "must be a time to come, such as 2030-01-31T12:00:00Z");
                None
            }
        });
        if !problems.is_empty() {
            return Err(ApiError::validation(&problems));
        }
        Ok(NewKey { name: self.name, environment, plan, scopes, expires_at })
    }
}

impl RotateKey {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ApiError> {
        if bytes.trim_ascii().is_empty() { Ok(Self::default()) } else { parse(bytes) }
    }

    /// Returns the time at which the old key stops working.
    pub(super) fn old_expires_at(&self, now: Timestamp) -> Result<Timestamp, ApiError> {
        let seconds = self.overlap_seconds.unwrap_or(DEFAULT_OVERLAP_SECONDS);
        let expires_at = now.checked_add(SignedDuration::from_secs(seconds)).ok();
        expires_at.filter(|_| (0..=MAX_OVERLAP_SECONDS).contains(&seconds)).ok_or_else(|| {
            let problem = format!("must be from 0 to {MAX_OVERLAP_SECONDS}");
            ApiError::validation(&Problems::only("overlap_seconds", problem))
        })
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| {
        if error.is_data() {
            return ApiError::validation(&Problems::only("$", error.to_string()));
        }
        ApiError::new(ErrorCode::BadRequest, format!("the body is not JSON: {error}"))
            .detail("line", error.line())
            .detail("column", error.column())
    })
}
