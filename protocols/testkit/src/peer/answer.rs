//! What a scripted upstream does when a request comes: steps, in order.

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

/// What a scripted upstream does when a request comes. The steps of one answer are done in order, and
/// answers that do not wait in the order of the requests; one that waits is overtaken.
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
    /// No answer at all.
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

    /// Sends bytes one at a time, with a pause behind each. Nothing else is sent in between.
    pub fn dribble(self, bytes: impl Into<Bytes>, pause: Duration) -> Self {
        self.then(Step::Dribble(bytes.into(), pause))
    }

    /// Does nothing for so long.
    pub fn wait(self, time: Duration) -> Self {
        self.then(Step::Wait(time))
    }

    /// Keeps bytes back and sends them right behind the next that are sent on this connection: out of
    /// order, without a clock.
    pub fn hold(self, bytes: impl Into<Bytes>) -> Self {
        self.then(Step::Hold(bytes.into()))
    }

    /// Ends the sending half of the connection, and goes on reading.
    pub fn half_close(self) -> Self {
        self.then(Step::HalfClose)
    }

    /// Closes the connection, whatever is in flight.
    pub fn close(self) -> Self {
        self.then(Step::Close)
    }
}

impl<B: Into<Bytes>> From<B> for Answer {
    fn from(bytes: B) -> Self {
        Self::none().send(bytes)
    }
}
