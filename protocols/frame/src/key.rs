//! The attributes that a protocol declares: single keys, and open metadata. How a message holds their
//! values is not known here.

use std::borrow::Cow;

use crate::Interest;

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
