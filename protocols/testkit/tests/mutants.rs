//! The kit can fail: every way to get it wrong is caught by the check that is there for it.

#![allow(clippy::unwrap_used, reason = "a test")]

mod toy;

use std::sync::Arc;

use meltemi_testkit::{Options, Subject, Verdict, checks};
use toy::{Bug, Chat};

fn subject(bug: Bug) -> Subject {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samples");
    Subject::load(Arc::new(Chat::with(bug)), dir, Options::default()).unwrap()
}

macro_rules! caught {
    ($($name:ident: $bug:ident by $check:ident, who says $text:literal;)+) => {
        $(
            #[test]
            fn $name() {
                let verdict: Verdict = checks::$check(&subject(Bug::$bug));
                let text = verdict.expect_err("the check must fail").to_string();
                assert!(text.contains($text), "it fails, but says: {text}");
            }
        )+
    };
}

caught! {
    an_operation_without_key: OperationIsNoKey by spec_is_sound,
        who says "`verb`";
    consuming_on_incomplete: ConsumesOnIncomplete by any_chunking_is_the_same,
        who says "when all bytes arrived at once";
    asking_for_what_is_there: AsksForWhatIsThere by any_chunking_is_the_same,
        who says "are already present";
    skipping_nothing: SkipsNothing by truncations_wait,
        who says "no progress";
    dropping_a_byte: DropsAByte by unedited_messages_leave_as_they_came,
        who says "came out changed";
    clearing_the_output: ClearsTheOutput by unedited_messages_leave_as_they_came,
        who says "changed earlier bytes in the output";
    panicking_on_truncation: PanicsOnTruncation by truncations_wait,
        who says "index out of bounds";
    panicking_on_a_flipped_bit: PanicsOnHighBit by flipped_bits_are_survived,
        who says "panicked: assertion failed";
    panicking_on_absurd_bytes: PanicsOnHighBit by absurd_lengths_are_survived,
        who says "panicked: assertion failed";
    reserving_by_the_wire: ReservesByTheId by absurd_lengths_are_survived,
        who says "bytes of memory";
    looping_by_the_wire: LoopsForLong by absurd_lengths_are_survived,
        who says "of CPU time";
    allocating_per_message: AllocatesPerMessage by steady_state_allocates_nothing,
        who says "decode allocates in 64 of 64 rounds";
    starting_over_with_every_byte: ScansFromTheStart by dribbled_bytes_cost_linear_time,
        who says "starts over";
    dropping_claimed_edits: DropsClaimedEdits by claimed_edits_round_trip,
        who says "decoded again it is []";
    dropping_unclaimed_edits: DropsUnclaimedEdits by unclaimed_edits_are_refused,
        who says "must be refused with EncodeError::Edit";
    writing_before_refusing: WritesAndRefuses by unclaimed_edits_are_refused,
        who says "the output changed";
    editing_more_than_asked: EditsMore by claimed_edits_round_trip,
        who says "attribute `tag.trace`";
    answering_a_one_way: AnswersOneWay by one_way_is_never_answered,
        who says "nothing may be written";
    replying_without_id: RepliesWithoutId by claimed_replies_reach_the_client,
        who says "its id is Some(0)";
    replying_with_success: RepliesOk by claimed_replies_reach_the_client,
        who says "its status is ok, not failed";
    replying_in_two_lines: RepliesInTwoLines by claimed_replies_reach_the_client,
        who says "several";
    replying_what_is_not_claimed: RepliesWithAnyReason by unclaimed_replies_are_refused,
        who says "must be refused with Unsupported";
    claiming_a_reply_without_words: ClaimsWithoutReply by claimed_replies_reach_the_client,
        who says "chat has no message for timeout";
    rewriting_more_than_the_id: RewritesTheOperation by ids_are_rewritten_alone,
        who says "more than the id changed";
    ignoring_the_new_id: IgnoresTheId by ids_are_rewritten_alone,
        who says "decoded again the id is";
    a_pong_without_id: PongsWithoutId by pings_are_answered,
        who says "its pong has the id Some(0)";
    a_ping_without_claim: PingsWithoutClaim by pings_are_answered,
        who says "claims no heartbeat";
    a_probe_without_claim: ProbesWithoutClaim by probes_are_calls,
        who says "claims none";
    a_probe_that_nobody_answers: ProbesOneWay by probes_are_calls,
        who says "a server understands a oneway";
    a_probe_of_another_operation: ProbesAnother by probes_are_calls,
        who says "a server reads the operation";
    a_probe_without_id: ProbesWithoutId by probes_are_calls,
        who says "a server reads the id Some(0)";
    a_probe_that_is_two_messages: ProbesWithAnyName by probes_are_calls,
        who says "a probe of ";
    a_riddle_for_a_farewell: GoesAwayInARiddle by going_away_is_understood,
        who says "understood as a response";
    detecting_too_late: DetectsTooLate by own_samples_are_detected,
        who says "Need(1000) is too many";
    detecting_everyone: DetectsEveryone by foreign_bytes_are_not_claimed,
        who says "how http (HTTP/1.1 GET) starts";
    losing_the_next_message: LosesTheNext by malformed_messages_are_survived,
        who says "no message was decoded after the malformed message";
    skipping_more_than_the_malformed: SkipsTooMuch by samples_decode_as_expected,
        who says "malformed_between.server: line 3";
    forgetting_who_it_is: ForgetsWhoItIs by own_samples_are_detected,
        who says "detect returned No for its own first 41 bytes";
    ids_without_a_claim: HidesItsIds by ids_are_rewritten_alone,
        who says "but the protocol claims none";
    an_own_answer_without_id: OwnAnswerWithoutId by claimed_replies_reach_the_client,
        who says "its id is Some(0)";
    dropping_the_end_of_pieces: DropsTheEndOfPieces by unedited_messages_leave_as_they_came,
        who says "hold 24";
    keeping_the_id_of_pieces: KeepsTheIdOfPieces by ids_are_rewritten_alone,
        who says "in pieces, with the id rewritten";
    never_ending_pieces: NeverEndsPieces by any_chunking_is_the_same,
        who says "a response never ends";
    mutants_of_samples: PanicsOnHighBit by mutations_are_survived,
        who says "panicked: assertion failed";
    mutants_cut_in_pieces: ConsumesOnIncomplete by mutations_are_survived,
        who says "when all bytes arrived at once";
    seeing_others_when_deeper: SeesOthersWhenDeeper by deeper_interest_sees_the_same,
        who says "lost or changed when looked at deeper";
}

#[test]
fn an_expectation_that_does_not_hold() {
    let mut sample = meltemi_testkit::Sample {
        name: "wrong.server".to_owned(),
        side: meltemi_frame::Side::Server,
        bytes: b"?7 read a=1\n".to_vec(),
        expect: vec![serde_json::json!({"id": 7, "attributes": {"tag.a": "2"}})],
    };
    let check = |sample: &meltemi_testkit::Sample| {
        let subject = Subject::with(
            Arc::new(Chat::new()),
            vec![sample.clone()],
            Options::default(),
        );
        checks::samples_decode_as_expected(&subject)
            .unwrap_err()
            .to_string()
    };
    let text = check(&sample);
    assert!(
        text.contains("wrong.server: line 1: `attributes.tag.a` is \"1\", wanted \"2\""),
        "{text}"
    );

    sample.expect = vec![serde_json::json!({"id": 7}), serde_json::json!({"id": 8})];
    assert!(check(&sample).contains("line 2: missing"));
    sample.expect = vec![];
    assert!(check(&sample).contains("line 1: not expected"));
    sample.expect = vec![serde_json::json!({"id": 7})];
    assert!(check(&sample).contains("there is no *.client.bin"));
}

#[test]
fn samples_that_are_not_there() {
    let none = std::env::temp_dir().join(format!("meltemi-testkit-{}", std::process::id()));
    let load = || meltemi_testkit::load(&none).unwrap_err().to_string();
    assert!(load().contains("no samples in"));
    std::fs::create_dir_all(&none).unwrap();
    assert!(load().contains("there is no sample"));
    std::fs::write(none.join("x.bin"), "x").unwrap();
    assert!(load().contains("<case>.<side>") || load().contains("<case>.server.bin"));
    std::fs::rename(none.join("x.bin"), none.join("x.server.bin")).unwrap();
    assert!(load().contains("x.server.jsonl beside it"));
    std::fs::write(none.join("x.server.jsonl"), "{").unwrap();
    assert!(load().contains("line 1 of its .jsonl"));
    std::fs::write(none.join("y.server.jsonl"), "{}").unwrap();
    assert!(load().contains("it has no .bin beside it"));
    std::fs::remove_dir_all(&none).unwrap();
}

/// A stack overflow ends the process, so this test runs itself once more.
#[test]
fn recursing_with_the_input() {
    const AGAIN: &str = "MELTEMI_TESTKIT_OVERFLOW";
    if std::env::var_os(AGAIN).is_some() {
        let verdict = checks::nesting_bombs_are_survived(&subject(Bug::RecursesWithTheInput));
        panic!("survived: {verdict:?}");
    }
    let me = std::env::current_exe().unwrap();
    let mut again = std::process::Command::new(me);
    again
        .args(["recursing_with_the_input", "--exact", "--nocapture"])
        .env(AGAIN, "1");
    let output = again.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        text.contains("bombs from ") && text.contains("overflowed its stack"),
        "{text}"
    );
}

#[test]
fn an_excuse_for_a_case_that_is_not_there() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samples");
    let options = Options::default().allocates(&["no_such_case"]);
    let subject = Subject::load(Arc::new(Chat::with(Bug::None)), dir, options).unwrap();
    let text = checks::steady_state_allocates_nothing(&subject)
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("`no_such_case` is excused, but there is no such sample"),
        "{text}"
    );
}
