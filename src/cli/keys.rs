//! `sentor keys`: makes, lists, revokes and rotates keys.

use std::io::Write as _;

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};
use jiff::{Span, Timestamp, tz::TimeZone};

use super::{Exit, GlobalArgs, print};
use crate::http::{KeyView, NewKeyView};
use sentor_store::SqliteStore;
use sentor_store::audit::{self, Actor};
use sentor_store::clock::{Clock, iso_8601};
use sentor_store::keys::{
    ApiKey, Environment, KeyAdmin, KeyId, KeyPage, KeyRecord, KeyStore as _, NewKey, Scope, check_name,
    is_control, last_expiry, parse_expiry,
};

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
        /// Name of the key, for people
        name: String,
        /// Plan with the key's limits
        #[arg(long, default_value = KeyRecord::UNLIMITED)]
        plan: String,
        /// Permission: predict, cluster, jobs, admin or metrics; repeatable
        #[arg(long = "scope", value_name = "SCOPE", default_values = ["predict", "cluster", "jobs"], value_delimiter = ',')]
        scopes: Vec<Scope>,
        /// Expiry: a span such as 90d or 12h, a date, or a time with its zone
        #[arg(long, value_name = "WHEN")]
        expires: Option<String>,
        /// Environment, part of the key's text; both work alike
        #[arg(long, value_enum, default_value = "live")]
        environment: EnvironmentArg,
        /// Print the key and its record as JSON
        #[arg(long)]
        json: bool,
    },
    /// List all keys, without the keys themselves
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke a key; running servers reject it within a second
    Revoke {
        /// Its identifier, as `list` shows it
        id: String,
    },
    /// Make a successor of a key, and print it, alone, on stdout
    Rotate {
        /// The old key's identifier, as `list` shows it
        id: String,
        /// How long the old key still works, such as 24h or 7d
        #[arg(long, value_name = "SPAN", default_value = "24h")]
        overlap: String,
        /// Print the new key and its record as JSON
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
    let clock = Clock::system();
    let now = clock.now();
    let admin = KeyAdmin::new(&store, &clock, Actor::CommandLine);
    match &args.command {
        KeysCommand::Create { name, plan, scopes, expires, environment, json } => {
            check_name(name).context("the name")?;
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
            let (key, record) = admin.create(new, &mut rand::rng())?;
            print_key(&key, &record, now, *json)?;
            print_notice(&format!(
                "made key {} in {}; it is not shown again",
                record.id,
                store.path().display()
            ));
        }
        KeysCommand::List { json } => {
            let records = all_keys(&store)?;
            if *json {
                let rows: Vec<KeyView> = records.iter().map(|record| KeyView::new(record, now)).collect();
                print(format!("{}\n", serde_json::to_string_pretty(&rows)?).as_bytes())?;
            } else {
                print(table(&records, now).as_bytes())?;
            }
        }
        KeysCommand::Revoke { id } => {
            let record = admin.revoke(&KeyId::new(id))?;
            print_notice(&format!("key {} ({}) is revoked", record.id, printable(&record.name)));
        }
        KeysCommand::Rotate { id, overlap, json } => {
            let until = after(overlap, now).context("--overlap")?;
            let old = KeyId::new(id);
            let (key, record) = admin.rotate(&old, until, &mut rand::rng())?;
            print_key(&key, &record, now, *json)?;
            print_notice(&format!(
                "key {} follows {id}, which works until {} at most",
                record.id,
                iso_8601(until)
            ));
        }
    }
    // The change and its audit entry are in the store. A server that shares it writes the file too, if this fails.
    if let Err(error) = audit::export(&store, &config.keys.data_dir) {
        print_notice(&format!(
            "the audit entry is in the store, but not yet in its file: {:#}",
            anyhow::Error::new(error)
        ));
    }
    Ok(Exit::Ok)
}

/// Reads all keys, and reports unreadable rows.
fn all_keys(store: &SqliteStore) -> anyhow::Result<Vec<KeyRecord>> {
    let (mut records, mut after): (Vec<KeyRecord>, Option<KeyId>) = (Vec::new(), None);
    loop {
        let KeyPage { records: mut more, unreadable, next } = store.page(after.as_ref(), 1000)?;
        records.append(&mut more);
        for row in unreadable {
            print_notice(&format!("key {} is unreadable and counts as revoked: {}", row.id, row.problem));
        }
        after = next;
        if after.is_none() {
            return Ok(records);
        }
    }
}

fn print_key(key: &ApiKey, record: &KeyRecord, now: Timestamp, json: bool) -> anyhow::Result<()> {
    if !json {
        return print(format!("{}\n", key.expose()).as_bytes());
    }
    let shown = NewKeyView::new(key, record, now);
    print(format!("{}\n", serde_json::to_string_pretty(&shown)?).as_bytes())
}

/// Prints a notice for people on stderr, since stdout is for the key.
fn print_notice(text: &str) {
    // A closed stderr loses nothing.
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
            printable(&record.name),
            format!("{}…", record.prefix),
            record.state(now).name().to_owned(),
            record.plan.clone(),
            record.scopes.names().join(","),
            minute(Some(record.created_at)),
            minute(record.ends_at()),
            minute(record.last_used_at),
        ]
    }));
    super::table::table(&rows)
}

/// Escapes a name for a terminal: names from before [`check_name`] may contain control characters.
pub(super) fn printable(name: &str) -> String {
    name.chars().map(|character| if is_control(character) { '\u{FFFD}' } else { character }).collect()
}

/// Parses a future moment: a span from now, a date (its start, in UTC) or a time with its zone.
fn moment(text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    let at = match parse_expiry(text) {
        Some(at) => at,
        None => after(text, now)?.min(last_expiry()),
    };
    anyhow::ensure!(at > now, "{text} is not in the future");
    Ok(at)
}

/// Returns the moment a span after `now`.
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
