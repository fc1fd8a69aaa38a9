//! `sentor keys`: makes, lists, revokes and rotates keys.

use std::io::Write as _;

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};
use jiff::{Span, Timestamp, civil, tz::TimeZone};

use super::{Exit, GlobalArgs, print};
use crate::http::{KeyView, NewKeyView};
use sentor_store::SqliteStore;
use sentor_store::audit::{Actor, AuditLog, Event};
use sentor_store::clock::iso_8601;
use sentor_store::keys::{ApiKey, Environment, KeyId, KeyRecord, KeyStore as _, NewKey, Scope, rotate};

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
    let audit = AuditLog::open(&config.keys.data_dir)?;
    let now = Timestamp::now();
    let note_down = |event: Event<'_>| audit.write(now, Actor::CommandLine, event);
    match &args.command {
        KeysCommand::Create { name, plan, scopes, expires, environment, json } => {
            anyhow::ensure!(!name.trim().is_empty(), "a key needs a name");
            anyhow::ensure!(
                config.plans.find(plan).is_some(),
                "there is no plan {plan:?}; the plans are {}, and [plans.NAME] in the configuration file adds one",
                config.plans.names().join(", ")
            );
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
            note_down(Event::KeyCreated(&record));
            print_key(&key, &record, now, *json)?;
            note(&format!("made key {} in {}; it is not shown again", record.id, store.path().display()));
        }
        KeysCommand::List { json } => {
            let records = store.records()?;
            if *json {
                let rows: Vec<KeyView> = records.iter().map(|record| KeyView::of(record, now)).collect();
                print(format!("{}\n", serde_json::to_string_pretty(&rows)?).as_bytes())?;
            } else {
                print(table(&records, now).as_bytes())?;
            }
        }
        KeysCommand::Revoke { id } => {
            let record = store.revoke(&KeyId::new(id), now)?;
            note_down(Event::KeyRevoked(&record));
            note(&format!("key {} ({}) is revoked", record.id, record.name));
        }
        KeysCommand::Rotate { id, overlap, json } => {
            let until = after(overlap, now).context("--overlap")?;
            let old = KeyId::new(id);
            let (key, record) = rotate(&store, &old, until, now, &mut rand::rng())?;
            note_down(Event::KeyRotated { old: &old, new: &record });
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
    let shown = NewKeyView::of(key, record, now);
    print(format!("{}\n", serde_json::to_string_pretty(&shown)?).as_bytes())
}

/// Says something to people; stdout is for the key.
fn note(text: &str) {
    // Nothing is lost if nobody hears it.
    let _ = writeln!(anstream::stderr(), "{text}");
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
    super::table::table(&rows)
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
