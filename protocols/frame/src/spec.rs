//! The description of a protocol: correlation, keys, edits, replies.

use std::borrow::Cow;

use crate::{Interest, KeyId, KeySpec, Lookup, MAX_KEYS, OpenKeys, Reason};

/// How a response is matched to its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Correlation {
    /// By an id that the response repeats, in any order.
    Id {
        /// The number of bits of the id, from the lowest.
        bits: u8,
    },
    /// By order: responses arrive in the order of the requests.
    InOrder {
        /// The number of bits of an id that responses repeat all the same. `None` if there is none.
        /// With an id, a cluster may be declared [`Sharing::Multiplexed`].
        id_bits: Option<u8>,
    },
}

impl Correlation {
    /// Returns `true` if a client must get its responses in the order of its requests.
    pub const fn in_order(self) -> bool {
        matches!(self, Self::InOrder { .. })
    }

    /// Returns the number of bits of the id. `None` if there is no id.
    pub const fn id_bits(self) -> Option<u8> {
        match self {
            Self::Id { bits } => Some(bits),
            Self::InOrder { id_bits } => id_bits,
        }
    }
}

/// How requests share an upstream connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sharing {
    /// One request at a time.
    Exclusive,
    /// Many, with responses in request order.
    Pipelined,
    /// Many, with responses in any order, matched by id.
    Multiplexed,
}

impl Sharing {
    /// Returns the name used in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exclusive => "exclusive",
            Self::Pipelined => "pipelined",
            Self::Multiplexed => "multiplexed",
        }
    }
}

/// The kind of system that a protocol belongs to, for traces. The names are those of
/// OpenTelemetry's semantic conventions (`rpc.system.name`, `db.system.name`, `messaging.system`),
/// or the protocol's own if the conventions have none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum System {
    /// Remote calls.
    Rpc(Cow<'static, str>),
    /// A database.
    Database(Cow<'static, str>),
    /// Messages to queues or topics.
    Messaging(Cow<'static, str>),
    /// None of these.
    Other,
}

/// The description of a protocol. Created by [`Spec::new`] and the methods that are named like its
/// fields. A field that is added later has a default.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spec {
    /// The configuration name, in lower case, as in the port name `tcp-<name>-x`.
    pub name: Cow<'static, str>,
    /// How a response is matched to its request.
    pub correlation: Correlation,
    /// How requests share upstream connections, unless the cluster sets it.
    pub sharing: Sharing,
    /// `true` if the codec can send a heartbeat to an upstream.
    pub heartbeat: bool,
    /// `true` if the codec can call any operation without arguments, to check that the service
    /// responds. The reply is a response. If the operation does not exist, its status is
    /// [`Fault::NoRoute`](crate::Fault::NoRoute).
    pub probes: bool,
    /// Declared attributes. The first [`MAX_KEYS`] without [`KeySpec::many`] have slots; the
    /// position in this list is the [`KeyId`].
    pub keys: Vec<KeySpec>,
    /// Open metadata. A name belongs to the entry with the longest matching prefix.
    pub open: Vec<OpenKeys>,
    /// The reasons that a local reply can report. Empty if the codec cannot reply at all; its
    /// clients are then disconnected instead.
    pub replies: Cow<'static, [Reason]>,
    /// The attribute with the operation (method, command) for metrics and logs.
    pub operation: Cow<'static, str>,
    /// The attribute with the operation that is really called, in protocols where a request can
    /// call one operation through another (a generic call). Rules about operations check both.
    pub generic_operation: Option<Cow<'static, str>>,
    /// The attribute with the service for metrics and logs. `None` if there is none.
    pub service: Option<Cow<'static, str>>,
    /// The kind of system, for traces.
    pub system: System,
    /// `true` if a server holds data, so that two servers give different responses to the same
    /// request unless their data is replicated. The configuration must then declare the role of a
    /// cluster's endpoints.
    pub stateful_endpoints: bool,
}

impl Spec {
    /// Creates a protocol without heartbeats, probes, attributes and local replies.
    ///
    /// `name` is the configuration name, in lower case. `operation` is the attribute with the
    /// operation. Requests share connections as `correlation` allows: multiplexed if responses
    /// carry the id of their request, one at a time if they arrive in order.
    pub fn new(
        name: impl Into<Cow<'static, str>>,
        operation: impl Into<Cow<'static, str>>,
        correlation: Correlation,
    ) -> Self {
        Self {
            name: name.into(),
            correlation,
            sharing: match correlation {
                Correlation::Id { .. } => Sharing::Multiplexed,
                Correlation::InOrder { .. } => Sharing::Exclusive,
            },
            heartbeat: false,
            probes: false,
            keys: Vec::new(),
            open: Vec::new(),
            replies: Cow::Borrowed(&[]),
            operation: operation.into(),
            generic_operation: None,
            service: None,
            system: System::Other,
            stateful_endpoints: false,
        }
    }

    /// Sets [`Spec::sharing`].
    #[must_use]
    pub const fn sharing(mut self, sharing: Sharing) -> Self {
        self.sharing = sharing;
        self
    }

    /// Sets [`Spec::heartbeat`].
    #[must_use]
    pub const fn heartbeat(mut self, heartbeat: bool) -> Self {
        self.heartbeat = heartbeat;
        self
    }

    /// Sets [`Spec::stateful_endpoints`].
    #[must_use]
    pub const fn stateful_endpoints(mut self, stateful: bool) -> Self {
        self.stateful_endpoints = stateful;
        self
    }

    /// Sets [`Spec::probes`].
    #[must_use]
    pub const fn probes(mut self, probes: bool) -> Self {
        self.probes = probes;
        self
    }

    /// Adds to [`Spec::keys`].
    #[must_use]
    pub fn keys(mut self, keys: impl IntoIterator<Item = KeySpec>) -> Self {
        self.keys.extend(keys);
        self
    }

    /// Adds to [`Spec::open`].
    #[must_use]
    pub fn open(mut self, open: impl IntoIterator<Item = OpenKeys>) -> Self {
        self.open.extend(open);
        self
    }

    /// Sets [`Spec::replies`].
    #[must_use]
    pub fn replies(mut self, reasons: impl Into<Cow<'static, [Reason]>>) -> Self {
        self.replies = reasons.into();
        self
    }

    /// Sets [`Spec::generic_operation`].
    #[must_use]
    pub fn generic_operation(mut self, attribute: impl Into<Cow<'static, str>>) -> Self {
        self.generic_operation = Some(attribute.into());
        self
    }

    /// Sets [`Spec::service`].
    #[must_use]
    pub fn service(mut self, attribute: impl Into<Cow<'static, str>>) -> Self {
        self.service = Some(attribute.into());
        self
    }

    /// Sets [`Spec::system`].
    #[must_use]
    pub fn system(mut self, system: System) -> Self {
        self.system = system;
        self
    }

    /// Returns the declared key with this name. `None` if there is none.
    pub fn key(&self, name: &str) -> Option<&KeySpec> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// Returns the declared key with the operation that a generic call really calls. `None` if
    /// there are no generic calls.
    pub fn generic_key(&self) -> Option<&KeySpec> {
        self.key(self.generic_operation.as_deref()?)
    }

    fn open_keys<'n>(&self, name: &'n str) -> Option<(&OpenKeys, &'n str)> {
        let matching = self.open.iter().filter_map(|open| {
            let rest = name.strip_prefix(&*open.prefix)?;
            (!rest.is_empty()).then_some((open, rest))
        });
        // The longest prefix wins; an empty prefix takes all other names.
        matching.min_by_key(|(_, rest)| rest.len())
    }

    /// Returns how to find the attribute with this name, and the decode depth that it needs. `None`
    /// if the protocol has no such attribute.
    pub fn lookup(&self, name: &str) -> Option<(Lookup, Interest)> {
        if let Some(at) = self.keys.iter().position(|key| key.name == name) {
            let key = self.keys.get(at)?;
            let slot = u8::try_from(at).ok().filter(|_| !key.many && at < MAX_KEYS);
            let lookup =
                slot.map_or_else(|| Lookup::Open(name.into()), |at| Lookup::Slot(KeyId(at)));
            return Some((lookup, key.interest));
        }
        let (open, rest) = self.open_keys(name)?;
        Some((Lookup::Open(rest.into()), open.interest))
    }

    /// Returns how to find the attribute with this name, and the decode depth for the value that
    /// the server acts on. `None` if the protocol has no such attribute.
    pub fn authoritative(&self, name: &str) -> Option<(Lookup, Interest)> {
        let (lookup, interest) = self.lookup(name)?;
        let deeper = self.key(name).map_or(interest, |key| key.authoritative);
        Some((lookup, interest.max(deeper)))
    }

    /// Converts a configured value of the attribute to the codec's form: lower case if the server
    /// ignores case.
    pub fn normalise<'v>(&self, name: &str, value: &'v str) -> Cow<'v, str> {
        if self.ignores_case(name) && value.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(value.to_ascii_lowercase())
        } else {
            Cow::Borrowed(value)
        }
    }

    /// Returns `true` if values of the attribute are compared without regard to ASCII case.
    pub fn ignores_case(&self, name: &str) -> bool {
        self.key(name).is_some_and(|key| key.ignore_case)
    }

    /// Returns the case in which the codec cannot determine the attribute, in one line. `None` if
    /// it always can.
    pub fn blind(&self, name: &str) -> Option<&str> {
        let when = match self.key(name) {
            Some(key) => &*key.blind,
            None => &*self.open_keys(name)?.0.blind,
        };
        (!when.is_empty()).then_some(when)
    }

    /// Returns `true` if the attribute with this name can be set, added or removed on requests (or
    /// responses).
    pub fn editable(&self, name: &str, response: bool) -> bool {
        if let Some(key) = self.key(name) {
            return key.editable && if response { key.response } else { key.request };
        }
        self.open_keys(name).is_some_and(|(open, _)| {
            if response {
                open.edit_responses
            } else {
                open.edit_requests
            }
        })
    }

    /// Returns the wire name of an open attribute (without the prefix). `None` if it is not an open
    /// attribute.
    pub fn open_name<'n>(&self, name: &'n str) -> Option<&'n str> {
        self.open_keys(name).map(|(_, rest)| rest)
    }

    /// Returns the names of all attributes, for error messages.
    pub fn known_names(&self) -> String {
        self.names().collect::<Vec<_>>().join(", ")
    }

    /// Returns the attributes that can be changed on requests (or responses), for error messages.
    pub fn editable_names(&self, response: bool) -> String {
        let names: Vec<String> = self
            .names()
            .filter(|name| self.editable(name, response))
            .collect();
        if names.is_empty() {
            "nothing in it can be changed".to_owned()
        } else {
            format!("it can change {}", names.join(", "))
        }
    }

    fn names(&self) -> impl Iterator<Item = String> {
        let declared = self.keys.iter().map(|key| key.name.to_string());
        let open = |open: &OpenKeys| format!("{}<name>", open.prefix);
        declared.chain(self.open.iter().map(open))
    }
}

#[cfg(test)]
mod tests;
