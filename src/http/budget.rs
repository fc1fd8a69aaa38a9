//! A bound on the bytes that the bodies, or the answers, of all requests hold at one time, and on each caller's part of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sentor_analysis::Caller;

use super::error::{ApiError, ErrorCode};

/// A budget of bytes, and the bytes in use.
#[derive(Clone, Debug)]
pub(super) struct ByteBudget {
    most: usize,
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    /// Callers that hold nothing are not in it.
    by_caller: HashMap<Arc<str>, usize>,
}

/// Reserved bytes, which are released when this is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: ByteBudget,
    caller: Arc<str>,
    bytes: usize,
}

impl ByteBudget {
    /// A budget of `most` bytes.
    pub(super) fn new(most: usize) -> Self {
        Self { most, held: Arc::default() }
    }

    /// Rejects what `caller` could not hold now. A length that is only announced is not reserved: a client that announces
    /// much and sends nothing would keep the others out.
    pub(super) fn check(&self, bytes: usize, caller: &Caller) -> Result<(), ApiError> {
        let held = self.held();
        if held.all == 0 || held.has_room(bytes, caller.name(), self.most) {
            Ok(())
        } else {
            Err(exhausted())
        }
    }

    /// A reservation of nothing, to be grown. Where nothing else is held, it may grow beyond the budget.
    pub(super) fn reserve_nothing(&self, caller: &Caller) -> Reservation {
        Reservation { budget: self.clone(), caller: Arc::clone(caller.name()), bytes: 0 }
    }

    /// Holds the bytes of an answer, which must fit into the budget.
    pub(super) fn reserve(&self, bytes: usize, caller: &Caller) -> Result<Reservation, ApiError> {
        if bytes > self.most {
            return Err(ApiError::answer_too_large(bytes, self.most));
        }
        let mut reservation = self.reserve_nothing(caller);
        reservation.grow_to(bytes)?;
        Ok(reservation)
    }

    /// Numbers that change in single steps, so a panic elsewhere leaves nothing half done.
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Whether `caller` may hold so many bytes more. As with the queue of the engine, one caller may hold three quarters of
    /// what the others leave, so that none shuts the others out.
    fn has_room(&self, more: usize, caller: &str, most: usize) -> bool {
        let own = self.by_caller.get(caller).copied().unwrap_or(0);
        let free_of_others = most.saturating_sub(self.all - own);
        own.saturating_add(more) <= free_of_others / 4 * 3
    }

    /// Changes what `caller` holds from `before` to `after` bytes.
    fn change(&mut self, caller: &Arc<str>, before: usize, after: usize) {
        self.all = self.all - before + after;
        let own = self.by_caller.entry(Arc::clone(caller)).or_insert(0);
        *own = *own - before + after;
        if *own == 0 {
            self.by_caller.remove(caller);
        }
    }
}

impl Reservation {
    /// Grows to `bytes` in total, if it is not larger already.
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<(), ApiError> {
        let Some(more @ 1..) = bytes.checked_sub(self.bytes) else { return Ok(()) };
        let mut held = self.budget.held();
        let is_alone = held.all == self.bytes;
        if !is_alone && !held.has_room(more, &self.caller, self.budget.most) {
            return Err(exhausted());
        }
        held.change(&self.caller, self.bytes, bytes);
        drop(held);
        self.bytes = bytes;
        Ok(())
    }

    /// Sets the size to `bytes`, whatever the budget, once the real size is known.
    pub(super) fn resize(&mut self, bytes: usize) {
        self.budget.held().change(&self.caller, self.bytes, bytes);
        self.bytes = bytes;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.held().change(&self.caller, self.bytes, 0);
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
        let (budget, caller) = (ByteBudget::new(100), Caller::from("one"));
        let (mut one, mut other) = (budget.reserve_nothing(&caller), budget.reserve_nothing(&caller));
        assert!(one.grow_to(60).is_ok() && one.grow_to(60).is_ok() && one.grow_to(10).is_ok());
        assert!(budget.check(16, &caller).is_err() && budget.check(15, &caller).is_ok());
        assert!(other.grow_to(16).is_err());
        assert!(other.grow_to(15).is_ok());
        assert!(one.grow_to(61).is_err());
        drop(other);
        // A single reservation may exceed the budget.
        assert!(one.grow_to(500).is_ok());
        assert!(budget.reserve_nothing(&caller).grow_to(1).is_err());
        drop(one);
        let mut answer = budget.reserve(60, &caller).expect("there is room");
        assert!(budget.reserve(16, &caller).is_err() && budget.reserve(101, &caller).is_err());
        answer.resize(10);
        assert!(budget.reserve(65, &caller).is_ok() && budget.reserve(66, &caller).is_err());
        drop(answer);
        assert!(budget.check(1000, &caller).is_ok());
        assert!(budget.reserve_nothing(&caller).grow_to(100).is_ok());
        let held = budget.held();
        assert_eq!((held.all, held.by_caller.len()), (0, 0));
    }

    #[test]
    fn one_caller_leaves_room_for_the_next() {
        let budget = ByteBudget::new(100);
        let callers = ["one", "two", "three"].map(Caller::from);
        let held = callers.each_ref().map(|caller| {
            let mut own = Vec::new();
            while let Ok(reservation) = budget.reserve(1, caller) {
                own.push(reservation);
            }
            own
        });
        assert_eq!(held.each_ref().map(Vec::len), [75, 18, 3]);
        drop(held);
        assert_eq!(budget.held().all, 0);
    }
}
