//! How long a shared upstream connection waits for one client that reads a large response slowly.
//! Other clients wait meanwhile, so the time is short. It is longer for a client that would be cut
//! off otherwise. New requests of other clients avoid the connection during that time.

use std::future::Future as _;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The longest single wait of a connection.
pub(crate) const MOST: Duration = Duration::from_millis(500);

/// The longest single wait for a client that would be cut off otherwise.
pub(crate) const LAST: Duration = Duration::from_secs(10);

/// Shorter waits are not worth a timer.
const LEAST: Duration = Duration::from_millis(5);

/// After a wait, patience recovers at 1/`SHARE` of the time that passes.
const SHARE: u32 = 10;

/// The waiting time that a connection has left.
pub(crate) struct Patience {
    most: Duration,
    left: Duration,
    /// The start of the current wait, or of the time without one.
    since: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    pub(crate) fn new(most: Duration) -> Self {
        Self {
            most,
            left: most,
            since: Instant::now(),
            timer: None,
        }
    }

    /// Returns `true` if the connection continues to wait. The task is then woken when the wait is
    /// over.
    pub(crate) fn lasts(&mut self, cx: &mut Context<'_>) -> bool {
        if self.timer.is_none() {
            let now = Instant::now();
            self.left = self.most.min(self.left + (now - self.since) / SHARE);
            self.since = now;
            // A timer takes at least one millisecond, which would delay every piece.
            if self.left < LEAST {
                return false;
            }
        }
        let until = self.since + self.left;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(until)));
        timer.as_mut().poll(cx).is_pending()
    }

    /// Resets the waiting time to its maximum.
    pub(crate) fn renew(&mut self) {
        self.left = self.most;
        self.since = Instant::now();
        self.timer = None;
    }

    /// Ends the current wait.
    pub(crate) fn rest(&mut self) {
        if self.timer.take().is_some() {
            let now = Instant::now();
            self.left = self.left.saturating_sub(now - self.since);
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::task::Poll;

    #[test]
    fn patience_ends_and_comes_back_slowly() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut patience = Patience::new(MOST);
            let wait = async |patience: &mut Patience| {
                let began = Instant::now();
                poll_fn(|cx| match patience.lasts(cx) {
                    true => Poll::Pending,
                    false => Poll::Ready(()),
                })
                .await;
                patience.rest();
                began.elapsed()
            };
            let first = wait(&mut patience).await;
            assert!(first >= MOST.mul_f32(0.9), "{first:?}");
            let second = wait(&mut patience).await;
            assert!(second < MOST / 5, "{second:?}");
            patience.renew();
            let third = wait(&mut patience).await;
            assert!(third >= MOST.mul_f32(0.9), "{third:?}");
        });
    }
}
