//! Time for workers, kept on the background thread. An event loop that waits with a timer makes the
//! system set one for every wait, which costs a tenth of a lone request where the machine is virtual.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;

/// How precise deadlines of requests are.
const FINE: Duration = Duration::from_millis(10);

/// How precise everything else is.
pub(crate) const COARSE: Duration = Duration::from_millis(250);

/// Tells one worker when to look at what time has brought.
#[derive(Default)]
pub(crate) struct Ticker {
    /// Something has a deadline: it is time to look after [`FINE`], not [`COARSE`].
    pending: AtomicBool,
    /// That is news.
    news: Notify,
    due: Notify,
}

impl Ticker {
    /// Beats as long as the runtime lives, or until nobody listens.
    pub(crate) fn start(runtime: &Handle) -> Arc<Self> {
        let beat = Arc::new(Self::default());
        let listened = Arc::downgrade(&beat);
        runtime.spawn(async move {
            while let Some(beat) = listened.upgrade() {
                beat.wait().await;
                beat.due.notify_one();
            }
        });
        beat
    }

    async fn wait(&self) {
        if !self.is_pending() {
            tokio::select! {
                () = tokio::time::sleep(COARSE) => return,
                () = self.news.notified() => {}
            }
        }
        tokio::time::sleep(FINE).await;
    }

    /// Returns when it is time to look.
    pub(crate) async fn due(&self) {
        self.due.notified().await;
    }

    /// Something has a deadline.
    pub(crate) fn set_pending(&self) {
        if !self.is_pending() {
            self.pending.store(true, Ordering::Relaxed);
            self.news.notify_one();
        }
    }

    /// Nothing has a deadline, until it is said again.
    pub(crate) fn set_idle(&self) {
        self.pending.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.pending.load(Ordering::Relaxed)
    }
}
