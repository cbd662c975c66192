//! Memory relief: cuts off the connections that hold most memory, the largest first. This happens
//! if memory stays short although the largest holders were stopped. Must not depend on the content
//! of the bytes.

use std::rc::{Rc, Weak};
use std::time::Duration;

use crate::context::memory::Shortage;
use crate::downstream::Downstream;
use crate::upstream::Upstream;
use crate::worker::Worker;

/// How long memory may be tight before a connection is cut off.
const PATIENCE: Duration = Duration::from_secs(2);

/// A connection that holds memory.
enum Holder {
    Client(Rc<Downstream>),
    Upstream(Rc<Upstream>),
}

impl Holder {
    fn cut_off(&self) {
        match self {
            Self::Client(down) => down.cut_off_for_memory(),
            Self::Upstream(upstream) => upstream.cut_off_for_memory(),
        }
    }
}

/// Checks for a memory shortage and cuts off the largest holder if necessary. Returns `true` if the
/// check must be repeated soon.
pub(crate) fn relieve(worker: &Worker) -> bool {
    let context = &worker.context;
    let (memory, relief, now_us) = (&context.services.memory, &context.relief, context.now_us());
    let shortage = memory.shortage();
    if shortage == Shortage::None {
        relief.end(memory);
        return false;
    }
    relief.mention(memory, now_us);
    let must = relief.lasts(now_us) >= PATIENCE || shortage == Shortage::Over;
    let mut holders = holders(worker);
    let mut cut = false;
    loop {
        let largest = holders.last().map_or(0, |(bytes, _)| *bytes);
        let most = relief.has_largest(memory, largest);
        if !most || !must || memory.excess() == 0 {
            break;
        }
        let Some((_, holder)) = holders.pop() else {
            break;
        };
        holder.cut_off();
        cut = true;
    }
    if cut {
        relief.restart(now_us);
    }
    true
}

/// Returns the holders of memory in this worker, the largest last.
fn holders(worker: &Worker) -> Vec<(usize, Holder)> {
    let downstreams = worker.downstreams.borrow();
    let downstreams = downstreams.iter().filter_map(Weak::upgrade);
    let clients = downstreams
        .filter(|down| !down.is_closed())
        .map(|down| (down.held_bytes(), Holder::Client(down)));
    let upstreams = worker.connector.all().into_iter();
    let upstreams = upstreams
        .filter(|upstream| !upstream.is_closed())
        .map(|upstream| (upstream.held_bytes(), Holder::Upstream(upstream)));
    // Small ones count too: ten thousand connections with a few KiB each are as much as one large.
    let mut all: Vec<_> = clients
        .chain(upstreams)
        .filter(|(bytes, _)| *bytes > 0)
        .collect();
    all.sort_by_key(|(bytes, _)| *bytes);
    all
}
