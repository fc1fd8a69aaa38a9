//! `sentor keys`: makes, lists, revokes and rotates keys.

use std::io::Write as _;

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};
use jiff::{Span, Timestamp, civil, tz::TimeZone};
use serde::Serialize;

use super::{Exit, GlobalArgs, print};
use crate::clock::iso_8601;
use crate::keys::{ApiKey, Environment, KeyId, KeyRecord, KeyStore as _, NewKey, Scope, SqliteStore, rotate};

/// Arguments of `sentor keys`.
#[derive(Debug, clap::Args)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make a key and print it, alone, on stdout: it cannot be shown again
    Create {
        /// What people call it
        name: String,
        /// Which limits hold for it
        #[arg(long, default_value = KeyRecord::UNLIMITED)]
        plan: String,
        /// What it may do: predict, cluster, admin or metrics; can stand several times
        #[arg(long = "scope", value_name = "SCOPE", default_values = ["predict", "cluster"], value_delimiter = ',')]
        scopes: Vec<Scope>,
        /// From when on it is not valid: a span such as 90d or 12h, a date, or a time with its zone
        #[arg(long, value_name = "WHEN")]
        expires: Option<String>,
        /// What it is for; both kinds work alike
        #[arg(long, value_enum, default_value = "live")]
        environment: EnvironmentArg,
        /// Print the key and all about it as JSON
        #[arg(long)]
        json: bool,
    },
    /// List all keys, without the keys themselves
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a key back; running servers refuse it within a second
    Revoke {
        /// Its identifier, as `list` shows it
        id: String,
    },
    /// Make a key that takes the place of another, and print it, alone, on stdout
    Rotate {
        /// The old key's identifier, as `list` shows it
        id: String,
        /// How long the old key still works, such as 24h or 7d
        #[arg(long, value_name = "SPAN", default_value = "24h")]
        overlap: String,
        /// Print the new key and all about it as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum EnvironmentArg {
    Live,
    Test,
}

pub(crate) fn run(args: &KeysArgs, global: &GlobalArgs) -> anyhow::Result<Exit> {
    let config = global.load_config()?;
    let store = SqliteStore::open(&config.keys.data_dir)?;
    let now = Timestamp::now();
    match &args.command {
        KeysCommand::Create { name, plan, scopes, expires, environment, json } => {
            anyhow::ensure!(!name.trim().is_empty(), "a key needs a name");
            let expires_at = expires.as_deref().map(|text| moment(text, now)).transpose()?;
            let new = NewKey {
                name: name.clone(),
                environment: match environment {
                    EnvironmentArg::Live => Environment::Live,
                    EnvironmentArg::Test => Environment::Test,
                },
                plan: plan.clone(),
                scopes: scopes.iter().copied().collect(),
                expires_at,
            };
            let (key, record) = new.generate(now, &mut rand::rng());
            store.insert(&record)?;
            print_key(&key, &record, now, *json)?;
            note(&format!("made key {} in {}; it is not shown again", record.id, store.path().display()));
        }
        KeysCommand::List { json } => {
            let records = store.records()?;
            if *json {
                let rows: Vec<Row<'_>> = records.iter().map(|record| Row::of(record, now)).collect();
                print(format!("{}\n", serde_json::to_string_pretty(&rows)?).as_bytes())?;
            } else {
                print(table(&records, now).as_bytes())?;
            }
        }
        KeysCommand::Revoke { id } => {
            let record = store.revoke(&KeyId::new(id), now)?;
            note(&format!("key {} ({}) is revoked", record.id, record.name));
        }
        KeysCommand::Rotate { id, overlap, json } => {
            let until = after(overlap, now).context("--overlap")?;
            let (key, record) = rotate(&store, &KeyId::new(id), until, now, &mut rand::rng())?;
            print_key(&key, &record, now, *json)?;
            note(&format!("key {} follows {id}, which works until {} at most", record.id, iso_8601(until)));
        }
    }
    Ok(Exit::Ok)
}

fn print_key(key: &ApiKey, record: &KeyRecord, now: Timestamp, json: bool) -> anyhow::Result<()> {
    if !json {
        return print(format!("{}\n", key.expose()).as_bytes());
    }
    let shown = NewRow { key: key.expose(), row: Row::of(record, now) };
    print(format!("{}\n", serde_json::to_string_pretty(&shown)?).as_bytes())
}

/// Says something to people; stdout is for the key.
fn note(text: &str) {
    // Nothing is lost if nobody hears it.
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// A key as `list --json` shows it.
#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    name: &'a str,
    prefix: &'a str,
    state: &'static str,
    plan: &'a str,
    scopes: Vec<&'static str>,
    created_at: String,
    expires_at: Option<String>,
    last_used_at: Option<String>,
    revoked_at: Option<String>,
}

/// A new key as `create --json` shows it, the one time that it can be seen.
#[derive(Serialize)]
struct NewRow<'a> {
    key: &'a str,
    #[serde(flatten)]
    row: Row<'a>,
}

impl<'a> Row<'a> {
    fn of(record: &'a KeyRecord, now: Timestamp) -> Self {
        Self {
            id: record.id.as_str(),
            name: &record.name,
            prefix: &record.prefix,
            state: record.state(now).word(),
            plan: &record.plan,
            scopes: record.scopes.words(),
            created_at: iso_8601(record.created_at),
            expires_at: record.expires_at.map(iso_8601),
            last_used_at: record.last_used_at.map(iso_8601),
            revoked_at: record.revoked_at.map(iso_8601),
        }
    }
}

fn table(records: &[KeyRecord], now: Timestamp) -> String {
    let minute = |time: Option<Timestamp>| {
        time.map_or_else(|| "-".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M").to_string())
    };
    let mut rows = vec![
        ["ID", "NAME", "KEY", "STATE", "PLAN", "SCOPES", "CREATED (UTC)", "EXPIRES", "LAST USED"]
            .map(str::to_owned),
    ];
    rows.extend(records.iter().map(|record| {
        [
            record.id.to_string(),
            record.name.clone(),
            format!("{}…", record.prefix),
            record.state(now).word().to_owned(),
            record.plan.clone(),
            record.scopes.words().join(","),
            minute(Some(record.created_at)),
            minute(record.expires_at),
            minute(record.last_used_at),
        ]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 9] = std::array::from_fn(width);
    let line = |row: &[String; 9]| {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// Reads a moment to come: a span from now, a date (its start, in UTC) or a time with its zone.
fn moment(text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    let at = if let Ok(at) = text.parse::<Timestamp>() {
        at
    } else if let Ok(date) = text.parse::<civil::Date>() {
        date.to_zoned(TimeZone::UTC)?.timestamp()
    } else {
        after(text, now)?
    };
    anyhow::ensure!(at > now, "{text} is not in the future");
    Ok(at)
}

/// The moment a span after `now`.
fn after(text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    let span: Span =
        text.parse().ok().filter(|span: &Span| !span.is_negative()).with_context(|| {
            format!("{text:?} is no span of time such as 12h or 90d, no date and no time")
        })?;
    Ok(now.to_zoned(TimeZone::UTC).checked_add(span)?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_every_form() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().expect("a valid time");
        let cases = [
            ("12h", "2026-02-01T00:00:00Z"),
            ("1d", "2026-02-01T12:00:00Z"),
            ("1mo", "2026-02-28T12:00:00Z"),
            ("2026-03-01", "2026-03-01T00:00:00Z"),
            ("2026-03-01T10:00:00+02:00", "2026-03-01T08:00:00Z"),
        ];
        for (text, expected) in cases {
            assert_eq!(moment(text, now).expect(text).to_string(), expected, "{text}");
        }
        for text in ["", "soon", "-1d", "0s", "2025-01-01"] {
            assert!(moment(text, now).is_err(), "{text}");
        }
    }
}
