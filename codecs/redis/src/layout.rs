//! The notes in [`Message::layout`](meltemi_frame::Message) that the server side writes for the
//! client side: positions, and the effect of a command on its connection. It must not depend on
//! bytes.

use meltemi_frame::{Layout, Span};

use crate::args::Args;
use crate::command::Act;
use crate::subscriptions::Family;
use crate::words::Local;

/// The effect of the command that the client side must handle.
pub(crate) const NOTE: usize = 0;
/// The codec's own reply.
pub(crate) const LOCAL: usize = 1;
/// The number of channels in a command of the subscribe family.
pub(crate) const CHANNELS: usize = 2;
/// The number of keys: [`KEY_NONE`], [`KEY_ONE`] or [`KEY_MANY`].
pub(crate) const KEYS: usize = 3;
/// The start and the end of the key. Both are 0 if the key is not literally on the wire.
pub(crate) const KEY_START: usize = 4;
pub(crate) const KEY_END: usize = 5;
/// The argument position of the key.
pub(crate) const KEY_AT: usize = 6;

/// 1 if the held `MULTI` is sent before it.
pub(crate) const OPENS: usize = 7;

pub(crate) const KEY_NONE: u32 = 0;
pub(crate) const KEY_ONE: u32 = 1;
pub(crate) const KEY_MANY: u32 = 2;

pub(crate) const MONITOR: u32 = 1;
/// A `HELLO` whose credentials are not for the upstream.
pub(crate) const HELLO_STRIPPED: u32 = 2;
/// A `HELLO` whose options must be put in order.
pub(crate) const HELLO_ORDERED: u32 = 3;
/// A `WAIT` on a connection that the client just got: a `WAIT` that does not block is sent before
/// it.
pub(crate) const WAIT: u32 = 4;
/// An `EXEC` of a transaction with a refused command: it is discarded instead.
pub(crate) const ABORT: u32 = 5;
/// A `SCAN` or a similar command. [`CHANNELS`] is the argument position of the cursor.
pub(crate) const SCAN: u32 = 6;
/// A call of a script by its digest, or a command that changes the set of scripts.
pub(crate) const LOADS: u32 = 7;
/// Notes of the subscribe family start here.
const SUBSCRIBE: u32 = 8;

pub(crate) fn note_command(layout: &mut Layout, act: Act, args: &Args<'_>) {
    let (family, subscribe) = match act {
        Act::Monitor => {
            layout[NOTE] = MONITOR;
            return;
        }
        Act::Subscribe(family) => (family, true),
        Act::Unsubscribe(family) => (family, false),
        _ => return,
    };
    let family = match family {
        Family::Channel => 0,
        Family::Pattern => 1,
        Family::Shard => 2,
    };
    layout[NOTE] = SUBSCRIBE + family * 2 + u32::from(subscribe);
    layout[CHANNELS] = u32::try_from(args.count().saturating_sub(1)).unwrap_or(u32::MAX);
}

/// Returns the family, and `true` if the command subscribes.
pub(crate) const fn subscription(layout: &Layout) -> Option<(Family, bool)> {
    let Some(note) = layout[NOTE].checked_sub(SUBSCRIBE) else {
        return None;
    };
    let family = match note / 2 {
        0 => Family::Channel,
        1 => Family::Pattern,
        2 => Family::Shard,
        _ => return None,
    };
    Some((family, note % 2 == 1))
}

pub(crate) const fn note_local(layout: &mut Layout, local: Option<Local>) {
    if let Some(local) = local {
        layout[LOCAL] = local as u32;
    }
}

pub(crate) fn note_key(layout: &mut Layout, position: usize, span: Option<Span>, single: bool) {
    layout[KEYS] = if single { KEY_ONE } else { KEY_MANY };
    layout[KEY_AT] = u32::try_from(position).unwrap_or(u32::MAX);
    if let Some(span) = span {
        layout[KEY_START] = span.start;
        layout[KEY_END] = span.end;
    }
}
