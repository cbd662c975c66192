//! The upstream connections of one worker: starts their tasks and lists them. The module does not
//! depend on what a task does.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::time::Duration;

use crate::context::WorkerContext;
use crate::upstream::Upstream;

/// Runs one connection from connect to close. The duration is the connect timeout.
type Run = fn(Rc<WorkerContext>, Rc<Upstream>, Duration) -> Pin<Box<dyn Future<Output = ()>>>;

/// Starts upstream connections and keeps a list of them.
pub(crate) struct Connector {
    run: Run,
    all: RefCell<Vec<Weak<Upstream>>>,
}

impl Connector {
    pub(crate) fn new(run: Run) -> Self {
        Self {
            run,
            all: RefCell::default(),
        }
    }

    pub(super) fn start(
        &self,
        worker: &Rc<WorkerContext>,
        upstream: &Rc<Upstream>,
        connect_timeout: Duration,
    ) {
        self.all.borrow_mut().push(Rc::downgrade(upstream));
        let task = (self.run)(Rc::clone(worker), Rc::clone(upstream), connect_timeout);
        tokio::task::spawn_local(task);
    }

    /// Returns all connections that have not ended.
    pub(crate) fn all(&self) -> Vec<Rc<Upstream>> {
        self.all.borrow().iter().filter_map(Weak::upgrade).collect()
    }

    /// Removes connections that have ended from the list.
    pub(crate) fn prune(&self) {
        self.all
            .borrow_mut()
            .retain(|upstream| upstream.strong_count() > 0);
    }
}
