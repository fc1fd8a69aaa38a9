//! Ends and deletes jobs whose time is over.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use sentor_store::jobs::{Ending, JobId, JobRecord};

use super::{Context, WorkError, blocking};

/// How long objects without a job are kept: their job may be about to be submitted.
const ORPHANED_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// Ends jobs at the end of their time, deletes those that are no longer kept, and at the start objects that no job has.
pub(super) async fn tidy(context: &Context, is_start: bool) -> Result<(), WorkError> {
    const AT_A_TIME: usize = 100;
    let (store, now) = (Arc::clone(&context.store), context.clock.now());
    for job in blocking(move || store.due_jobs(now, AT_A_TIME)).await? {
        if job.status.is_open() {
            let expire = move |job: &mut JobRecord| {
                job.end(Ending::Expired, now);
                Ok(())
            };
            context.update(&job.id, expire).await?;
        } else {
            context.objects.remove_job(&job.id).await?;
            let (store, id) = (Arc::clone(&context.store), job.id.clone());
            blocking(move || store.remove_job(&id)).await?;
        }
    }
    if is_start {
        for id in context.objects.jobs().await? {
            let (store, looked_up) = (Arc::clone(&context.store), id.clone());
            let is_known = blocking(move || store.job(&looked_up)).await?.is_some();
            if !is_known && submitted_at(&id).is_some_and(|at| now.duration_since(at) > ORPHANED_AFTER) {
                context.objects.remove_job(&id).await?;
            }
        }
    }
    Ok(())
}

/// When the identifier of a job was made.
fn submitted_at(id: &JobId) -> Option<Timestamp> {
    let uuid = uuid::Uuid::try_parse(id.as_str().strip_prefix("job_")?).ok()?;
    let (seconds, _) = uuid.get_timestamp()?.to_unix();
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}
