//! Resolves names of attributes for a protocol, and reports the names that it does not have.

use meltemi_config::{AttributeMatch, Problem};
use meltemi_frame::Spec;

use crate::kinds::{Name, Test};
use crate::near::{distance, nearest};
use crate::yaml::Cursor;

/// The messages to which a test or a change applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    Requests,
    Responses,
}

/// Returns the test of an attribute. `None`, with a problem, if messages of this kind do not have
/// the attribute.
pub(super) fn attribute_match(
    test: &Test<'_>,
    spec: &Spec,
    on: On,
    problems: &mut Vec<Problem>,
) -> Option<AttributeMatch> {
    let name = match &test.name {
        Name::Exactly(name) => known_name(name, spec),
        Name::Header(name) => header_name(name, spec),
        Name::Method => known_name("method", spec).or_else(|| known_name(&spec.operation, spec)),
        Name::Key => known_name("key", spec).or_else(|| known_name("keys", spec)),
    };
    let written = test.name.written();
    let Some(name) = name else {
        problems.push(no_such_attribute(&test.at, written, spec));
        return None;
    };
    if !found_on(&name, written, &test.at, spec, on, problems) {
        return None;
    }
    let found = AttributeMatch {
        name,
        matcher: test.matcher.clone(),
        negate: test.negate,
    };
    if let Some(why) = found.impossible(spec) {
        problems.push(test.at.warning(why.what).remedy(why.remedy));
    }
    Some(found)
}

/// Returns `true` if messages of this kind have the attribute, under the protocol's own name for
/// it. If not, reports a problem.
pub(super) fn attribute(
    name: &str,
    at: &Cursor<'_>,
    spec: &Spec,
    on: On,
    problems: &mut Vec<Problem>,
) -> bool {
    if spec.lookup(name).is_none() {
        problems.push(no_such_attribute(at, name, spec));
        return false;
    }
    found_on(name, name, at, spec, on, problems)
}

/// Returns `true` if messages of this kind have an attribute of the protocol.
fn found_on(
    name: &str,
    written: &str,
    at: &Cursor<'_>,
    spec: &Spec,
    on: On,
    problems: &mut Vec<Problem>,
) -> bool {
    let (there, other, wanted) = match (spec.key(name), on) {
        (None, _) => {
            suspicious(at, written, spec, problems);
            return true;
        }
        (Some(key), On::Requests) => (key.request, "responses", "requests"),
        (Some(key), On::Responses) => (key.response, "requests", "responses"),
    };
    if !there {
        problems.push(at.error(format!(
            "{} has `{name}` on {other} only, and this is for {wanted}",
            spec.name
        )));
    }
    there
}

/// Warns of a name that counts as open metadata but resembles a declared name.
pub(super) fn suspicious(at: &Cursor<'_>, written: &str, spec: &Spec, problems: &mut Vec<Problem>) {
    let near = spec
        .keys
        .iter()
        .find(|key| distance(written, &key.name) <= 1);
    if let Some(near) = near {
        problems.push(
            at.warning(format!(
                "`{written}` counts as the name of a header or attachment"
            ))
            .remedy(format!("did you mean `{}`?", near.name)),
        );
    }
}

fn known_name(name: &str, spec: &Spec) -> Option<String> {
    spec.lookup(name).map(|_| name.to_owned())
}

/// Returns the attribute for a bare name where a header is expected: the attribute with this name,
/// or else the header with this name.
pub(super) fn header_name(name: &str, spec: &Spec) -> Option<String> {
    known_name(name, spec).or_else(|| {
        let open = spec.open.first()?;
        Some(format!("{}{name}", open.prefix)).filter(|_| !name.is_empty())
    })
}

/// Makes the problem for a name that the protocol does not have.
pub(super) fn no_such_attribute(at: &Cursor<'_>, name: &str, spec: &Spec) -> Problem {
    let near = nearest(name, spec.keys.iter().map(|key| &*key.name));
    let hint = near.map_or(String::new(), |near| format!("did you mean `{near}`? "));
    at.error(format!("{} has no attribute `{name}`", spec.name))
        .remedy(format!("{hint}it has {}", spec.known_names()))
}
