//! Counts accepted connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An accepted connection. Counted until it is dropped.
pub(crate) struct Admission {
    load: Arc<AtomicUsize>,
    listener: Arc<AtomicUsize>,
}

impl Admission {
    pub(crate) fn new(load: &Arc<AtomicUsize>, listener: &Arc<AtomicUsize>) -> Self {
        load.fetch_add(1, Ordering::Relaxed);
        listener.fetch_add(1, Ordering::Relaxed);
        Self {
            load: Arc::clone(load),
            listener: Arc::clone(listener),
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
        self.listener.fetch_sub(1, Ordering::Relaxed);
    }
}
