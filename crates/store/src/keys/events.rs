//! What became of keys while a ring followed them: plain numbers, for metrics.

use super::record::KeyRecord;

/// Keys that were made, replaced and taken back since the ring began to follow the store, by whichever process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyEvents {
    /// Keys that were made and take no other's place.
    pub created: u64,
    /// Keys that were made to take the place of another.
    pub rotated: u64,
    /// Keys that were taken back.
    pub revoked: u64,
}

impl KeyEvents {
    /// Notes what brought a record from `old` (`None`: there was none) to `new`.
    pub(super) fn note(&mut self, old: Option<&KeyRecord>, new: &KeyRecord) {
        if old.is_none() {
            // The first key of a line of rotations gives the line its account.
            let count = if new.account == new.id { &mut self.created } else { &mut self.rotated };
            *count += 1;
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
        events.note(None, &made);
        events.note(Some(&made), &made);
        events.note(None, &successor);
        events.note(Some(&made), &revoked);
        events.note(Some(&revoked), &revoked);
        assert_eq!(events, KeyEvents { created: 1, rotated: 1, revoked: 1 });
        // Made and taken back between two looks.
        events.note(None, &revoked);
        assert_eq!(events, KeyEvents { created: 2, rotated: 1, revoked: 2 });
    }
}
