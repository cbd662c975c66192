//! What a protocol says of itself: correlation, keys, edits, replies.

use std::borrow::Cow;

use crate::{Interest, KeyId, Lookup, MAX_KEYS, Reason};

/// How a response finds its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Correlation {
    /// By an id that the response repeats, in any order.
    Id {
        /// How many bits the id has, counted from the lowest.
        bits: u8,
    },
    /// By order: replies come in the order of the requests.
    InOrder {
        /// The bits of an id that responses repeat all the same, if there is one: then a cluster
        /// may be declared [`Sharing::Multiplexed`].
        id_bits: Option<u8>,
    },
}

impl Correlation {
    /// Whether a client must be answered in the order of its requests.
    pub const fn in_order(self) -> bool {
        matches!(self, Self::InOrder { .. })
    }

    /// The bits of the id, if there is one.
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
    /// Many, answered in order.
    Pipelined,
    /// Many, answered in any order, told apart by id.
    Multiplexed,
}

impl Sharing {
    /// The name used in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exclusive => "exclusive",
            Self::Pipelined => "pipelined",
            Self::Multiplexed => "multiplexed",
        }
    }
}

/// The values that an attribute can have. `check` warns of tests that none of them passes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValueSet {
    /// They are not known.
    Any,
    /// These.
    Words(Vec<Cow<'static, str>>),
    /// These, or a whole number that none of them stands for.
    WordsOrNumbers(Vec<Cow<'static, str>>),
}

/// An attribute that a protocol declares. Made by [`KeySpec::request`] and its like.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeySpec {
    /// The name in configuration.
    pub name: Cow<'static, str>,
    /// What it is, in one line, for the reference.
    pub doc: Cow<'static, str>,
    /// How deep `decode` must look for it.
    pub interest: Interest,
    /// It is found on requests.
    pub request: bool,
    /// It is found on responses.
    pub response: bool,
    /// It may be set, added or removed by an edit.
    pub editable: bool,
    /// It may have several values, and is found among the open entries by its name. It has no slot.
    pub many: bool,
    /// How deep `decode` must look to know the value that the server acts on. At this depth the codec
    /// gives that value, or marks the attribute as undetermined
    /// ([`Attributes::set_undetermined`](crate::Attributes::set_undetermined)). Authorization looks so deep.
    pub authoritative: Interest,
    /// The server compares it without regard to ASCII case. The codec gives its values in lower case, and
    /// values in configuration are brought into lower case when they are compiled.
    pub ignore_case: bool,
    /// When the codec cannot determine it, in one line, for the reference and for `check`; empty: never.
    pub blind: Cow<'static, str>,
    /// The values that it can have, as the codec gives them.
    pub values: ValueSet,
    /// Texts that no value contains although one may expect it, each with what to write instead, for `check`.
    pub never: &'static [(&'static str, &'static str)],
}

impl KeySpec {
    /// A key of requests, found at [`Interest::Route`], that cannot be edited.
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

    /// A key of requests whose name or text is made at run time; otherwise as [`KeySpec::request`].
    pub fn named(name: impl Into<Cow<'static, str>>, doc: impl Into<Cow<'static, str>>) -> Self {
        let mut key = Self::request("", "");
        key.name = name.into();
        key.doc = doc.into();
        key
    }

    /// A key of responses, found at [`Interest::Route`], that cannot be edited.
    pub const fn response(name: &'static str, doc: &'static str) -> Self {
        let mut key = Self::request(name, doc);
        key.request = false;
        key.response = true;
        key
    }

    /// The same key, found on both.
    #[must_use]
    pub const fn both(mut self) -> Self {
        self.request = true;
        self.response = true;
        self
    }

    /// The same key, found only from this depth on.
    #[must_use]
    pub const fn at(mut self, interest: Interest) -> Self {
        self.interest = interest;
        self.authoritative = interest;
        self
    }

    /// The same key, with the value that the server acts on known only from this depth on.
    #[must_use]
    pub const fn authoritative_at(mut self, interest: Interest) -> Self {
        self.authoritative = interest;
        self
    }

    /// The same key, compared without regard to ASCII case.
    #[must_use]
    pub const fn ignore_case(mut self) -> Self {
        self.ignore_case = true;
        self
    }

    /// The same key, which the codec cannot determine in the case that `when` describes.
    #[must_use]
    pub fn blind(mut self, when: &'static str) -> Self {
        self.blind = Cow::Borrowed(when);
        self
    }

    /// The same key, which has no other values than these.
    #[must_use]
    pub fn one_of(mut self, values: &'static [&'static str]) -> Self {
        let values = values.iter().copied().map(Cow::Borrowed);
        self.values = ValueSet::Words(values.collect());
        self
    }

    /// The same key, of which no value contains one of these texts; each has what to write instead.
    #[must_use]
    pub const fn never(mut self, texts: &'static [(&'static str, &'static str)]) -> Self {
        self.never = texts;
        self
    }

    /// The same key, which can be edited.
    #[must_use]
    pub const fn editable(mut self) -> Self {
        self.editable = true;
        self
    }

    /// The same key with several values.
    #[must_use]
    pub const fn many(mut self) -> Self {
        self.many = true;
        self
    }
}

/// Metadata whose names the protocol does not know beforehand. Made by [`OpenKeys::new`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenKeys {
    /// What stands before the name in configuration (`header.`); empty if any name that is not
    /// declared is one.
    pub prefix: Cow<'static, str>,
    /// What it is, in one line, for the reference.
    pub doc: Cow<'static, str>,
    /// How deep `decode` must look for it.
    pub interest: Interest,
    /// It may be set, added or removed on requests.
    pub edit_requests: bool,
    /// It may be set, added or removed on responses.
    pub edit_responses: bool,
    /// When the codec cannot determine it, in one line; empty: never.
    pub blind: Cow<'static, str>,
}

impl OpenKeys {
    /// Open metadata of requests and responses, found at [`Interest::Headers`], that cannot be edited.
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

    /// The same metadata, found only from this depth on.
    #[must_use]
    pub const fn at(mut self, interest: Interest) -> Self {
        self.interest = interest;
        self
    }

    /// The same metadata, which can be edited on requests, on responses, or on both.
    #[must_use]
    pub const fn editable(mut self, requests: bool, responses: bool) -> Self {
        self.edit_requests = requests;
        self.edit_responses = responses;
        self
    }

    /// The same metadata, which the codec cannot determine in the case that `when` describes.
    #[must_use]
    pub fn blind(mut self, when: impl Into<Cow<'static, str>>) -> Self {
        self.blind = when.into();
        self
    }
}

/// What kind of system a protocol belongs to, for traces: the names are those of OpenTelemetry's
/// semantic conventions (`rpc.system.name`, `db.system.name`, `messaging.system`), or the protocol's own
/// where they have none for it.
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

/// What a protocol says of itself. Made by [`Spec::new`] and the methods that are named like its fields; a field
/// that is added later has a default.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spec {
    /// The name in configuration, as in the port name `tcp-<name>-x`: lower case.
    pub name: Cow<'static, str>,
    /// How a response finds its request.
    pub correlation: Correlation,
    /// How requests share upstream connections unless the cluster says otherwise.
    pub sharing: Sharing,
    /// The codec can ask an upstream whether it is there.
    pub heartbeat: bool,
    /// The codec can make a call of any operation, without arguments, to hear whether the service
    /// answers. Its answer is a response; one that says that there is no such operation has the status
    /// [`Fault::NoRoute`](crate::Fault::NoRoute).
    pub probes: bool,
    /// Declared attributes. The first [`MAX_KEYS`] without [`KeySpec::many`] have slots; the position
    /// in this list is the [`KeyId`].
    pub keys: Vec<KeySpec>,
    /// Open metadata. A name belongs to the one with the longest prefix that it starts with.
    pub open: Vec<OpenKeys>,
    /// The reasons that a local reply can give. A codec that is not able to answer at all
    /// has none, and its clients are disconnected instead.
    pub replies: Cow<'static, [Reason]>,
    /// The attribute that names the operation (method, command) in metrics and logs.
    pub operation: Cow<'static, str>,
    /// The attribute that names the operation that is meant, where a request can call one operation by
    /// another (a generic call). Rules about operations look at both.
    pub generic_operation: Option<Cow<'static, str>>,
    /// The attribute that names the service in metrics and logs, if there is one.
    pub service: Option<Cow<'static, str>>,
    /// What kind of system it is, for traces.
    pub system: System,
    /// A server holds data, so that two servers give different answers to the same request unless somebody
    /// keeps them the same. The configuration has to say what several endpoints of a cluster are.
    pub stateful_endpoints: bool,
}

impl Spec {
    /// A protocol without heartbeats, probes, attributes and local replies.
    ///
    /// `name` is the name in configuration, in lower case; `operation` the attribute that names the operation.
    /// Requests share connections as `correlation` allows: multiplexed where responses name their request,
    /// one at a time where they come in order.
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

    /// The declared key of that name.
    pub fn key(&self, name: &str) -> Option<&KeySpec> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The declared key that names the operation that a generic call means, if there are generic calls.
    pub fn generic_key(&self) -> Option<&KeySpec> {
        self.key(self.generic_operation.as_deref()?)
    }

    fn open_keys<'n>(&self, name: &'n str) -> Option<(&OpenKeys, &'n str)> {
        let matching = self.open.iter().filter_map(|open| {
            let rest = name.strip_prefix(&*open.prefix)?;
            (!rest.is_empty()).then_some((open, rest))
        });
        // The longest prefix: an empty one takes what no other does.
        matching.min_by_key(|(_, rest)| rest.len())
    }

    /// How an attribute of that name is found, and how deep `decode` must look for it. `None` if the
    /// protocol has no such attribute.
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

    /// How an attribute of that name is found, and how deep `decode` must look to know the value that the
    /// server acts on. `None` if the protocol has no such attribute.
    pub fn authoritative(&self, name: &str) -> Option<(Lookup, Interest)> {
        let (lookup, interest) = self.lookup(name)?;
        let deeper = self.key(name).map_or(interest, |key| key.authoritative);
        Some((lookup, interest.max(deeper)))
    }

    /// A configured value of the attribute as the codec would give it: in lower case where the server
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

    /// When the codec cannot determine the attribute, in one line; `None`: it always can.
    pub fn blind(&self, name: &str) -> Option<&str> {
        let when = match self.key(name) {
            Some(key) => &*key.blind,
            None => &*self.open_keys(name)?.0.blind,
        };
        (!when.is_empty()).then_some(when)
    }

    /// Whether an attribute of that name can be set, added or removed on requests (or responses).
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

    /// The name on the wire of an open attribute (the prefix taken off).
    pub fn open_name<'n>(&self, name: &'n str) -> Option<&'n str> {
        self.open_keys(name).map(|(_, rest)| rest)
    }

    /// The names that there are, for error messages.
    pub fn known_names(&self) -> String {
        self.names().collect::<Vec<_>>().join(", ")
    }

    /// What can be changed on requests (or responses), for error messages.
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
