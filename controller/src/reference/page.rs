//! Generates the reference page from the table.

use std::fmt::Write as _;

use super::table::KINDS;
use crate::schema::{Effect, Field, Kind, Reader, Shape};

/// Returns the reference of every kind and field, as Markdown.
pub fn reference_markdown() -> String {
    let mut page = String::from(
        "# Configuration reference\n\n\
         Generated from the table that documents are checked against; do not edit.\n\n\
         Files hold Kubernetes-style YAML documents (or JSON). A field that is not listed here is an error. \
         *Later*: the field is checked, and a warning says that nothing comes of it yet. *Unused*: the field \
         means nothing outside a cluster, and is passed over. Durations are written `1.5s`, `100ms`, `1h30m`.\n\n\
         | kind | apiVersion |\n|---|---|\n",
    );
    for kind in KINDS {
        let _ = writeln!(
            page,
            "| [{}](#{}) | {} |",
            kind.name,
            anchor(kind),
            versions(kind)
        );
    }
    for kind in KINDS {
        let _ = write!(
            page,
            "\n## {}\n\n{}: {}\n",
            title(kind),
            versions(kind),
            kind.doc
        );
        if kind.reader == Reader::None {
            continue;
        }
        page.push_str("\n| field | type | default | |\n|---|---|---|---|\n");
        rows(kind.fields, "", &mut page);
    }
    page
}

fn title(kind: &Kind) -> String {
    if kind.group.is_empty() {
        kind.name.to_owned()
    } else {
        format!("{} ({})", kind.name, kind.group)
    }
}

/// Returns the anchor that GitHub makes from the title.
fn anchor(kind: &Kind) -> String {
    title(kind)
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_ascii_alphanumeric() => Some(c),
            _ => None,
        })
        .collect()
}

fn versions(kind: &Kind) -> String {
    let names: Vec<String> = kind
        .versions
        .iter()
        .map(|version| match kind.group {
            "" => format!("`{version}`"),
            group => format!("`{group}/{version}`"),
        })
        .collect();
    names.join(", ")
}

fn rows(fields: &[Field], path: &str, page: &mut String) {
    for field in fields {
        let here = format!("{path}{}", field.name);
        let shape = field.shape.describe().replace('|', "\\|");
        let default = match (field.required, field.default) {
            (true, _) => "*required*",
            (false, default) => default,
        };
        let effect = match field.effect {
            Effect::Enforced => "",
            Effect::Later => "*Later.* ",
            Effect::Unused => "*Unused.* ",
        };
        let secret = if field.secret {
            " It is never shown."
        } else {
            ""
        };
        let _ = writeln!(
            page,
            "| `{here}` | {shape} | {default} | {effect}{}{secret} |",
            field.doc
        );
        if field.effect == Effect::Unused {
            continue;
        }
        below(field.shape, &here, page);
    }
}

/// Writes the fields of the value at a path.
fn below(shape: &Shape, here: &str, page: &mut String) {
    match shape {
        Shape::ListOr(item, fields) => {
            below(item, &format!("{here}[]"), page);
            rows(fields, &format!("{here}."), page);
        }
        Shape::List(item) | Shape::Map(item) => {
            below(item, &format!("{here}{}", shape.suffix()), page);
        }
        other => rows(other.fields(), &format!("{here}."), page),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_kind_and_nested_fields() {
        let page = reference_markdown();
        for kind in KINDS {
            assert!(
                page.contains(&format!("\n## {}\n", title(kind))),
                "{}",
                kind.name
            );
        }
        assert!(page.contains("| `spec.routes[].match.attributes.<name>.not.range.start` |"));
        assert!(page.contains("| `spec.routes[].requestMutation[].key` |"));
        assert!(page.contains("| `spec.routes[].requestMutation.remove` |"));
        let descriptors = "| `spec.globalRateLimit.descriptors[]";
        assert!(page.contains(&format!("{descriptors}[].attribute`")));
        assert!(page.contains(&format!("{descriptors}.property`")));
        assert!(page.contains("(#metarouter-meltemiio)"));
    }

    #[test]
    fn fields_have_unique_names_and_docs() {
        fn walk(fields: &[Field], path: &str) {
            for (at, field) in fields.iter().enumerate() {
                let path = format!("{path}.{}", field.name);
                assert!(!field.doc.is_empty(), "{path}");
                assert!(
                    fields
                        .iter()
                        .skip(at + 1)
                        .all(|other| other.name != field.name),
                    "{path}"
                );
                walk(field.shape.fields(), &path);
            }
        }
        for kind in KINDS {
            walk(kind.fields, kind.name);
        }
    }
}
