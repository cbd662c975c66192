//! What is wrong with a configuration: where, which field, which value, and what to do.

use std::fmt;
use std::sync::Arc;

/// Where a part of the configuration was written.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Origin {
    /// The file, or another name of the source.
    pub file: Arc<str>,
    /// The line, counted from 1; 0 if unknown.
    pub line: usize,
    /// The object, as `Kind namespace/name`; empty if there is none.
    pub object: Arc<str>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.file.is_empty() {
            return f.write_str("<built in>");
        }
        write!(f, "{}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        Ok(())
    }
}

/// Whether a configuration with this problem can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It runs as meant; this is worth knowing.
    Note,
    /// It runs, but probably not as meant.
    Warning,
    /// It is refused.
    Error,
}

impl Severity {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that is wrong, or worth knowing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether the configuration is refused for it.
    pub severity: Severity,
    /// Where.
    pub origin: Origin,
    /// The path of the field (`spec.routes[0].match.attributes.method`).
    pub field: String,
    /// The offending value, as written; may be empty.
    pub value: String,
    /// What is wrong with it.
    pub what: String,
    /// What to do about it; may be empty.
    pub remedy: String,
}

impl Problem {
    /// A problem for which the configuration is refused.
    pub fn error(origin: &Origin, field: &str, value: &str) -> Self {
        Self {
            severity: Severity::Error,
            origin: origin.clone(),
            field: field.to_owned(),
            value: value.to_owned(),
            what: String::new(),
            remedy: String::new(),
        }
    }

    /// A problem that is worth a warning.
    pub fn warning(origin: &Origin, field: &str, value: &str) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(origin, field, value)
        }
    }

    /// Something that is worth knowing, and not wrong.
    pub fn note(origin: &Origin, field: &str, value: &str) -> Self {
        Self {
            severity: Severity::Note,
            ..Self::error(origin, field, value)
        }
    }

    /// What is wrong.
    #[must_use]
    pub fn says(mut self, what: impl Into<String>) -> Self {
        self.what = what.into();
        self
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: ", self.origin, self.severity.name())?;
        if !self.origin.object.is_empty() {
            write!(f, "{}: ", self.origin.object)?;
        }
        write!(f, "{}", self.field)?;
        if !self.value.is_empty() {
            write!(f, " = `{}`", self.value)?;
        }
        write!(f, ": {}", self.what)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}
