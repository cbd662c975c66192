use std::cell::Cell;

use super::*;

thread_local! {
    /// How many routes were tested on this thread.
    pub(super) static TESTED: Cell<usize> = const { Cell::new(0) };
}
