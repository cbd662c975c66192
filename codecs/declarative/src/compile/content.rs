//! The trust of authorization in attributes: entries that occur twice, and contents that contradict
//! the header.

use meltemi_frame::{Interest, KeySpec, ValueSet};

use super::Compiler;
use super::metadata::{interest, section_of, text_or};
use crate::description::{Attribute, On};
use crate::plan::{Content, Variant};

impl Compiler<'_> {
    pub(super) fn spec(attribute: &Attribute) -> KeySpec {
        let depth = interest(attribute.interest);
        let from_entry = !attribute.entry.is_empty();
        let name = attribute.name.clone();
        let mut key = KeySpec::named(name, text_or(&attribute.doc, "as described")).at(depth);
        key.request = attribute.on != On::Responses;
        key.response = attribute.on != On::Requests;
        if attribute.content.is_some() {
            key.authoritative = Interest::Body;
        }
        key.blind = match (&attribute.content, from_entry) {
            (Some(_), _) => {
                "its entry comes twice with two values, or the content says something else or cannot be read"
            }
            (None, true) => "its entry comes twice with two values",
            (None, false) => "",
        }
        .into();
        if !attribute.values.is_empty() {
            let words = attribute.values.values().map(|word| word.clone().into());
            key.values = ValueSet::WordsOrNumbers(words.collect());
        }
        key
    }

    /// Returns the position of the attribute in the content, in messages of this variant.
    pub(super) fn content(
        &mut self,
        path: &str,
        attribute: &Attribute,
        at: usize,
        variant: &Variant,
    ) -> Option<Content> {
        let content = attribute.content.as_ref()?;
        let path = format!("{path}.content");
        if attribute.entry.is_empty() {
            let problem = "only an entry can be repeated by the content";
            self.problems.add(
                &path,
                &attribute.name,
                problem,
                "give `entry`, or leave it out",
            );
            return None;
        }
        // Messages without the section do not have the attribute in their content.
        let section = section_of(variant, &content.section)?;
        let class_section = match &content.class_section {
            Some(name) => {
                let found = section_of(variant, name);
                if found.is_none() {
                    let problem = "the variant has no such section";
                    let path = format!("{path}.classSection");
                    self.problems.add(path, name, problem, "correct the name");
                }
                Some(found?)
            }
            None => None,
        };
        let when = self.when(&format!("{path}.when"), at, &content.when);
        let entry_when = self.when(&format!("{path}.entryWhen"), at, &content.entry_when);
        Some(Content {
            section,
            class_section,
            class: content.class.as_bytes().into(),
            field: content.field.as_bytes().into(),
            when,
            entry_when: (!entry_when.is_empty()).then_some(entry_when),
        })
    }
}
