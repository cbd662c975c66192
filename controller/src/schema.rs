//! What a kind may hold: the one table that documents are checked against and that the reference
//! is generated from. It knows no particular kind.

/// A kind of resource.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) group: &'static str,
    /// The versions that are read, all alike; the first is the one to write.
    pub(crate) versions: &'static [&'static str],
    pub(crate) name: &'static str,
    /// What it is for, in one paragraph.
    pub(crate) doc: &'static str,
    /// Top-level fields besides `apiVersion`, `kind`, `metadata` and `status`.
    pub(crate) fields: &'static [Field],
    /// What its documents are read as.
    pub(crate) reader: Reader,
}

/// What documents are read as: one arm in [`Resources::read`](crate::kinds::Resources::read) for each.
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
    /// They are accepted with a warning, and passed over.
    None,
}

/// A field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) shape: &'static Shape,
    pub(crate) required: bool,
    /// The default as the reference shows it; empty if there is none.
    pub(crate) default: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) effect: Effect,
    /// What stands in it is never shown.
    pub(crate) secret: bool,
}

/// What a field does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// What its doc says.
    Enforced,
    /// It is checked, and then warned of, because nothing comes of it yet.
    Later,
    /// It means nothing outside a cluster; its doc says why.
    Unused,
}

/// What may stand in a field.
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
    /// An object in which exactly one of the fields stands, or none where that has a meaning.
    OneOf {
        fields: &'static [Field],
        empty: bool,
    },
    List(&'static Self),
    /// Names of the writer's choice, and values.
    Map(&'static Self),
    /// One of these words, or this.
    ChoiceOr(&'static [&'static str], &'static Self),
    /// A list of these, or this object.
    ListOr(&'static Self, &'static [Field]),
    /// Text, or this object.
    TextOr(&'static [Field]),
    /// Not looked into.
    Any,
}

impl Field {
    /// An optional field that is enforced.
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

    /// What stands in it, and below it, is never shown: not in problems, and not in dumps.
    pub(crate) const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// It must be there.
    pub(crate) const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// What holds when it is not there.
    pub(crate) const fn default(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }

    /// Nothing comes of it yet.
    pub(crate) const fn later(mut self) -> Self {
        self.effect = Effect::Later;
        self
    }

    /// It means nothing outside a cluster.
    pub(crate) const fn unused(mut self) -> Self {
        self.effect = Effect::Unused;
        self
    }
}

impl Shape {
    /// The shape in a few words, for the reference and for errors.
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

    /// The fields of the object that stands here, or in the items of the list that stands here.
    pub(crate) const fn fields(&self) -> &'static [Field] {
        match self {
            Self::Object(fields) | Self::OneOf { fields, .. } | Self::TextOr(fields) => fields,
            Self::List(inner) | Self::Map(inner) | Self::ChoiceOr(_, inner) => inner.fields(),
            _ => &[],
        }
    }

    /// Returns `true` if a field that is secret can stand here, at any depth.
    pub(crate) fn holds_secret(&self) -> bool {
        match self {
            Self::ListOr(item, fields) => item.holds_secret() || hold_secret(fields),
            Self::List(inner) | Self::Map(inner) | Self::ChoiceOr(_, inner) => inner.holds_secret(),
            other => hold_secret(other.fields()),
        }
    }

    /// What the path of the reference shows behind the field's name.
    pub(crate) const fn suffix(&self) -> &'static str {
        match self {
            Self::List(_) | Self::ListOr(..) => "[]",
            Self::Map(_) => ".<name>",
            _ => "",
        }
    }
}

/// Returns `true` if one of the fields is secret, or holds one that is.
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
