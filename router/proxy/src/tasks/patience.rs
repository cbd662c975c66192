//! How long a shared upstream connection waits for one client that is behind with a large response.
//! Others wait with the client, so it is little. It is more for a client that would be cut off otherwise.
//! New requests of others avoid the connection meanwhile, so that those who wait become fewer.

use std::future::Future as _;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The most that a connection waits in one go.
pub(crate) const MOST: Duration = Duration::from_millis(500);

/// The most that it waits in one go for a client that would be cut off otherwise.
pub(crate) const LAST: Duration = Duration::from_secs(10);

/// The least that is worth a timer.
const LEAST: Duration = Duration::from_millis(5);

/// One part in so many of the time passed may be waited again.
const SHARE: u32 = 10;

/// What is left of a connection's patience.
pub(crate) struct Patience {
    most: Duration,
    left: Duration,
    /// Since when it waits, or has not waited.
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

    /// Whether it waits on; if so the task is woken when it will not any more.
    pub(crate) fn lasts(&mut self, cx: &mut Context<'_>) -> bool {
        if self.timer.is_none() {
            let now = Instant::now();
            self.left = self.most.min(self.left + (now - self.since) / SHARE);
            self.since = now;
            // A timer takes a millisecond at least, which would be a wait for every piece.
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

    /// There is as much of it as at first.
    pub(crate) fn renew(&mut self) {
        self.left = self.most;
        self.since = Instant::now();
        self.timer = None;
    }

    /// It need not wait any more, or will not.
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
