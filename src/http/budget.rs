//! A bound on the bytes of all bodies that are held at one time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::error::{ApiError, ErrorCode};

/// Bytes that may be held, and those that are.
#[derive(Clone, Debug)]
pub(super) struct ByteBudget {
    most: usize,
    held: Arc<AtomicUsize>,
}

/// Bytes that are held; they are free again when it is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: ByteBudget,
    bytes: usize,
}

impl ByteBudget {
    /// A budget of `most` bytes. Where nothing is held, one reservation may be larger.
    pub(super) fn new(most: usize) -> Self {
        Self { most, held: Arc::default() }
    }

    /// Whether `bytes` could be held now. A length that is only announced is not reserved: whoever announces much and
    /// sends nothing would keep the others out.
    pub(super) fn check(&self, bytes: usize) -> Result<(), ApiError> {
        let held = self.held.load(Ordering::Relaxed);
        if held > 0 && held.saturating_add(bytes) > self.most { Err(exhausted()) } else { Ok(()) }
    }

    /// A reservation of nothing, to be grown.
    pub(super) fn reserve_nothing(&self) -> Reservation {
        Reservation { budget: self.clone(), bytes: 0 }
    }
}

impl Reservation {
    /// Holds `bytes` in all, if it is not more than that already.
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<(), ApiError> {
        let Some(more @ 1..) = bytes.checked_sub(self.bytes) else { return Ok(()) };
        let ByteBudget { most, held } = &self.budget;
        let grown = held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
            let after = now.saturating_add(more);
            (after <= *most || now == self.bytes).then_some(after)
        });
        grown.map_err(|_| exhausted())?;
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

fn exhausted() -> ApiError {
    let message = "the server holds as many requests as it may; try again";
    ApiError::new(ErrorCode::Overloaded, message).retry_after(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_and_comes_back() {
        let budget = ByteBudget::new(100);
        let (mut one, mut other) = (budget.reserve_nothing(), budget.reserve_nothing());
        assert!(one.grow_to(60).is_ok() && one.grow_to(60).is_ok() && one.grow_to(10).is_ok());
        assert!(budget.check(41).is_err() && budget.check(40).is_ok());
        assert!(other.grow_to(41).is_err());
        assert!(other.grow_to(40).is_ok());
        assert!(one.grow_to(61).is_err());
        drop(other);
        // Alone, one may be larger than all.
        assert!(one.grow_to(500).is_ok());
        assert!(budget.reserve_nothing().grow_to(1).is_err());
        drop(one);
        assert!(budget.check(1000).is_ok());
        assert!(budget.reserve_nothing().grow_to(100).is_ok());
        assert_eq!(budget.held.load(Ordering::Relaxed), 0);
    }
}
