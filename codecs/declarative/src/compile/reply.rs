//! Templates of the proxy's own messages.

use meltemi_frame::Reason;

use super::Compiler;
use super::fields::Value;
use crate::description::{self, Reasons, Scalar};
use crate::number::Number;
use crate::plan::{Copied, Field, MAX_WORDS, Template, Variant, Word};

impl Compiler<'_> {
    pub(super) fn templates(
        &mut self,
        what: &str,
        templates: &[description::Template],
        variants: &[Variant],
    ) -> Box<[Template]> {
        let mut all = Vec::new();
        for (at, template) in templates.iter().enumerate() {
            all.extend(self.template(&format!("replies.{what}[{at}]"), template, variants));
        }
        all.into()
    }

    fn template(
        &mut self,
        path: &str,
        template: &description::Template,
        variants: &[Variant],
    ) -> Option<Template> {
        let variant = self.variant(&format!("{path}.variant"), &template.variant)?;
        let mut serves = vec![template.to.is_empty(); variants.len()];
        for (n, name) in template.to.0.iter().enumerate() {
            let at = self.variant(&format!("{path}.to[{n}]"), name)?;
            if let Some(serves) = serves.get_mut(at) {
                *serves = true;
            }
        }
        let line = self.all.delimiter.is_some();
        let mut compiled = Template {
            variant,
            serves: serves.into(),
            base: Box::default(),
            words: Box::default(),
            copies: Box::default(),
            reasons: None,
            text: None,
        };
        if line {
            compiled.words = self.words(path, variant, template)?;
        } else {
            self.binary(path, template, variants.get(variant)?, &mut compiled)?;
        }
        Some(compiled)
    }

    fn variant(&mut self, path: &str, name: &str) -> Option<usize> {
        let found = self
            .all
            .variants
            .iter()
            .position(|variant| variant.name == name);
        if found.is_none() {
            let names: Vec<&str> = self
                .all
                .variants
                .iter()
                .map(|variant| &*variant.name)
                .collect();
            self.problems.add(
                path,
                name,
                "there is no such variant",
                format!("use one of: {}", names.join(", ")),
            );
        }
        found
    }

    /// Returns the field of the template's own variant.
    fn own(&mut self, path: &str, variant: usize, name: &str) -> Option<Field> {
        let fields = self.fields.get(variant);
        let found = fields.and_then(|fields| fields.get(name)).copied();
        if found.is_none() {
            let names: Vec<&str> = fields
                .into_iter()
                .flat_map(|fields| fields.keys().copied())
                .collect();
            let remedy = format!("use one of: {}", names.join(", "));
            self.problems
                .add(path, name, "the variant has no such field", remedy);
        }
        found
    }

    fn binary(
        &mut self,
        path: &str,
        template: &description::Template,
        variant: &Variant,
        compiled: &mut Template,
    ) -> Option<()> {
        let at = compiled.variant;
        let mut base = vec![0; variant.header];
        // Unset digits are zeros too, and unset text is blank.
        for field in self
            .fields
            .get(at)
            .into_iter()
            .flat_map(|fields| fields.values())
        {
            match field {
                Field::Number(number) => number.write(&mut base, 0),
                Field::Text { at, size } => fill(&mut base, *at, *size, b""),
                Field::Word { .. } => {}
            }
        }
        for pattern in &variant.magic {
            if let (Some(bytes), Some(first)) =
                (base.get_mut(pattern.at..pattern.end()), pattern.any.first())
            {
                bytes.copy_from_slice(first);
            }
        }
        for (name, value) in &template.set {
            let path = format!("{path}.set.{name}");
            let field = self.own(&path, at, name)?;
            match (self.value(&path, field, value)?, field) {
                (Value::Number(value), Field::Number(number)) => number.write(&mut base, value),
                (Value::Text(text), Field::Text { at, size }) => fill(&mut base, at, size, &text),
                _ => {}
            }
        }
        compiled.base = base.into();
        let mut copies = Vec::new();
        for (name, from) in &template.copy {
            let path = format!("{path}.copy.{name}");
            let own = self.own(&path, at, name)?;
            let sources = self.sources_of(&path, from, &compiled.serves)?;
            let numbers: Option<Box<[Option<Number>]>> = sources
                .iter()
                .map(|source| source.map_or(Some(None), |field| as_number(field).map(Some)))
                .collect();
            match (as_number(own), numbers) {
                (Some(own), Some(from)) => copies.push(Copied { own, from }),
                _ => {
                    let problem = "only numbers can be copied";
                    self.problems
                        .add(path, from, problem, "use fields with numbers on both sides");
                }
            }
        }
        compiled.copies = copies.into();
        if let Some((field, reasons)) = self.reasons(path, at)
            && let Some(number) = as_number(field)
        {
            let values: Option<Box<[i64]>> = reasons
                .into_iter()
                .map(|value| {
                    if let Value::Number(number) = value {
                        Some(number)
                    } else {
                        None
                    }
                })
                .collect();
            compiled.reasons = values.map(|values| (number, values));
        }
        if let Some(name) = &template.text {
            compiled.text = variant
                .sections
                .iter()
                .position(|section| section.name == *name);
            let entries = |at: usize| {
                variant
                    .sections
                    .get(at)
                    .is_some_and(|section| section.entries.is_some())
            };
            if compiled.text.is_none_or(entries) {
                let problem = "the variant has no such section (or it holds entries)";
                self.problems.add(
                    format!("{path}.text"),
                    name,
                    problem,
                    "name a section that takes a text",
                );
            }
        }
        Some(())
    }

    /// Returns the field with this name in each variant that the template serves.
    fn sources_of(
        &mut self,
        path: &str,
        name: &str,
        serves: &[bool],
    ) -> Option<Box<[Option<Field>]>> {
        let fields = self.fields.iter().map(|fields| fields.get(name).copied());
        let found: Box<[Option<Field>]> = fields.collect();
        let missing = found
            .iter()
            .zip(serves)
            .position(|(field, serves)| *serves && field.is_none());
        let Some(at) = missing else {
            return Some(found);
        };
        // A template without `to` serves every message, responses too. Only requests must have the
        // field.
        if serves.iter().all(|serves| *serves) && found.iter().any(Option::is_some) {
            return Some(found);
        }
        let other = self
            .all
            .variants
            .get(at)
            .map_or("", |variant| &variant.name);
        let problem = format!("the variant `{other}`, which it answers, has no such field");
        self.problems.add(
            path,
            name,
            problem,
            "correct the name, or restrict the template with `to`",
        );
        None
    }

    /// Returns the values of the status field, in the order of [`Reason::ALL`]. For failures only.
    fn reasons(&mut self, path: &str, variant: usize) -> Option<(Field, Vec<Value>)> {
        if !path.starts_with("replies.failure") {
            return None;
        }
        let status = self.all.status.as_ref()?;
        let field = self.fields.get(variant)?.get(&*status.field).copied()?;
        let reasons = status.reasons.as_ref()?;
        let mut values = Vec::new();
        for reason in Reason::ALL {
            let (name, value) = reason_value(reasons, *reason);
            values.push(self.value(&format!("status.reasons.{name}"), field, value)?);
        }
        Some((field, values))
    }

    /// Compiles the words of a delimited message.
    fn words(
        &mut self,
        path: &str,
        variant: usize,
        template: &description::Template,
    ) -> Option<Box<[Word]>> {
        let mut words: [Option<Word>; MAX_WORDS] = [const { None }; MAX_WORDS];
        let mut put = |field: Field, word: Word| {
            if let Field::Word { index, .. } = field
                && let Some(place) = words.get_mut(index)
            {
                *place = Some(word);
            }
        };
        if let Some(id) = &self.all.id
            && let Some(field) = self
                .fields
                .get(variant)
                .and_then(|fields| fields.get(&**id))
        {
            put(*field, Word::Id);
        }
        if let Some((field, values)) = self.reasons(path, variant) {
            put(
                field,
                Word::Reason(values.into_iter().map(bytes_of).collect()),
            );
        }
        for (name, value) in &template.set {
            let path = format!("{path}.set.{name}");
            let field = self.own(&path, variant, name)?;
            put(
                field,
                Word::Fixed(bytes_of(self.value(&path, field, value)?)),
            );
        }
        let serves: Vec<bool> = match template.to.is_empty() {
            true => vec![true; self.fields.len()],
            false => self
                .all
                .variants
                .iter()
                .map(|variant| template.to.0.contains(&variant.name))
                .collect(),
        };
        for (name, from) in &template.copy {
            let path = format!("{path}.copy.{name}");
            let own = self.own(&path, variant, name)?;
            put(own, Word::Copy(self.sources_of(&path, from, &serves)?));
        }
        if let Some(name) = &template.text {
            let field = self.own(&format!("{path}.text"), variant, name)?;
            put(field, Word::Text);
        }
        let count = words
            .iter()
            .rposition(Option::is_some)
            .map_or(0, |last| last + 1);
        if count == 0 || words.iter().take(count).any(Option::is_none) {
            let problem = format!("one of its {count} words is missing");
            self.problems.add(
                path,
                &template.variant,
                problem,
                "set every word up to the last with `set`, `copy` or `text`",
            );
            return None;
        }
        Some(words.into_iter().flatten().collect())
    }

    /// Returns the number of request bytes that a receipt stores for all copies.
    pub(super) fn keep(&self) -> usize {
        let all = &self.all.replies;
        let templates = all.failure.iter().chain(&all.pong);
        let copied = templates.flat_map(|template| template.copy.values());
        let mut keep = 0;
        for name in copied {
            for fields in &self.fields {
                match fields.get(&**name) {
                    Some(Field::Word { .. }) => return usize::MAX,
                    Some(field) => keep = keep.max(field.end()),
                    None => {}
                }
            }
        }
        keep
    }
}

const fn as_number(field: Field) -> Option<Number> {
    if let Field::Number(number) = field {
        Some(number)
    } else {
        None
    }
}

fn bytes_of(value: Value) -> Box<[u8]> {
    match value {
        Value::Number(number) => number.to_string().into_bytes().into(),
        Value::Text(text) => text,
    }
}

/// Writes text to a fixed field, padded with blanks.
fn fill(base: &mut [u8], at: usize, size: usize, text: &[u8]) {
    let filled = text.iter().copied().chain(std::iter::repeat(b' '));
    for (byte, new) in base.iter_mut().skip(at).take(size).zip(filled) {
        *byte = new;
    }
}

fn reason_value(reasons: &Reasons, reason: Reason) -> (&'static str, &Scalar) {
    let (name, value) = match reason {
        Reason::BadRequest => ("badRequest", &reasons.bad_request),
        Reason::NotFound => ("notFound", &reasons.not_found),
        Reason::Unavailable => ("unavailable", &reasons.unavailable),
        Reason::Timeout => ("timeout", &reasons.timeout),
        Reason::Overloaded => ("overloaded", &reasons.overloaded),
        Reason::Denied => ("denied", &reasons.denied),
        Reason::Internal => ("internal", &None),
    };
    match value {
        Some(value) => (name, value),
        None => ("internal", &reasons.internal),
    }
}
