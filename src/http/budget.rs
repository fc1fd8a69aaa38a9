//! A bound on the bytes that the bodies, or the answers, of all requests hold at one time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::error::{ApiError, ErrorCode};

/// A budget of bytes, and the bytes in use.
#[derive(Clone, Debug)]
pub(super) struct ByteBudget {
    most: usize,
    held: Arc<AtomicUsize>,
}

/// Reserved bytes, which are released when this is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: ByteBudget,
    bytes: usize,
}

impl ByteBudget {
    /// A budget of `most` bytes.
    pub(super) fn new(most: usize) -> Self {
        Self { most, held: Arc::default() }
    }

    /// Rejects bytes that would not fit now. An announced length is not reserved: a client that announces much and
    /// sends nothing would lock the others out.
    pub(super) fn check(&self, bytes: usize) -> Result<(), ApiError> {
        let held = self.held.load(Ordering::Relaxed);
        if held > 0 && held.saturating_add(bytes) > self.most { Err(exhausted()) } else { Ok(()) }
    }

    /// Returns an empty reservation, to be grown. If nothing else is reserved, it may grow beyond the budget.
    pub(super) fn reserve_nothing(&self) -> Reservation {
        Reservation { budget: self.clone(), bytes: 0 }
    }

    /// Reserves the bytes of an answer, which must fit into the budget.
    pub(super) fn reserve(&self, bytes: usize) -> Result<Reservation, ApiError> {
        if bytes > self.most {
            let most = self.most;
            let message = format!(
                "the answer would be about {bytes} bytes, but the server sends {most} at one time; send the request in parts"
            );
            return Err(ApiError::new(ErrorCode::PayloadTooLarge, message).detail("max_answer_bytes", most));
        }
        let mut reservation = self.reserve_nothing();
        reservation.grow_to(bytes)?;
        Ok(reservation)
    }
}

impl Reservation {
    /// Grows to `bytes` in total, if it is not larger already.
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

    /// Sets the size to `bytes`, whatever the budget, once the real size is known.
    pub(super) fn resize(&mut self, bytes: usize) {
        self.budget.held.fetch_add(bytes, Ordering::Relaxed);
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
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
    fn reservations_are_bounded_and_released() {
        let budget = ByteBudget::new(100);
        let (mut one, mut other) = (budget.reserve_nothing(), budget.reserve_nothing());
        assert!(one.grow_to(60).is_ok() && one.grow_to(60).is_ok() && one.grow_to(10).is_ok());
        assert!(budget.check(41).is_err() && budget.check(40).is_ok());
        assert!(other.grow_to(41).is_err());
        assert!(other.grow_to(40).is_ok());
        assert!(one.grow_to(61).is_err());
        drop(other);
        // A single reservation may exceed the budget.
        assert!(one.grow_to(500).is_ok());
        assert!(budget.reserve_nothing().grow_to(1).is_err());
        drop(one);
        let mut answer = budget.reserve(60).expect("there is room");
        assert!(budget.reserve(41).is_err() && budget.reserve(101).is_err());
        answer.resize(10);
        assert!(budget.reserve(90).is_ok() && budget.reserve(91).is_err());
        drop(answer);
        assert!(budget.check(1000).is_ok());
        assert!(budget.reserve_nothing().grow_to(100).is_ok());
        assert_eq!(budget.held.load(Ordering::Relaxed), 0);
    }
}
