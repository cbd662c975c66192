//! Every mistake is told, in one go, with its place.

use serde_json::{Value, json};

use crate::Declarative;

/// A small description without a mistake.
fn good() -> Value {
    json!({
        "name": "small",
        "variants": [{
            "name": "frame",
            "magic": [{"bytes": "ab"}],
            "headerLength": 8,
            "fields": {
                "kind": {"offset": 1, "size": 1},
                "id": {"offset": 2, "size": 2},
                "length": {"offset": 4, "size": 2},
                "status": {"offset": 6, "size": 1},
            },
            "length": {"total": "length"},
            "sections": [{"name": "method", "prefix": 1}],
        }],
        "kinds": [{"kind": "request", "when": {"kind": 1}}, {"kind": "response", "when": {"kind": 2}}],
        "id": "id",
        "status": {"field": "status", "ok": 0, "reasons": {"internal": 1}},
        "attributes": [{"name": "method", "section": "method"}],
        "replies": {"failure": [{"variant": "frame", "set": {"kind": 2}}]},
    })
}

/// The paths of the mistakes that a change makes.
fn mistakes(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut value = good();
    change(&mut value);
    let errors = Declarative::from_json_value(&value).unwrap_err();
    for error in errors.as_slice() {
        assert!(
            !error.problem.is_empty() && !error.remedy.is_empty(),
            "{error}"
        );
    }
    errors
        .as_slice()
        .iter()
        .map(|error| error.path.clone())
        .collect()
}

#[test]
fn the_small_description_is_good() {
    Declarative::from_json_value(&good()).unwrap();
}

#[test]
fn all_mistakes_are_told_at_once() {
    let paths = mistakes(|value| {
        value["name"] = json!("Small One");
        value["variants"][0]["fields"]["id"]["offset"] = json!(7);
        value["variants"][0]["length"]["total"] = json!("lenght");
        value["kinds"][0]["when"] = json!({"knid": 1});
        value["replies"]["failure"][0]["set"] = json!({"kind": 2, "code": 7});
    });
    assert_eq!(
        paths,
        [
            "name",
            "variants[0].fields.id.offset",
            "variants[0].length.total",
            "kinds[0].when.knid",
            "id",
            "replies.failure[0].set.code",
        ]
    );
}

#[test]
fn mistakes_are_told_where_they_are() {
    type Change = fn(&mut Value);
    let changes: &[(&str, Change)] = &[
        ("variants", |v| v["variants"] = json!([])),
        ("variants[1].name", |v| {
            let same = v["variants"][0].clone();
            v["variants"].as_array_mut().unwrap().push(same);
        }),
        ("variants[0].headerLength", |v| {
            v["variants"][0]
                .as_object_mut()
                .unwrap()
                .remove("headerLength");
        }),
        ("variants[0].fields.x", |v| {
            v["variants"][0]["fields"]["x"] = json!({"offset": 3, "size": 2});
        }),
        ("variants[0].fields.x.size", |v| {
            v["variants"][0]["fields"]["x"] = json!({"offset": 7, "size": 9});
        }),
        ("variants[0].fields.x.mask", |v| {
            v["variants"][0]["fields"]["x"] = json!({"offset": 7, "size": 1, "mask": 5});
        }),
        ("variants[0].fields.x", |v| {
            v["variants"][0]["fields"]["x"] = json!({"word": 1});
        }),
        ("variants[0].magic[0].bytes", |v| {
            v["variants"][0]["magic"][0]["bytes"] = json!("xy");
        }),
        ("variants[0].magic[0].offset", |v| {
            v["variants"][0]["magic"][0]["offset"] = json!(8);
        }),
        ("variants[0].magic[0]", |v| {
            v["variants"][0]["magic"][0]["bytes"] = json!(["ab", "ab cd"]);
        }),
        ("variants[0].length", |v| {
            v["variants"][0]["length"] = json!({"sum": ["length"], "total": "length"});
        }),
        ("variants[0].sections[0]", |v| {
            v["variants"][0]["sections"] = json!([{"name": "method"}, {"name": "rest"}]);
        }),
        ("variants[0].sections[0].prefix", |v| {
            v["variants"][0]["sections"][0]["prefix"] = json!(3);
        }),
        ("variants[0].sections[0].entries.keyLength", |v| {
            v["variants"][0]["sections"][0]["entries"] = json!({"keyLength": 3, "valueLength": 1});
        }),
        ("variants[0].trailer", |v| {
            v["variants"][0]["trailer"] = json!({});
        }),
        ("variants[0].sections[0].when.z", |v| {
            v["variants"][0]["sections"][0]["when"] = json!({"z": 1});
        }),
        ("kinds", |v| v["kinds"] = json!([{"kind": "response"}])),
        ("kinds[0].when.kind", |v| {
            v["kinds"][0]["when"]["kind"] = json!(256);
        }),
        ("kinds[0].when.kind", |v| {
            v["kinds"][0]["when"]["kind"] = json!("one");
        }),
        ("sharing", |v| v["sharing"] = json!("pipelined")),
        ("replyOrder", |v| {
            v.as_object_mut().unwrap().remove("id");
            v["replyOrder"] = json!("any");
        }),
        ("timeout.field", |v| v["timeout"] = json!({"field": "wait"})),
        ("status.faults.tired", |v| {
            v["status"]["faults"] = json!({"tired": 3});
        }),
        ("attributes[0]", |v| {
            v["attributes"][0]["field"] = json!("kind");
        }),
        ("attributes[0].section", |v| {
            v["attributes"][0]["section"] = json!("body");
        }),
        ("attributes[0].entry", |v| {
            v["attributes"][0] = json!({"name": "a", "entry": "a"});
        }),
        ("attributes[0].name", |v| {
            v["attributes"][0]["name"] = json!("Method");
        }),
        ("attributes[1].name", |v| {
            let same = v["attributes"][0].clone();
            v["attributes"].as_array_mut().unwrap().push(same);
        }),
        ("open.section", |v| {
            v["open"] = json!({"prefix": "h.", "section": "headers"});
        }),
        ("variants[0].sections[0].entries", |v| {
            v["open"] = json!({"prefix": "h.", "section": "method"});
        }),
        ("operation", |v| v["operation"] = json!("verb")),
        ("replies.failure[0].variant", |v| {
            v["replies"]["failure"][0]["variant"] = json!("frme");
        }),
        ("replies.failure[0].to[0]", |v| {
            v["replies"]["failure"][0]["to"] = json!("frme");
        }),
        ("replies.failure[0].copy.kind", |v| {
            v["replies"]["failure"][0]["copy"] = json!({"kind": "knd"});
        }),
        ("replies.failure[0].text", |v| {
            v["replies"]["failure"][0]["text"] = json!("words");
        }),
        // Sound, but not understood by a client.
        ("replies.failure[0]", |v| {
            v["replies"]["failure"][0]["set"]["kind"] = json!(1);
        }),
        ("replies.failure[0]", |v| {
            v["status"]["reasons"]["internal"] = json!(0);
        }),
        ("replies.ping[0]", |v| {
            v["replies"]["ping"] = json!([{"variant": "frame", "set": {"kind": 1}}]);
        }),
        ("delimiter.end", |v| v["delimiter"] = json!({"end": ""})),
        ("variants[0].fields.id", |v| {
            v["delimiter"] = json!({"end": "\n"});
        }),
    ];
    for (path, change) in changes {
        let paths = mistakes(change);
        assert!(
            paths.iter().any(|found| found == path),
            "{path} is not among {paths:?}"
        );
    }
}

#[test]
fn what_has_not_the_shape_is_told_with_its_path() {
    assert_eq!(
        mistakes(|v| v["variants"][0]["fields"]["id"]["ofset"] = json!(2)),
        ["variants[0].fields.id.ofset"]
    );
    assert_eq!(
        mistakes(|v| v["byteOrder"] = json!("middle")),
        ["byteOrder"]
    );
    assert_eq!(
        mistakes(|v| v["kinds"][1]["when"]["kind"] = json!(1.5)),
        ["kinds[1].when.kind"]
    );
    let error = Declarative::from_yaml("name: x\nvariants: 7").unwrap_err();
    assert_eq!(error.as_slice().len(), 1);
}

#[test]
fn a_mistake_reads_as_a_sentence() {
    let mut value = good();
    value["variants"][0]["length"]["total"] = json!("lenght");
    let text = Declarative::from_json_value(&value)
        .unwrap_err()
        .to_string();
    assert_eq!(
        text,
        "`variants[0].length.total` is `lenght`: the variant has no such field; \
         use one of its fields: id, kind, length, status"
    );
}
