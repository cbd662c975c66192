//! Tests that a codec meets the contract of `meltemi-frame`.
//!
//! - [`conformance!`] turns a protocol and a directory of samples into a suite of named tests;
//! - `peer` (the feature of that name) has scripted upstreams and downstreams on loopback;
//! - [`fuzz`] has entry points that panic only if a codec violates its contract.
//!
//! This crate uses protocols only through `meltemi-frame`. Its `README.md` explains each check.

#[cfg(feature = "conformance")]
pub mod checks;
mod drive;
mod failure;
mod foreign;
pub mod fuzz;
#[cfg(feature = "peer")]
pub mod peer;
mod sample;
mod seen;
#[cfg(feature = "conformance")]
mod subject;

pub use failure::{Failure, Verdict};
pub use foreign::{FOREIGN, Foreign};
pub use sample::{Sample, load};
#[cfg(feature = "conformance")]
pub use subject::{Options, Subject};

#[cfg(feature = "conformance")]
#[doc(hidden)]
pub mod private {
    pub use crate::subject::{Given, GivenProtocol};
    pub use meltemi_frame::Protocol;
}

/// Tests that a protocol meets the contract: expands to a module of named `#[test]`s.
///
/// ```
/// # mod my_codec {
/// #     pub fn echo() -> std::sync::Arc<dyn meltemi_frame::Protocol> { panic!("an example") }
/// # }
/// // tests/conformance.rs
/// meltemi_testkit::conformance!(my_codec::echo(), samples = "samples");
/// # fn main() {}
/// ```
///
/// The first argument is an expression of an `impl Protocol` or an `Arc<dyn Protocol>`; `samples` is a
/// directory relative to the crate's manifest. Two things may be added: a name for the module (for
/// several protocols in one file), and [`Options`]:
///
/// ```
/// # mod my_codec {
/// #     pub fn echo_v2() -> std::sync::Arc<dyn meltemi_frame::Protocol> { panic!("an example") }
/// # }
/// use meltemi_testkit::Options;
///
/// meltemi_testkit::conformance!(
///     mod echo_v2,
///     my_codec::echo_v2(),
///     samples = "samples/v2",
///     options = Options::default().undetectable(),
/// );
/// # fn main() {}
/// ```
#[cfg(feature = "conformance")]
#[macro_export]
macro_rules! conformance {
    (mod $module:ident, $protocol:expr, samples = $dir:expr $(,)?) => {
        $crate::conformance!(
            mod $module, $protocol, samples = $dir, options = $crate::Options::default()
        );
    };
    (mod $module:ident, $protocol:expr, samples = $dir:expr, options = $options:expr $(,)?) => {
        mod $module {
            #[allow(unused_imports)]
            use super::*;

            fn subject() -> Result<$crate::Subject, $crate::Failure> {
                #[allow(unused_imports)]
                use $crate::private::GivenProtocol as _;
                let protocol: ::std::sync::Arc<dyn $crate::private::Protocol> =
                    $crate::private::Given($protocol).into_protocol();
                let dir = ::std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join($dir);
                $crate::Subject::load(protocol, dir, $options)
            }

            $crate::conformance!(@tests
                spec_is_sound,
                samples_decode_as_expected,
                any_chunking_is_the_same,
                deeper_interest_sees_the_same,
                unedited_messages_leave_as_they_came,
                ids_are_rewritten_alone,
                claimed_edits_round_trip,
                unclaimed_edits_are_refused,
                claimed_replies_reach_the_client,
                unclaimed_replies_are_refused,
                one_way_is_never_answered,
                pings_are_answered,
                probes_are_calls,
                going_away_is_understood,
                own_samples_are_detected,
                foreign_bytes_are_not_claimed,
                malformed_messages_are_survived,
                truncations_wait,
                flipped_bits_are_survived,
                absurd_lengths_are_survived,
                nesting_bombs_are_survived,
                mutations_are_survived,
                steady_state_allocates_nothing,
                dribbled_bytes_cost_linear_time,
            );
        }
    };
    (@tests $($check:ident),+ $(,)?) => {
        $(
            #[test]
            fn $check() -> $crate::Verdict {
                $crate::checks::$check(&subject()?)
            }
        )+
    };
    ($protocol:expr, samples = $dir:expr $(, options = $options:expr)? $(,)?) => {
        $crate::conformance!(
            mod conformance, $protocol, samples = $dir $(, options = $options)?
        );
    };
}
