//! The description of a protocol: correlation, keys, edits, replies.

use std::borrow::Cow;

use crate::{Interest, KeyId, Lookup, MAX_KEYS, Reason};

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

/// The possible values of an attribute. `check` warns of tests that no possible value passes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValueSet {
    /// The values are not known.
    Any,
    /// Only these words.
    Words(Vec<Cow<'static, str>>),
    /// These words, or an integer that none of them stands for.
    WordsOrNumbers(Vec<Cow<'static, str>>),
}

/// An attribute that a protocol declares. Created by [`KeySpec::request`] and similar functions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeySpec {
    /// The configuration name.
    pub name: Cow<'static, str>,
    /// A description in one line, for the reference.
    pub doc: Cow<'static, str>,
    /// The decode depth that the attribute needs.
    pub interest: Interest,
    /// `true` if requests can have it.
    pub request: bool,
    /// `true` if responses can have it.
    pub response: bool,
    /// `true` if an edit may set, add or remove it.
    pub editable: bool,
    /// `true` if it may have several values. It then has no slot, and is read from the open entries
    /// by its name.
    pub many: bool,
    /// The decode depth that is needed for the value that the server acts on. At this depth the
    /// codec reports that value, or marks the attribute as undetermined
    /// ([`Attributes::set_undetermined`](crate::Attributes::set_undetermined)). Authorization uses
    /// this depth.
    pub authoritative: Interest,
    /// `true` if the server ignores ASCII case in the value. The codec reports values in lower
    /// case, and values in the configuration are converted to lower case when they are compiled.
    pub ignore_case: bool,
    /// The case in which the codec cannot determine it, in one line, for the reference and for
    /// `check`. Empty if there is none.
    pub blind: Cow<'static, str>,
    /// The possible values, as the codec reports them.
    pub values: ValueSet,
    /// Texts that no value contains although a user may expect them, each with the text to write
    /// instead, for `check`.
    pub never: &'static [(&'static str, &'static str)],
}

impl KeySpec {
    /// Creates a key of requests, read at [`Interest::Route`], that cannot be edited.
    pub const fn request(name: &'static str, doc: &'static str) -> Self {
        Self {
            name: Cow::Borrowed(name),
            doc: Cow::Borrowed(doc),
            interest: Interest::Route,
            request: true,
            response: false,
            editable: false,
            many: false,
            authoritative: Interest::Route,
            ignore_case: false,
            blind: Cow::Borrowed(""),
            values: ValueSet::Any,
            never: &[],
        }
    }

    /// Creates a key of requests whose name or text is built at run time; otherwise like
    /// [`KeySpec::request`].
    pub fn named(name: impl Into<Cow<'static, str>>, doc: impl Into<Cow<'static, str>>) -> Self {
        let mut key = Self::request("", "");
        key.name = name.into();
        key.doc = doc.into();
        key
    }

    /// Creates a key of responses, read at [`Interest::Route`], that cannot be edited.
    pub const fn response(name: &'static str, doc: &'static str) -> Self {
        let mut key = Self::request(name, doc);
        key.request = false;
        key.response = true;
        key
    }

    /// Makes the key available on requests and responses.
    #[must_use]
    pub const fn both(mut self) -> Self {
        self.request = true;
        self.response = true;
        self
    }

    /// Sets the decode depth that the key needs.
    #[must_use]
    pub const fn at(mut self, interest: Interest) -> Self {
        self.interest = interest;
        self.authoritative = interest;
        self
    }

    /// Sets the decode depth that is needed for the value that the server acts on.
    #[must_use]
    pub const fn authoritative_at(mut self, interest: Interest) -> Self {
        self.authoritative = interest;
        self
    }

    /// Compares the key's values without regard to ASCII case.
    #[must_use]
    pub const fn ignore_case(mut self) -> Self {
        self.ignore_case = true;
        self
    }

    /// Sets the case in which the codec cannot determine the key.
    #[must_use]
    pub fn blind(mut self, when: &'static str) -> Self {
        self.blind = Cow::Borrowed(when);
        self
    }

    /// Restricts the key to these values.
    #[must_use]
    pub fn one_of(mut self, values: &'static [&'static str]) -> Self {
        let values = values.iter().copied().map(Cow::Borrowed);
        self.values = ValueSet::Words(values.collect());
        self
    }

    /// Sets texts that no value of the key contains, each with the text to write instead.
    #[must_use]
    pub const fn never(mut self, texts: &'static [(&'static str, &'static str)]) -> Self {
        self.never = texts;
        self
    }

    /// Allows edits of the key.
    #[must_use]
    pub const fn editable(mut self) -> Self {
        self.editable = true;
        self
    }

    /// Allows several values of the key.
    #[must_use]
    pub const fn many(mut self) -> Self {
        self.many = true;
        self
    }
}

/// Metadata with names that the protocol does not know in advance. Created by [`OpenKeys::new`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenKeys {
    /// The prefix of the name in the configuration (`header.`). If empty, it matches any name that
    /// is not declared.
    pub prefix: Cow<'static, str>,
    /// A description in one line, for the reference.
    pub doc: Cow<'static, str>,
    /// The decode depth that the metadata needs.
    pub interest: Interest,
    /// `true` if an edit of requests may set, add or remove it.
    pub edit_requests: bool,
    /// `true` if an edit of responses may set, add or remove it.
    pub edit_responses: bool,
    /// The case in which the codec cannot determine it, in one line. Empty if there is none.
    pub blind: Cow<'static, str>,
}

impl OpenKeys {
    /// Creates open metadata of requests and responses, read at [`Interest::Headers`], that cannot
    /// be edited.
    pub fn new(prefix: impl Into<Cow<'static, str>>, doc: impl Into<Cow<'static, str>>) -> Self {
        Self {
            prefix: prefix.into(),
            doc: doc.into(),
            interest: Interest::Headers,
            edit_requests: false,
            edit_responses: false,
            blind: Cow::Borrowed(""),
        }
    }

    /// Sets the decode depth that the metadata needs.
    #[must_use]
    pub const fn at(mut self, interest: Interest) -> Self {
        self.interest = interest;
        self
    }

    /// Allows edits on requests, on responses, or on both.
    #[must_use]
    pub const fn editable(mut self, requests: bool, responses: bool) -> Self {
        self.edit_requests = requests;
        self.edit_responses = responses;
        self
    }

    /// Sets the case in which the codec cannot determine the metadata.
    #[must_use]
    pub fn blind(mut self, when: impl Into<Cow<'static, str>>) -> Self {
        self.blind = when.into();
        self
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
mod tests {
    use super::*;

    fn spec() -> Spec {
        Spec::new("test", "method", Correlation::Id { bits: 32 })
            .heartbeat(true)
            .keys([
                KeySpec::request("method", "m"),
                KeySpec::request("keys", "k").many(),
                KeySpec::request("note", "n")
                    .editable()
                    .at(Interest::Headers),
            ])
            .open([OpenKeys::new("header.", "h")
                .editable(true, false)
                .blind("the header block is compressed")])
            .replies(Reason::ALL)
    }

    #[test]
    fn names_become_lookups() {
        let spec = spec();
        assert_eq!(
            spec.lookup("method"),
            Some((Lookup::Slot(KeyId(0)), Interest::Route))
        );
        assert_eq!(
            spec.lookup("keys"),
            Some((Lookup::Open("keys".into()), Interest::Route))
        );
        assert_eq!(
            spec.lookup("note"),
            Some((Lookup::Slot(KeyId(2)), Interest::Headers))
        );
        assert_eq!(
            spec.lookup("header.x"),
            Some((Lookup::Open("x".into()), Interest::Headers))
        );
        assert_eq!(spec.lookup("header."), None);
        assert_eq!(spec.lookup("x"), None);
    }

    #[test]
    fn authorization_may_look_deeper_than_routes() {
        let mut spec = spec();
        spec.keys[0] = KeySpec::request("method", "m").authoritative_at(Interest::Body);
        let slot = Lookup::Slot(KeyId(0));
        assert_eq!(spec.lookup("method"), Some((slot.clone(), Interest::Route)));
        assert_eq!(spec.authoritative("method"), Some((slot, Interest::Body)));
        let header = (Lookup::Open("x".into()), Interest::Headers);
        assert_eq!(spec.authoritative("header.x"), Some(header));
        assert_eq!(spec.authoritative("x"), None);
        assert_eq!(
            spec.blind("header.x"),
            Some("the header block is compressed")
        );
        assert_eq!(spec.blind("method"), None);
    }

    #[test]
    fn values_are_normalised_where_case_is_ignored() {
        let mut spec = spec();
        spec.keys[0] = KeySpec::request("method", "m").ignore_case();
        assert_eq!(spec.normalise("method", "FlushAll"), "flushall");
        assert_eq!(spec.normalise("note", "FlushAll"), "FlushAll");
        assert_eq!(spec.normalise("header.x", "A"), "A");
    }

    #[test]
    fn the_longest_prefix_wins() {
        let mut spec = spec();
        let mut any = spec.open[0].clone();
        any.prefix = "".into();
        spec.open.insert(0, any);
        let open = |name: &str| spec.open_name(name).map(str::to_owned);
        assert_eq!(open("header.x").as_deref(), Some("x"));
        assert_eq!(open("x").as_deref(), Some("x"));
        assert_eq!(open("header.").as_deref(), Some("header."));
    }

    #[test]
    fn edits_are_refused_where_the_protocol_cannot_carry_them() {
        let spec = spec();
        assert!(spec.editable("note", false) && !spec.editable("note", true));
        assert!(spec.editable("header.x", false) && !spec.editable("header.x", true));
        assert!(!spec.editable("method", false) && !spec.editable("y", false));
        assert_eq!(
            spec.editable_names(false),
            "it can change note, header.<name>"
        );
        assert_eq!(spec.editable_names(true), "nothing in it can be changed");
    }
}
