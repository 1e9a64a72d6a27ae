//! Codec work: off the async threads, a few jobs at a time, each with a deadline.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Refusal;

/// Requests that may be reading, waiting or working at once: each holds its images.
const MOST_ADMITTED: usize = 32;
/// Jobs at a time, at most: each may hold all the pixels that one request may have.
const MOST_JOBS: usize = 4;

/// Where the work is done.
pub(crate) struct Workshop {
    admitted: Arc<Semaphore>,
    jobs: Arc<Semaphore>,
    job: Duration,
}

/// What a job looks at between its steps.
#[derive(Debug)]
pub(crate) struct Watch {
    until: Instant,
    abandoned: Arc<AtomicBool>,
}

/// A request that was let in.
pub(crate) struct Admitted {
    /// Given back when the request is over, or its job.
    _place: OwnedSemaphorePermit,
}

/// Tells the job when whoever waits for it goes away.
struct Waiter(Arc<AtomicBool>);

impl Drop for Waiter {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Watch {
    /// Fails when the job is to end.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        if self.abandoned.load(Ordering::Relaxed) {
            Err(Refusal::aborted())
        } else if Instant::now() > self.until {
            Err(Refusal::too_slow())
        } else {
            Ok(())
        }
    }

    #[cfg(test)]
    pub(crate) fn new(time: Duration) -> Self {
        Self {
            until: Instant::now() + time,
            abandoned: Arc::default(),
        }
    }
}

impl Workshop {
    /// A workshop whose jobs take no longer than `job`, waiting for their turn included.
    pub(crate) fn new(job: Duration) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            admitted: Arc::new(Semaphore::new(MOST_ADMITTED)),
            jobs: Arc::new(Semaphore::new(cores.min(MOST_JOBS))),
            job,
        }
    }

    /// Lets a request in, before anything of it is read.
    pub(crate) fn admit(&self) -> Result<Admitted, Refusal> {
        Arc::clone(&self.admitted)
            .try_acquire_owned()
            .map(|_place| Admitted { _place })
            .map_err(|_| Refusal::busy())
    }

    /// Does a job, on a thread of its own. A job that is given up ends at its next look at the watch, and keeps its
    /// place until then.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        admitted: Admitted,
        job: impl FnOnce(&Watch) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let until = Instant::now() + self.job;
        let abandoned = Arc::new(AtomicBool::new(false));
        let _waiter = Waiter(Arc::clone(&abandoned));
        let work = async {
            let place = Arc::clone(&self.jobs)
                .acquire_owned()
                .await
                .map_err(|closed| Refusal::internal("the workshop is closed", closed))?;
            let watch = Watch { until, abandoned };
            tokio::task::spawn_blocking(move || {
                let _held = (admitted, place);
                watch.check()?;
                // Decoders are fed by strangers: a defect of one fails its own job.
                catch_unwind(AssertUnwindSafe(|| job(&watch))).unwrap_or_else(|panic| {
                    let said = panic
                        .downcast_ref::<String>()
                        .map(String::as_str)
                        .or_else(|| panic.downcast_ref::<&str>().copied());
                    Err(Refusal::internal(
                        "an image made its codec fail",
                        said.unwrap_or("no message"),
                    ))
                })
            })
            .await
            .map_err(|error| Refusal::internal("a job did not end", error))?
        };
        tokio::time::timeout(self.job, work)
            .await
            .unwrap_or_else(|_| Err(Refusal::too_slow()))
    }
}
