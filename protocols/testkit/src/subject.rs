//! The subject of a test: a protocol, its samples, and its author's options.

use std::path::Path;
use std::sync::Arc;

use meltemi_frame::{Codec, Limits, Protocol, Session, Side, Spec};

use crate::{Failure, Sample, sample};

/// The valid exceptions of a codec, which its author declares. None by default.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub(crate) undetectable: bool,
    pub(crate) allocates: Vec<String>,
    pub(crate) large: Vec<(Side, Vec<u8>)>,
}

impl Options {
    /// Declares that the protocol cannot be detected from its first bytes. `detect` must then
    /// always return `No`.
    #[must_use]
    pub fn undetectable(mut self) -> Self {
        self.undetectable = true;
        self
    }

    /// Allows these cases (`<case>` or `<case>.<side>`) to allocate memory at `Interest::Route`:
    /// rare forms whose attributes must be rebuilt (chunked or escaped strings).
    #[must_use]
    pub fn allocates(mut self, cases: &[&str]) -> Self {
        self.allocates = cases.iter().map(|&case| case.to_owned()).collect();
        self
    }

    /// Adds a large message (32 KiB and more) whose end a codec of `side` finds by scanning, to
    /// test that the work is linear when it arrives byte by byte. The testkit also builds some
    /// itself.
    #[must_use]
    pub fn large(mut self, side: Side, message: Vec<u8>) -> Self {
        self.large.push((side, message));
        self
    }
}

/// A protocol under test, with its samples.
#[derive(Clone)]
pub struct Subject {
    pub(crate) protocol: Arc<dyn Protocol>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) options: Options,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject")
            .field("protocol", &self.spec().name)
            .field("samples", &self.samples.len())
            .finish_non_exhaustive()
    }
}

impl Subject {
    /// Loads a protocol with the samples of a directory.
    ///
    /// # Errors
    /// Fails if the samples cannot be read, or if there are none.
    pub fn load(
        protocol: Arc<dyn Protocol>,
        dir: impl AsRef<Path>,
        options: Options,
    ) -> Result<Self, Failure> {
        Ok(Self::with(protocol, sample::load(dir.as_ref())?, options))
    }

    /// Creates a subject of a protocol and given samples.
    pub fn with(protocol: Arc<dyn Protocol>, samples: Vec<Sample>, options: Options) -> Self {
        Self {
            protocol,
            samples,
            options,
        }
    }

    pub(crate) fn spec(&self) -> &Spec {
        self.protocol.spec()
    }

    /// Creates a fresh codec, in the plain session.
    pub(crate) fn codec(&self, side: Side, limits: &Limits) -> Box<dyn Codec> {
        self.protocol.codec(side, limits, &Session::default())
    }

    /// Runs a check on every sample. The failure names the sample.
    pub(crate) fn each(&self, mut check: impl FnMut(&Sample) -> crate::Verdict) -> crate::Verdict {
        self.samples
            .iter()
            .try_for_each(|sample| check(sample).map_err(|failure| failure.within(&sample.name)))
    }
}

/// Allows [`conformance!`](crate::conformance) to take an `impl Protocol` as well as an `Arc<dyn
/// Protocol>`: the inherent method has precedence over the trait's.
#[doc(hidden)]
#[derive(Debug)]
pub struct Given<T>(pub T);

impl Given<Arc<dyn Protocol>> {
    #[doc(hidden)]
    pub fn into_protocol(self) -> Arc<dyn Protocol> {
        self.0
    }
}

#[doc(hidden)]
pub trait GivenProtocol {
    fn into_protocol(self) -> Arc<dyn Protocol>;
}

impl<P: Protocol> GivenProtocol for Given<P> {
    fn into_protocol(self) -> Arc<dyn Protocol> {
        Arc::new(self.0)
    }
}
