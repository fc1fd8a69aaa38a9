//! `sentor usage`: prints the usage of keys as a table, CSV or JSON.

use std::collections::HashMap;

use anyhow::Context as _;
use clap::ValueEnum;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::keys::printable;
use super::table::table;
use super::{Exit, GlobalArgs, print};
use sentor_files::guard_formulas;
use sentor_store::SqliteStore;
use sentor_store::keys::{KeyId, KeyRecord, KeyStore as _};
use sentor_store::metering::{DayUsage, Usage, UsageQuery, UsageStore as _};

/// Arguments of `sentor usage`.
#[derive(Debug, clap::Args)]
pub(crate) struct UsageArgs {
    /// Only this key and its predecessors by rotation, by the identifier that `keys list` shows
    #[arg(long, value_name = "ID")]
    key: Option<String>,
    /// First day, in UTC [default: the first of this month]
    #[arg(long, value_name = "DATE")]
    from: Option<Date>,
    /// Last day, in UTC [default: today]
    #[arg(long, value_name = "DATE")]
    to: Option<Date>,
    /// Output format
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Table,
    Csv,
    Json,
}

/// A line of the output.
#[derive(Serialize)]
struct Row<'a> {
    day: Date,
    key_id: &'a str,
    name: &'a str,
    plan: &'a str,
    requests: i64,
    documents: i64,
    characters: i64,
    tokens: i64,
    entities: i64,
}

pub(crate) fn run(args: &UsageArgs, global: &GlobalArgs) -> anyhow::Result<Exit> {
    let config = global.load_config()?;
    let store = SqliteStore::open(&config.keys.data_dir)?;
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let account = match &args.key {
        Some(id) => Some(account_of(&store, id)?),
        None => None,
    };
    let query = UsageQuery {
        from: args.from.unwrap_or(today.first_of_month()),
        to: args.to.unwrap_or(today),
        account,
    };
    let days = store.usage(&query)?;
    let records = store.records()?;
    // The newest key of an account has its current name.
    let newest: HashMap<&KeyId, &KeyRecord> =
        records.iter().map(|record| (&record.account, record)).collect();
    let rows: Vec<Row<'_>> =
        days.iter().map(|day| Row::new(day, newest.get(&day.account).copied())).collect();
    let text = match args.format {
        Format::Table => to_table(&rows, days.iter().map(|day| day.usage).sum()),
        Format::Csv => to_csv(&rows)?,
        Format::Json => format!("{}\n", serde_json::to_string_pretty(&rows)?),
    };
    print(text.as_bytes())?;
    Ok(Exit::Ok)
}

/// Returns the account of a key. The key of the configuration is not in the store, but may have usage.
fn account_of(store: &SqliteStore, id: &str) -> anyhow::Result<KeyId> {
    let id = KeyId::new(id);
    if id == KeyId::static_key() {
        return Ok(id);
    }
    Ok(store.record(&id)?.account)
}

impl<'a> Row<'a> {
    fn new(day: &'a DayUsage, key: Option<&'a KeyRecord>) -> Self {
        let Usage { requests, documents, characters, tokens, entities } = day.usage;
        Self {
            day: day.day,
            key_id: day.account.as_str(),
            name: key.map_or("", |key| &key.name),
            plan: key.map_or("", |key| &key.plan),
            requests,
            documents,
            characters,
            tokens,
            entities,
        }
    }
}

fn to_table(rows: &[Row<'_>], total: Usage) -> String {
    let head =
        ["DAY (UTC)", "KEY", "NAME", "PLAN", "REQUESTS", "DOCUMENTS", "CHARACTERS", "TOKENS", "ENTITIES"];
    let mut cells = vec![head.map(str::to_owned)];
    cells.extend(rows.iter().map(|row| {
        [
            row.day.to_string(),
            row.key_id.to_owned(),
            printable(row.name),
            row.plan.to_owned(),
            row.requests.to_string(),
            row.documents.to_string(),
            row.characters.to_string(),
            row.tokens.to_string(),
            row.entities.to_string(),
        ]
    }));
    let numbers = [total.requests, total.documents, total.characters, total.tokens, total.entities];
    let words = ["total", "", "", ""].map(str::to_owned).into_iter();
    let last: Vec<String> = words.chain(numbers.map(|number| number.to_string())).collect();
    cells.extend(<[String; 9]>::try_from(last));
    table(&cells)
}

fn to_csv(rows: &[Row<'_>]) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    if rows.is_empty() {
        // The CSV writer takes the header from the first row; a file without rows gets one here.
        writer.write_record([
            "day",
            "key_id",
            "name",
            "plan",
            "requests",
            "documents",
            "characters",
            "tokens",
            "entities",
        ])?;
    }
    for row in rows {
        let (name, plan) = (guard_formulas(row.name), guard_formulas(row.plan));
        writer.serialize(Row { name: &name, plan: &plan, ..*row })?;
    }
    let bytes = writer.into_inner().context("writing CSV")?;
    Ok(String::from_utf8(bytes)?)
}
