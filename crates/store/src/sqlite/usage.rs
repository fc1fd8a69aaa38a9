//! Usage in SQLite.

use jiff::Timestamp;
use jiff::civil::Date;
use rusqlite::params;

use super::{SHORT_WAIT, SqliteStore};
use crate::error::StoreError;
use crate::keys::KeyId;
use crate::metering::{DayUsage, RecentRequests, Usage, UsageBatch, UsageQuery, UsageStore};

impl UsageStore for SqliteStore {
    fn add_usage(&self, batch: &UsageBatch) -> Result<(), StoreError> {
        self.write(SHORT_WAIT, |transaction| {
            let mut add_day = transaction.prepare_cached(
                "INSERT INTO usage (account, day, requests, documents, characters, tokens, entities)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT (account, day) DO UPDATE SET
                     requests = requests + excluded.requests,
                     documents = documents + excluded.documents,
                     characters = characters + excluded.characters,
                     tokens = tokens + excluded.tokens,
                     entities = entities + excluded.entities",
            )?;
            for DayUsage { account, day, usage } in &batch.days {
                add_day.execute(params![
                    account.as_str(),
                    day.to_string(),
                    usage.requests,
                    usage.documents,
                    usage.characters,
                    usage.tokens,
                    usage.entities,
                ])?;
            }
            let mut add_recent = transaction
                .prepare_cached("INSERT INTO recent_requests (at, account, requests) VALUES (?1, ?2, ?3)")?;
            for RecentRequests { account, at, requests } in &batch.recent {
                let requests = i64::try_from(*requests).unwrap_or(i64::MAX);
                add_recent.execute(params![at.as_microsecond(), account.as_str(), requests])?;
            }
            transaction
                .prepare_cached("DELETE FROM recent_requests WHERE at NOT BETWEEN ?1 AND ?2")?
                .execute([
                    batch.keep_recent.start().as_microsecond(),
                    batch.keep_recent.end().as_microsecond(),
                ])?;
            Ok(())
        })
    }

    fn usage(&self, query: &UsageQuery) -> Result<Vec<DayUsage>, StoreError> {
        let account = query.account.as_ref().map(KeyId::as_str);
        let raw: Vec<(String, String, Usage)> = self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT * FROM usage WHERE day BETWEEN ?1 AND ?2 AND (?3 IS NULL OR account = ?3)
                 ORDER BY account, day",
            )?;
            let rows = statement.query_map(
                params![query.from.to_string(), query.to.to_string(), account],
                |row| {
                    let usage = Usage {
                        requests: row.get("requests")?,
                        documents: row.get("documents")?,
                        characters: row.get("characters")?,
                        tokens: row.get("tokens")?,
                        entities: row.get("entities")?,
                    };
                    Ok((row.get("account")?, row.get("day")?, usage))
                },
            )?;
            rows.collect()
        })?;
        let parse = |(account, day, usage): (String, String, Usage)| {
            let parsed = day.parse().ok();
            // One bad row must not keep a server from its start.
            if parsed.is_none() {
                tracing::error!(account, day, "a row of usage has no valid day: it is left out");
            }
            Some(DayUsage { account: KeyId::new(account), day: parsed?, usage })
        };
        Ok(raw.into_iter().filter_map(parse).collect())
    }

    fn recent_requests(&self, since: Timestamp) -> Result<Vec<RecentRequests>, StoreError> {
        let raw: Vec<(i64, String, i64)> = self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT at, account, requests FROM recent_requests WHERE at >= ?1 ORDER BY at",
            )?;
            let rows = statement.query_map([since.as_microsecond()], |row| {
                Ok((row.get("at")?, row.get("account")?, row.get("requests")?))
            })?;
            rows.collect()
        })?;
        let parse = |(at, account, requests): (i64, String, i64)| {
            let at = Timestamp::from_microsecond(at).ok()?;
            Some(RecentRequests { account: KeyId::new(account), at, requests: u64::try_from(requests).ok()? })
        };
        Ok(raw.into_iter().filter_map(parse).collect())
    }

    fn forget_usage_before(&self, day: Date) -> Result<(), StoreError> {
        let has_old = self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM usage WHERE day < ?1)")?;
            statement.query_row([day.to_string()], |row| row.get::<_, bool>(0))
        })?;
        if !has_old {
            return Ok(());
        }
        self.write(SHORT_WAIT, |transaction| {
            transaction.execute("DELETE FROM usage WHERE day < ?1", [day.to_string()])?;
            Ok(())
        })
    }
}
