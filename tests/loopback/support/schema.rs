//! Holds JSON against the schemas of an OpenAPI description and of the event
//! log: types, required and further properties, items, words, references.
//!
//! Never passes over a keyword that it does not know.

use serde_json::Value;

/// What does not fit, each with its path; nothing where everything fits.
///
/// # Panics
/// A schema says something that is not known here.
pub fn misfits(description: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    hold(description, schema, value, "", &mut found);
    found
}

fn hold(all: &Value, schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let rules = schema.as_object().expect("a schema is an object");
    for (rule, wanted) in rules {
        let fits = match rule.as_str() {
            "$ref" => {
                let to = wanted.as_str().and_then(|to| to.strip_prefix('#'));
                let to = to.expect("a reference leads into the same file");
                let named = all.pointer(to).expect("a reference leads somewhere");
                hold(all, named, value, path, found);
                true
            }
            "const" => wanted == value,
            "pattern" => value.as_str().is_none_or(|text| follows(text, wanted)),
            "type" => match wanted {
                Value::Array(types) => types.iter().any(|one| is_of(one, value)),
                one => is_of(one, value),
            },
            "enum" => wanted.as_array().is_some_and(|words| words.contains(value)),
            "minimum" => value.as_i64().is_none_or(|n| Some(n) >= wanted.as_i64()),
            "oneOf" => {
                let all_of = |one: &&Value| misfits(all, one, value).is_empty();
                wanted.as_array().is_some_and(|several| several.iter().filter(all_of).count() == 1)
            }
            "required" => {
                let lacks = |name: &&Value| value.get(name.as_str().unwrap_or_default()).is_none();
                let names = wanted.as_array().into_iter().flatten();
                let missing: Vec<_> = names.filter(lacks).collect();
                !value.is_object() || missing.is_empty()
            }
            "properties" | "additionalProperties" => {
                properties(all, schema, rule, value, path, found);
                true
            }
            "items" => {
                for (place, item) in value.as_array().into_iter().flatten().enumerate() {
                    hold(all, wanted, item, &format!("{path}[{place}]"), found);
                }
                true
            }
            "title" | "description" | "maxLength" | "minItems" | "maxItems" | "default" => true,
            other => panic!("the schema says {other}, which is not known here"),
        };
        if !fits {
            found.push(format!("{path}: {value} does not fit {rule} {wanted}"));
        }
    }
}

/// Whether text follows a pattern of the event log's schema.
fn follows(text: &str, pattern: &Value) -> bool {
    let parts = |separator: char, shapes: &[(usize, usize, &str)]| {
        let parts: Vec<&str> = text.split(separator).collect();
        parts.len() == shapes.len()
            && parts.iter().zip(shapes).all(|(part, (least, most, of))| {
                (*least..=*most).contains(&part.len()) && part.chars().all(|c| of.contains(c))
            })
    };
    let digits = "0123456789";
    match pattern.as_str().expect("a pattern is text") {
        "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z$" => {
            let shape: String =
                text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            shape == "0000-00-00T00:00:00.000Z"
        }
        "^[0-9a-hjkmnp-tv-z]{13}$" => parts('|', &[(13, 13, "0123456789abcdefghjkmnpqrstvwxyz")]),
        "^[0-9a-f]{8}-[0-9]+-[0-9]+$" => {
            parts('-', &[(8, 8, "0123456789abcdef"), (1, 20, digits), (1, 20, digits)])
        }
        "^[245]\\.[0-9]{1,3}\\.[0-9]{1,3}$" => {
            parts('.', &[(1, 1, "245"), (1, 3, digits), (1, 3, digits)])
        }
        other => panic!("the schema says {other}, which is not known here"),
    }
}

fn properties(
    all: &Value,
    schema: &Value,
    rule: &str,
    value: &Value,
    path: &str,
    found: &mut Vec<String>,
) {
    for (name, item) in value.as_object().into_iter().flatten() {
        let here = format!("{path}.{name}");
        let further = &schema["additionalProperties"];
        match (schema["properties"].get(name), rule) {
            (Some(known), "properties") => hold(all, known, item, &here, found),
            (None, "additionalProperties") if further.is_object() => {
                hold(all, further, item, &here, found);
            }
            (None, "additionalProperties") if further == false => {
                found.push(format!("{here} is not described"));
            }
            _ => {}
        }
    }
}

fn is_of(kind: &Value, value: &Value) -> bool {
    match kind.as_str().expect("a type is a word") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("there is no type {other}"),
    }
}
