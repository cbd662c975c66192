//! The types of the table of kinds. Documents are checked against the table, and the reference is
//! generated from it. This module must not know any particular kind.

/// A kind of resource.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) group: &'static str,
    /// The accepted versions, all with the same meaning; the first is the recommended one.
    pub(crate) versions: &'static [&'static str],
    pub(crate) name: &'static str,
    /// The purpose of the kind, in one paragraph.
    pub(crate) doc: &'static str,
    /// Top-level fields besides `apiVersion`, `kind`, `metadata` and `status`.
    pub(crate) fields: &'static [Field],
    /// The reader of its documents.
    pub(crate) reader: Reader,
}

/// The readers of documents, each with one arm in
/// [`Resources::read`](crate::kinds::Resources::read).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    Gateway,
    ServiceEntry,
    WorkloadEntry,
    DestinationRule,
    VirtualService,
    MetaRouter,
    ApplicationProtocol,
    RedisService,
    RedisDestination,
    DestinationPolicy,
    ListenerPolicy,
    Secret,
    IstioAuthorization,
    OwnAuthorization,
    DubboAuthorization,
    /// The documents are accepted with a warning, and ignored.
    None,
}

/// A field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) shape: &'static Shape,
    pub(crate) required: bool,
    /// The default as the reference shows it; empty if the field has none.
    pub(crate) default: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) effect: Effect,
    /// `true` if the value must never be shown.
    pub(crate) secret: bool,
}

/// The effect of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The effect that its doc describes.
    Enforced,
    /// The field is checked, then causes a warning: it is not implemented yet.
    Later,
    /// The field has no meaning outside a cluster; its doc explains why.
    Unused,
}

/// The values that a field accepts.
#[derive(Debug)]
pub(crate) enum Shape {
    Text,
    Choice(&'static [&'static str]),
    Number {
        min: i64,
        max: i64,
    },
    /// 0 to 100, with fractions.
    Percent,
    /// Above 0, up to 100, with three decimals.
    Factor,
    Flag,
    /// At least 1 ms.
    Duration,
    /// At least 1 ms, or zero.
    DurationOrZero,
    Pattern,
    Object(&'static [Field]),
    /// An object with exactly one of the fields, or with none where that has a meaning.
    OneOf {
        fields: &'static [Field],
        empty: bool,
    },
    List(&'static Self),
    /// Names chosen by the user, and values.
    Map(&'static Self),
    /// One of these words, or a value of this shape.
    ChoiceOr(&'static [&'static str], &'static Self),
    /// A list of these values, or this object.
    ListOr(&'static Self, &'static [Field]),
    /// Text, or this object.
    TextOr(&'static [Field]),
    /// Any value; it is not checked.
    Any,
}

impl Field {
    /// Makes an optional field that is enforced.
    pub(crate) const fn new(name: &'static str, shape: &'static Shape, doc: &'static str) -> Self {
        Self {
            name,
            shape,
            required: false,
            default: "",
            doc,
            effect: Effect::Enforced,
            secret: false,
        }
    }

    /// Marks the field as secret: problems and dumps never show its value, at any depth.
    pub(crate) const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Marks the field as required.
    pub(crate) const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Sets the default.
    pub(crate) const fn default(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }

    /// Marks the field as not implemented yet.
    pub(crate) const fn later(mut self) -> Self {
        self.effect = Effect::Later;
        self
    }

    /// Marks the field as meaningless outside a cluster.
    pub(crate) const fn unused(mut self) -> Self {
        self.effect = Effect::Unused;
        self
    }
}

impl Shape {
    /// Describes the shape in a few words, for the reference and for errors.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Number { min, max: i64::MAX } => format!("whole number from {min}"),
            Self::Number { min, max } => format!("whole number from {min} to {max}"),
            Self::Percent => "number from 0 to 100".to_owned(),
            Self::Factor => "number from 0.001 to 100".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Duration => "duration (1.5s, 100ms, 1h) of at least 1ms".to_owned(),
            Self::DurationOrZero => "duration (1.5s, 100ms, 1h) of at least 1ms, or 0s".to_owned(),
            Self::Pattern => "regular expression".to_owned(),
            Self::Object(_) => "object".to_owned(),
            Self::OneOf { .. } => "object with one field".to_owned(),
            Self::List(item) => format!("list of {}", plural(item)),
            Self::Map(value) => format!("map of {}", plural(value)),
            Self::ChoiceOr(words, other) => {
                format!("one of {}, or {}", words.join(", "), other.describe())
            }
            Self::ListOr(item, _) => format!("list of {}, or object", plural(item)),
            Self::TextOr(_) => "text, or object".to_owned(),
            Self::Any => "anything".to_owned(),
        }
    }

    /// Returns the fields of the object, or of the list items, with this shape.
    pub(crate) const fn fields(&self) -> &'static [Field] {
        match self {
            Self::Object(fields) | Self::OneOf { fields, .. } | Self::TextOr(fields) => fields,
            Self::List(inner) | Self::Map(inner) | Self::ChoiceOr(_, inner) => inner.fields(),
            _ => &[],
        }
    }

    /// Returns `true` if the shape can hold a secret field, at any depth.
    pub(crate) fn holds_secret(&self) -> bool {
        match self {
            Self::ListOr(item, fields) => item.holds_secret() || hold_secret(fields),
            Self::List(inner) | Self::Map(inner) | Self::ChoiceOr(_, inner) => inner.holds_secret(),
            other => hold_secret(other.fields()),
        }
    }

    /// Returns the suffix that the reference shows after the name of the field.
    pub(crate) const fn suffix(&self) -> &'static str {
        match self {
            Self::List(_) | Self::ListOr(..) => "[]",
            Self::Map(_) => ".<name>",
            _ => "",
        }
    }
}

/// Returns `true` if one of the fields is secret, or holds a secret field.
pub(crate) fn hold_secret(fields: &[Field]) -> bool {
    fields
        .iter()
        .any(|field| field.secret || field.shape.holds_secret())
}

fn plural(shape: &Shape) -> String {
    match shape {
        Shape::Text => "texts".to_owned(),
        Shape::Number { .. } => "whole numbers".to_owned(),
        Shape::Object(_) | Shape::OneOf { .. } => "objects".to_owned(),
        other => format!("({})", other.describe()),
    }
}
