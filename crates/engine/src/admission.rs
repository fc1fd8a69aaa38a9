//! Decides whether a request is accepted: pure arithmetic on what is queued.
//!
//! Requests are charged their load in tokens: padded length, or their share of the answer if that is more.

use std::time::Duration;

/// What one caller has queued.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Backlog {
    /// Load in tokens.
    pub(super) tokens: usize,
    /// Time of one worker for it.
    pub(super) work: Duration,
    /// The caller's share, as [`super::Caller::weight`].
    pub(super) weight: f64,
}

/// A request, and what is queued before it.
#[derive(Clone, Debug)]
pub(super) struct Request<'a> {
    /// Load of the request in tokens.
    pub(super) tokens: usize,
    /// Time of one worker for it.
    pub(super) work: Duration,
    /// The same at the quickest pace of late; zero as long as only the size of the request is known.
    pub(super) least_work: Duration,
    /// Time until its deadline; `None` if it has none.
    pub(super) time_left: Option<Duration>,
    /// What the same caller has queued.
    pub(super) own: Backlog,
    /// What each other caller has queued.
    pub(super) others: &'a [Backlog],
}

/// Why a request is rejected, and when it may be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejection {
    QueueFull {
        retry_after: Duration,
    },
    Deadline {
        retry_after: Duration,
    },
    /// The request alone takes longer than it has time, whatever is queued.
    TooLong {
        needed: Duration,
    },
}

/// The bounds of the queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admission {
    pub(super) workers: usize,
    pub(super) max_queued_tokens: usize,
}

impl Admission {
    /// Share of the free queue that one caller may fill. The rest stays free for the next caller, so that no caller can
    /// shut the others out, and the sum never exceeds the whole (the dynamic thresholds of Choudhury and Hahne, 1998).
    const SHARE: f64 = 0.75;

    /// Part of the time until the deadline that is planned with. The estimate is of a mean: requests that were accepted
    /// up to the last moment would be late half of the time, and scored in vain.
    const PLANNED: f64 = 0.6;

    /// Accepts or rejects a request. If nothing is queued, any request is accepted that its own work does not make late:
    /// none is too large for good, and a cost that was estimated too high is measured again.
    pub(super) fn decide(self, request: &Request<'_>) -> Result<(), Rejection> {
        // All workers may share the work, so this is the least time that it takes.
        let needed = self.over_workers(request.least_work.as_secs_f64());
        if request.time_left.is_some_and(|left| needed > left) {
            return Err(Rejection::TooLong { needed });
        }
        if request.own.tokens == 0 && request.others.is_empty() {
            return Ok(());
        }
        let held: usize =
            request.others.iter().map(|other| other.tokens.min(Self::share_of(self.max_queued_tokens))).sum();
        let allowed = Self::share_of(self.max_queued_tokens.saturating_sub(held));
        let wanted = request.own.tokens + request.tokens;
        if wanted > allowed {
            // Room appears as the caller's own work is done. A request larger than the share waits for an empty queue.
            let excess = (wanted - allowed) as f64 / request.own.tokens.max(1) as f64;
            let retry_after = if excess <= 1.0 {
                self.completion_time(request.own.work.mul_f64(excess), request)
            } else {
                self.drain_time(request)
            };
            return Err(Rejection::QueueFull { retry_after });
        }
        if let Some(left) = request.time_left {
            let needed = self.completion_time(request.own.work + request.work, request);
            let planned = left.mul_f64(Self::PLANNED);
            if needed > planned {
                // At the latest, when the queue is empty.
                let retry_after = needed.saturating_sub(planned).min(self.drain_time(request));
                return Err(Rejection::Deadline { retry_after });
            }
        }
        Ok(())
    }

    /// Returns the time until `own` work of the caller is done. Meanwhile each other caller gets the same for its
    /// weight, up to what it has queued.
    fn completion_time(self, own: Duration, request: &Request<'_>) -> Duration {
        let others = request.others.iter().map(|other| {
            let fair = own.as_secs_f64() * other.weight / request.own.weight;
            fair.min(other.work.as_secs_f64())
        });
        self.over_workers(own.as_secs_f64() + others.sum::<f64>())
    }

    /// Time until the queue is empty.
    fn drain_time(self, request: &Request<'_>) -> Duration {
        let others: f64 = request.others.iter().map(|other| other.work.as_secs_f64()).sum();
        self.over_workers(request.own.work.as_secs_f64() + others)
    }

    fn over_workers(self, seconds: f64) -> Duration {
        Duration::try_from_secs_f64(seconds / self.workers.max(1) as f64).unwrap_or(Duration::MAX)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of a positive whole number"
    )]
    fn share_of(tokens: usize) -> usize {
        (tokens as f64 * Self::SHARE) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADMISSION: Admission = Admission { workers: 2, max_queued_tokens: 1000 };

    /// A token takes a millisecond.
    fn backlog(tokens: usize, weight: f64) -> Backlog {
        Backlog { tokens, work: Duration::from_millis(tokens as u64), weight }
    }

    fn decide(tokens: usize, left_ms: Option<u64>, own: usize, others: &[Backlog]) -> Result<(), Rejection> {
        let work = Duration::from_millis(tokens as u64);
        // The quickest batch of late took a quarter of the usual time.
        let least_work = work / 4;
        let time_left = left_ms.map(Duration::from_millis);
        ADMISSION.decide(&Request { tokens, work, least_work, time_left, own: backlog(own, 1.0), others })
    }

    #[test]
    fn an_idle_engine_accepts_what_is_not_too_long_in_itself() {
        assert_eq!(decide(1_000_000, None, 0, &[]), Ok(()));
        // A quarter of 800 ms, by two workers.
        assert_eq!(decide(800, Some(100), 0, &[]), Ok(()));
        let needed = Duration::from_millis(101);
        assert_eq!(decide(808, Some(100), 0, &[]), Err(Rejection::TooLong { needed }));
        assert_eq!(decide(808, Some(100), 500, &[backlog(500, 1.0)]), Err(Rejection::TooLong { needed }));
    }

    #[test]
    fn one_caller_leaves_room_for_the_next() {
        assert_eq!(decide(100, None, 650, &[]), Ok(()));
        // 51 of its own tokens must go first; two workers take 25 ms for them.
        let Err(Rejection::QueueFull { retry_after }) = decide(101, None, 700, &[]) else {
            panic!("more than three quarters")
        };
        assert!((retry_after.as_secs_f64() - 0.0255).abs() < 1e-6, "{retry_after:?}");
        // A caller with a request that was larger than the queue leaves the others their room too.
        assert_eq!(decide(100, None, 0, &[backlog(5000, 1.0)]), Ok(()));
        assert!(decide(200, None, 0, &[backlog(5000, 1.0)]).is_err());
    }

    #[test]
    fn a_request_larger_than_the_share_waits_for_an_empty_queue() {
        let refused = decide(2000, None, 100, &[backlog(300, 1.0)]);
        assert_eq!(refused, Err(Rejection::QueueFull { retry_after: Duration::from_millis(200) }));
    }

    #[test]
    fn a_deadline_considers_only_work_that_is_served_first() {
        // Fifty of its own and fifty of the other's, by two workers: 50 ms of the 60 that are planned with.
        assert_eq!(decide(50, Some(100), 0, &[backlog(700, 1.0)]), Ok(()));
        // The other has four times the share.
        let refused = decide(50, Some(100), 0, &[backlog(700, 4.0)]);
        assert_eq!(refused, Err(Rejection::Deadline { retry_after: Duration::from_millis(65) }));
        // The time to retry is never longer than the queued work.
        let refused = decide(50, Some(10), 10, &[]);
        assert_eq!(refused, Err(Rejection::Deadline { retry_after: Duration::from_millis(5) }));
    }
}
