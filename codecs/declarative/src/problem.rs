//! The mistakes in a description, each with its field, its value and a remedy.

use std::fmt;

/// One mistake in a description.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` is `{value}`: {problem}; {remedy}")]
#[non_exhaustive]
pub struct DescriptionError {
    /// The field, as a path from the description: `variants[0].fields.id.offset`.
    pub path: String,
    /// Its value, if it has one.
    pub value: String,
    /// The problem.
    pub problem: String,
    /// The remedy.
    pub remedy: String,
}

/// All mistakes in a description. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct DescriptionErrors(Vec<DescriptionError>);

impl DescriptionErrors {
    /// Returns the only mistake: the data does not have the shape of a description.
    pub(crate) fn shape(path: &str, problem: &dyn fmt::Display) -> Self {
        Self(vec![DescriptionError {
            path: path.into(),
            value: "?".into(),
            problem: problem.to_string(),
            remedy: "the fields are listed in the reference of the language".into(),
        }])
    }

    /// Returns the mistakes, in the order of the description.
    pub fn as_slice(&self) -> &[DescriptionError] {
        &self.0
    }
}

impl fmt::Display for DescriptionErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

/// Collects mistakes while a description is compiled.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<DescriptionError>);

impl Problems {
    pub(crate) fn add(
        &mut self,
        path: impl Into<String>,
        value: impl fmt::Display,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.0.push(DescriptionError {
            path: path.into(),
            value: value.to_string(),
            problem: problem.into(),
            remedy: remedy.into(),
        });
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn finish(self) -> Result<(), DescriptionErrors> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(DescriptionErrors(self.0))
        }
    }
}
