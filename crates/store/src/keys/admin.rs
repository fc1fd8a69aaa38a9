//! Makes, rotates and revokes keys. Each change and its audit entry are one transaction of the store.

use jiff::Timestamp;

use super::api_key::ApiKey;
use super::record::{KeyId, KeyRecord, KeyState, NewKey};
use super::store::{KeyStore, KeyUpdate};
use crate::audit::{Actor, AuditEntry, Event};
use crate::clock::Clock;
use crate::error::StoreError;

/// Changes keys in the name of an actor.
#[derive(Clone, Copy, Debug)]
pub struct KeyAdmin<'a> {
    store: &'a dyn KeyStore,
    clock: &'a Clock,
    actor: Actor<'a>,
}

impl<'a> KeyAdmin<'a> {
    /// Changes keys of `store` in the name of `actor`. The clock is read inside each transaction, so that times follow
    /// the order of the changes.
    pub fn new(store: &'a dyn KeyStore, clock: &'a Clock, actor: Actor<'a>) -> Self {
        Self { store, clock, actor }
    }

    /// Makes a key.
    ///
    /// # Errors
    ///
    /// If the store cannot be written.
    pub fn create(
        &self,
        new: NewKey,
        random: &mut impl rand::CryptoRng,
    ) -> Result<(ApiKey, KeyRecord), StoreError> {
        let now = self.clock.now();
        let (key, record) = new.generate(now, random);
        let entry = AuditEntry::new(now, self.actor, Event::KeyCreated(&record));
        self.store.insert(&record, &entry)?;
        Ok((key, record))
    }

    /// Makes a successor of the key `id` with the same name, plan, scopes, account and expiry. The old key works until
    /// `retires_at` or its own expiry, whichever is first.
    ///
    /// # Errors
    ///
    /// If there is no such key, if it is revoked or expired, or if it already has a successor that was not revoked.
    pub fn rotate(
        &self,
        id: &KeyId,
        retires_at: Timestamp,
        random: &mut impl rand::CryptoRng,
    ) -> Result<(ApiKey, KeyRecord), StoreError> {
        let mut made = None;
        self.store.update(id, &mut |current| {
            let (old, now) = (&current.record, self.clock.now());
            let state = old.state(now);
            if state != KeyState::Active {
                return Err(StoreError::NotActive { id: id.clone(), state: state.name() });
            }
            // A revoked successor, as of a rotation whose answer was lost, makes room for another.
            let is_open =
                |successor: &KeyRecord| successor.revoked_at.is_some() && successor.replaced_by.is_none();
            if let Some(successor) = current.successor.as_ref().filter(|successor| !is_open(successor)) {
                return Err(StoreError::Replaced { id: id.clone(), successor: successor.id.clone() });
            }
            let new = NewKey {
                name: old.name.clone(),
                environment: old.environment(),
                plan: old.plan.clone(),
                scopes: old.scopes,
                expires_at: old.expires_at,
            };
            let (key, mut successor) = new.generate(now, random);
            // A successor shares the limits and usage of its predecessor.
            successor.account = old.account.clone();
            let replaced_by = Some(successor.id.clone());
            let record = KeyRecord { replaced_by, retires_at: Some(retires_at), ..old.clone() };
            let event = Event::KeyRotated { old: id, new: &successor };
            let entry = AuditEntry::new(now, self.actor, event);
            made = Some((key, successor.clone()));
            Ok(Some(KeyUpdate { record, successor: Some(successor), entry }))
        })?;
        // A store calls `decide` before it succeeds.
        made.ok_or_else(|| StoreError::NoSuchKey(id.clone()))
    }

    /// Revokes a key. A key that already is revoked keeps its time.
    ///
    /// # Errors
    ///
    /// If there is no such key, or the store cannot be written.
    pub fn revoke(&self, id: &KeyId) -> Result<KeyRecord, StoreError> {
        let mut revoked = None;
        self.store.update(id, &mut |current| {
            let now = self.clock.now();
            let mut record = current.record.clone();
            let is_change = record.revoked_at.is_none();
            record.revoked_at.get_or_insert(now);
            revoked = Some(record.clone());
            let entry = AuditEntry::new(now, self.actor, Event::KeyRevoked(&record));
            Ok(is_change.then_some(KeyUpdate { record, successor: None, entry }))
        })?;
        // A store calls `decide` before it succeeds.
        revoked.ok_or_else(|| StoreError::NoSuchKey(id.clone()))
    }
}
