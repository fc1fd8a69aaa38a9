//! `GET /api/usage`: the usage of a key, and how much of its limits is used.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;
use utoipa::ToSchema;

use super::app::App;
use super::error::ApiError;
use super::observe::RequestContext;
use super::openapi::schemas;
use super::query::Parameters;
use super::{admin, auth, blocking};
use sentor_store::clock::iso_8601;
use sentor_store::keys::{KeyRecord, Scope};
use sentor_store::metering::{DayUsage, Limit, Plan, Quota, RateLimitStatus, Usage, UsageQuery};

/// The usage of one key or of all keys.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UsageAnswer {
    #[schema(value_type = String, format = Date)]
    from: Date,
    #[schema(value_type = String, format = Date)]
    to: Date,
    /// The key; left out for all keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<KeyUsage>,
    /// By account, then by day; days without use are left out.
    days: Vec<DayRow>,
    #[schema(value_type = schemas::Usage)]
    total: Usage,
}

/// A key and its limits.
#[derive(Debug, Serialize, ToSchema)]
struct KeyUsage {
    key_id: String,
    name: String,
    plan: PlanAnswer,
    /// `null` if the configuration does not know the plan.
    minute: Option<LimitStatus>,
    day: Option<LimitStatus>,
    month: Option<LimitStatus>,
}

/// A plan; a limit that it does not have is `null`.
#[derive(Debug, Serialize, ToSchema)]
struct PlanAnswer {
    name: String,
    #[serde(flatten)]
    #[schema(value_type = schemas::PlanLimits)]
    limits: serde_json::Map<String, serde_json::Value>,
}

/// How much of a limit is used; `limit` and `remaining` are `null` if there is none.
#[derive(Debug, Serialize, ToSchema)]
struct LimitStatus {
    limit: Option<u64>,
    used: u64,
    remaining: Option<u64>,
    #[schema(format = DateTime)]
    resets_at: String,
}

/// The usage of an account on a day in UTC.
#[derive(Debug, Serialize, ToSchema)]
struct DayRow {
    /// A key, with its successors by rotation.
    account: String,
    #[schema(value_type = String, format = Date)]
    day: Date,
    #[serde(flatten)]
    #[schema(value_type = schemas::Usage)]
    usage: Usage,
}

/// `GET /api/usage`: of one's own key, or with the scope `admin` of any. Counts in the minute, and writes nothing.
#[utoipa::path(
    get, path = "/api/usage", tag = "usage",
    summary = "Show what a key used",
    params(
        ("from" = Option<String>, Query, format = Date,
         description = "The first day; the first of this month unless said otherwise."),
        ("to" = Option<String>, Query, format = Date, description = "The last day; today unless said otherwise."),
        ("key" = Option<String>, Query,
         description = "The identifier of a key, or `all`; another than one's own needs the scope `admin`."),
    ),
    responses((status = 200, description = "Usage by account and day in UTC.", body = UsageAnswer)),
)]
pub(super) async fn show_usage(
    State(app): State<Arc<App>>,
    context: RequestContext,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<UsageAnswer>, ApiError> {
    let own = auth::authenticate(&app, &headers, &context)?;
    auth::admit_query(&app, &own, &context)?;
    let parameters = Parameters::parse(&uri)?;
    let today = app.now().to_zoned(TimeZone::UTC).date();
    let from = parameters.read("from", "a day such as 2026-03-01")?.unwrap_or(today.first_of_month());
    let to = parameters.read("to", "a day such as 2026-03-31")?.unwrap_or(today);
    let asked = parameters.text("key")?;
    if asked.is_some_and(|id| id != own.id.as_str()) {
        auth::require_scope(&app, &own, Scope::Admin)?;
    }
    let shown = match asked {
        Some("all") => None,
        Some(id) => Some(admin::find_key(&app, admin::parse_id(id)?).await?),
        None => Some(own.as_ref().clone()),
    };
    let query = UsageQuery { from, to, account: shown.as_ref().map(|key| key.account.clone()) };
    let meter = Arc::clone(&app.services.meter);
    let days = blocking(move || meter.usage(&query)).await??;
    Ok(Json(UsageAnswer {
        from,
        to,
        key: shown.map(|key| key_usage(&app, &key)),
        total: days.iter().map(|day| day.usage).sum(),
        days: days.into_iter().map(day_row).collect(),
    }))
}

fn day_row(DayUsage { account, day, usage }: DayUsage) -> DayRow {
    DayRow { account: account.to_string(), day, usage }
}

fn key_usage(app: &App, key: &KeyRecord) -> KeyUsage {
    let meter = &app.services.meter;
    KeyUsage {
        key_id: key.id.to_string(),
        name: key.name.clone(),
        plan: PlanAnswer {
            name: key.plan.clone(),
            limits: meter.plan(key).map(|plan| plan_members(&plan)).unwrap_or_default(),
        },
        minute: meter.minute(key).map(limit_status),
        day: meter.quota(key, Quota::Day).map(limit_status),
        month: meter.quota(key, Quota::Month).map(limit_status),
    }
}

fn plan_members(plan: &Plan) -> serde_json::Map<String, serde_json::Value> {
    let limits = Limit::ALL.into_iter().map(|limit| (limit.name().to_owned(), plan.limit(limit).into()));
    limits.chain([("weight".to_owned(), plan.weight.get().into())]).collect()
}

fn limit_status(status: RateLimitStatus) -> LimitStatus {
    LimitStatus {
        limit: status.limit,
        used: status.used,
        remaining: status.remaining(),
        resets_at: iso_8601(status.reset),
    }
}
