//! A timer for workers that runs on the background thread. An event loop with its own timer sets a
//! system timer for every wait. On a virtual machine that costs about 10% of the time of a lone
//! request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;

/// The precision of request deadlines.
const FINE: Duration = Duration::from_millis(10);

/// The precision of all other timers.
pub(crate) const COARSE: Duration = Duration::from_millis(250);

/// Wakes one worker when it must check its timers.
#[derive(Default)]
pub(crate) struct Ticker {
    /// A request has a deadline: the next tick comes after [`FINE`] instead of [`COARSE`].
    pending: AtomicBool,
    /// Notified when `pending` becomes `true`.
    changed: Notify,
    due: Notify,
}

impl Ticker {
    /// Starts ticks that continue until the runtime ends or the ticker is dropped.
    pub(crate) fn start(runtime: &Handle) -> Arc<Self> {
        let ticker = Arc::new(Self::default());
        let weak = Arc::downgrade(&ticker);
        runtime.spawn(async move {
            while let Some(ticker) = weak.upgrade() {
                ticker.wait().await;
                ticker.due.notify_one();
            }
        });
        ticker
    }

    async fn wait(&self) {
        if !self.is_pending() {
            tokio::select! {
                () = tokio::time::sleep(COARSE) => return,
                () = self.changed.notified() => {}
            }
        }
        tokio::time::sleep(FINE).await;
    }

    /// Waits for the next tick.
    pub(crate) async fn due(&self) {
        self.due.notified().await;
    }

    /// Records that a request has a deadline.
    pub(crate) fn set_pending(&self) {
        if !self.is_pending() {
            self.pending.store(true, Ordering::Relaxed);
            self.changed.notify_one();
        }
    }

    /// Records that no request has a deadline.
    pub(crate) fn set_idle(&self) {
        self.pending.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.pending.load(Ordering::Relaxed)
    }
}
