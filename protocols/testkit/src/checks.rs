//! The conformance checks, one file each. A check takes a [`Subject`](crate::Subject) and returns the
//! first violation.

mod allocation;
mod chunking;
mod corruption;
mod detection;
mod edits;
mod expected;
mod heartbeat;
mod ids;
mod interest;
mod linear;
mod mutation;
mod probe;
mod recovery;
mod reencode;
mod replies;
mod soundness;

pub use allocation::steady_state_allocates_nothing;
pub use chunking::any_chunking_is_the_same;
pub use corruption::{
    absurd_lengths_are_survived, flipped_bits_are_survived, nesting_bombs_are_survived,
    truncations_wait,
};
pub use detection::{foreign_bytes_are_not_claimed, own_samples_are_detected};
pub use edits::{claimed_edits_round_trip, unclaimed_edits_are_refused};
pub use expected::samples_decode_as_expected;
pub use heartbeat::{going_away_is_understood, pings_are_answered};
pub use ids::ids_are_rewritten_alone;
pub use interest::deeper_interest_sees_the_same;
pub use linear::dribbled_bytes_cost_linear_time;
pub use mutation::mutations_are_survived;
pub use probe::probes_are_calls;
pub use recovery::malformed_messages_are_survived;
pub use reencode::unedited_messages_leave_as_they_came;
pub use replies::{
    claimed_replies_reach_the_client, one_way_is_never_answered, unclaimed_replies_are_refused,
};
pub use soundness::spec_is_sound;

use meltemi_frame::{Interest, Limits};

pub(crate) const INTERESTS: [Interest; 3] = [Interest::Route, Interest::Headers, Interest::Body];

/// Returns limits that present all samples whole.
pub(crate) fn whole() -> Limits {
    Limits::default().holding_all()
}

/// Returns the positions to test in `length` bytes: all of them, or about `most` of them with both
/// ends dense.
pub(crate) fn positions(length: usize, most: usize) -> Vec<usize> {
    if length <= most {
        return (0..length).collect();
    }
    let dense = most / 2;
    let step = (length - dense).div_ceil(most - dense).max(1);
    let mut all: Vec<usize> = (0..dense).chain((dense..length).step_by(step)).collect();
    all.push(length - 1);
    all.dedup();
    all
}
