//! The steps of a scripted upstream for one request, in order.

use std::time::Duration;

use bytes::Bytes;

#[derive(Clone, Debug)]
pub(super) enum Step {
    Wait(Duration),
    Send(Bytes),
    Dribble(Bytes, Duration),
    Hold(Bytes),
    HalfClose,
    Close,
}

/// The steps of a scripted upstream for one request. The steps of one answer run in order. Answers
/// without a wait are sent in the order of the requests; later ones can overtake an answer that
/// waits.
///
/// ```
/// use bytes::Bytes;
/// use meltemi_testkit::peer::Answer;
///
/// let reply = Bytes::from_static(b"=7 ok\n");
/// let at_once = Answer::from(reply.clone());
/// let never = Answer::none();
/// let twice = Answer::none().send(reply.clone()).send(reply.clone());
/// let closes_in_the_middle = Answer::none().send(reply.slice(..3)).close();
/// let garbage = Answer::none().send(&b"\xff\xff\xff\xff"[..]);
/// let after_the_next_one = Answer::none().hold(reply);
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "an answer is given by returning it"]
pub struct Answer(pub(super) Vec<Step>);

impl Answer {
    /// Creates an answer without steps.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    fn then(mut self, step: Step) -> Self {
        self.0.push(step);
        self
    }

    /// Sends bytes at once.
    pub fn send(self, bytes: impl Into<Bytes>) -> Self {
        self.then(Step::Send(bytes.into()))
    }

    /// Sends bytes one at a time, with a pause after each. Nothing else is sent in between.
    pub fn dribble(self, bytes: impl Into<Bytes>, pause: Duration) -> Self {
        self.then(Step::Dribble(bytes.into(), pause))
    }

    /// Waits for this time.
    pub fn wait(self, time: Duration) -> Self {
        self.then(Step::Wait(time))
    }

    /// Keeps bytes back, and sends them right after the next bytes that are sent on this
    /// connection: out of order, without a clock.
    pub fn hold(self, bytes: impl Into<Bytes>) -> Self {
        self.then(Step::Hold(bytes.into()))
    }

    /// Closes the sending half of the connection, and continues to read.
    pub fn half_close(self) -> Self {
        self.then(Step::HalfClose)
    }

    /// Closes the connection, even with requests in flight.
    pub fn close(self) -> Self {
        self.then(Step::Close)
    }
}

impl<B: Into<Bytes>> From<B> for Answer {
    fn from(bytes: B) -> Self {
        Self::none().send(bytes)
    }
}
