//! Problems of a configuration: position, field, value, and remedy.

use std::fmt;
use std::sync::Arc;

/// A position in the configuration source.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Origin {
    /// The file, or another name of the source.
    pub file: Arc<str>,
    /// The line, counted from 1; 0 if unknown.
    pub line: usize,
    /// The object, as `Kind namespace/name`. Empty if there is none.
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

/// The severity of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Information: the configuration works as intended.
    Note,
    /// The configuration is accepted, but probably does not work as intended.
    Warning,
    /// The configuration is rejected.
    Error,
}

impl Severity {
    /// Returns the severity as a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One problem, or other information, about a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The severity.
    pub severity: Severity,
    /// The position in the configuration source.
    pub origin: Origin,
    /// The path of the field (`spec.routes[0].match.attributes.method`).
    pub field: String,
    /// The value in question, as written. May be empty.
    pub value: String,
    /// The problem.
    pub what: String,
    /// The remedy. May be empty.
    pub remedy: String,
}

impl Problem {
    /// Creates a problem that rejects the configuration.
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

    /// Creates a warning.
    pub fn warning(origin: &Origin, field: &str, value: &str) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(origin, field, value)
        }
    }

    /// Creates a note.
    pub fn note(origin: &Origin, field: &str, value: &str) -> Self {
        Self {
            severity: Severity::Note,
            ..Self::error(origin, field, value)
        }
    }

    /// Sets the description of the problem.
    #[must_use]
    pub fn says(mut self, what: impl Into<String>) -> Self {
        self.what = what.into();
        self
    }

    /// Sets the remedy.
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
