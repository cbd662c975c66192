//! For tests: records which fields of which kinds are read.

use std::cell::RefCell;
use std::collections::BTreeSet;

thread_local! {
    static READS: RefCell<Option<BTreeSet<Read>>> = const { RefCell::new(None) };
}

/// Group, kind and path of a field that was read.
pub(crate) type Read = (String, String, String);

/// Runs `what`, and returns the fields that it read.
pub(crate) fn reads(what: impl FnOnce()) -> BTreeSet<Read> {
    READS.set(Some(BTreeSet::new()));
    what();
    READS.take().unwrap_or_default()
}

/// Records a read field if a test is recording.
pub(super) fn note(read: Read) {
    READS.with_borrow_mut(|reads| {
        if let Some(reads) = reads {
            reads.insert(read);
        }
    });
}
