//! Counts of changes of keys, for metrics.

use super::record::KeyRecord;

/// Counts of changes of keys, by any process, since the ring began to follow the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyEvents {
    /// Keys that were made without a predecessor.
    pub created: u64,
    /// Keys that a rotation made.
    pub rotated: u64,
    /// Keys that were revoked.
    pub revoked: u64,
}

impl KeyEvents {
    /// Counts the change from `old` (`None`: a new key) to `new`.
    pub(super) fn count(&mut self, old: Option<&KeyRecord>, new: &KeyRecord) {
        if old.is_none() {
            // The first key of a line of rotations is its account.
            let counter = if new.account == new.id { &mut self.created } else { &mut self.rotated };
            *counter += 1;
        }
        let was_revoked = old.is_some_and(|old| old.revoked_at.is_some());
        self.revoked += u64::from(new.revoked_at.is_some() && !was_revoked);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::keys::{KeyId, NewKey};

    #[test]
    fn each_step_of_a_key_counts_once() {
        let (_, made) = NewKey::named("test").generate(Timestamp::UNIX_EPOCH, &mut rand::rng());
        let revoked = KeyRecord { revoked_at: Some(Timestamp::UNIX_EPOCH), ..made.clone() };
        let successor = KeyRecord { id: KeyId::new("knext"), ..made.clone() };
        let mut events = KeyEvents::default();
        events.count(None, &made);
        events.count(Some(&made), &made);
        events.count(None, &successor);
        events.count(Some(&made), &revoked);
        events.count(Some(&revoked), &revoked);
        assert_eq!(events, KeyEvents { created: 1, rotated: 1, revoked: 1 });
        // Made and revoked between two polls.
        events.count(None, &revoked);
        assert_eq!(events, KeyEvents { created: 2, rotated: 1, revoked: 2 });
    }
}
