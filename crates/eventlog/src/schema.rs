//! The schema of the log's lines, for programs: JSON Schema, draft 2020-12.

use std::fmt::Write;

use crate::field::{Field, Shape};
use crate::kind::{Described, Kind};

/// The whole schema, as `docs/events.schema.json` holds it.
pub fn schema() -> String {
    let mut out = String::from(HEAD);
    for (n, kind) in Kind::all().enumerate() {
        out.push_str(if n == 0 { "\n" } else { ",\n" });
        kind_schema(&mut out, kind.described());
    }
    out.push_str("\n  ],\n  \"$defs\": {");
    for (n, field) in Field::ALL.into_iter().enumerate() {
        out.push_str(if n == 0 { "\n" } else { ",\n" });
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "    \"{}\": {{ {}, \"description\": {:?} }}",
            field.key(),
            shape_schema(field.shape()),
            field.meaning()
        );
    }
    out.push_str("\n  }\n}\n");
    out
}

const HEAD: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "A line of Ringpost's event log",
  "type": "object",
  "oneOf": ["#;

fn kind_schema(out: &mut String, kind: &Described) {
    let _ = write!(
        out,
        "    {{\n      \"title\": \"{}\",\n      \"description\": {:?},\n      \"properties\": {{",
        kind.word, kind.meaning
    );
    for (n, field) in kind.always().chain(kind.perhaps()).enumerate() {
        out.push_str(if n == 0 { "\n" } else { ",\n" });
        let key = field.key();
        let _ = match field {
            Field::Event => write!(out, "        \"event\": {{ \"const\": \"{}\" }}", kind.word),
            _ => write!(out, "        \"{key}\": {{ \"$ref\": \"#/$defs/{key}\" }}"),
        };
    }
    let required: Vec<String> = kind.always().map(|field| format!("\"{}\"", field.key())).collect();
    let _ = write!(
        out,
        "\n      }},\n      \"required\": [{}],\n      \"additionalProperties\": false\n    }}",
        required.join(", ")
    );
}

fn shape_schema(shape: Shape) -> String {
    let pattern = |pattern: &str| format!("\"type\": \"string\", \"pattern\": {pattern:?}");
    match shape {
        Shape::Text => "\"type\": \"string\"".into(),
        Shape::Time => {
            pattern(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$")
        }
        Shape::Id => pattern("^[0-9a-hjkmnp-tv-z]{13}$"),
        Shape::Session => pattern("^[0-9a-f]{8}-[0-9]+-[0-9]+$"),
        Shape::Status => pattern(r"^[245]\.[0-9]{1,3}\.[0-9]{1,3}$"),
        Shape::Number => "\"type\": \"integer\", \"minimum\": 0".into(),
        Shape::Flag => "\"const\": true".into(),
        Shape::Word(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
            format!("\"enum\": [{}]", words.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_json_and_speaks_of_every_kind_and_field() {
        let schema: serde_json::Value = serde_json::from_str(&schema()).unwrap();
        let kinds = schema["oneOf"].as_array().unwrap();
        assert_eq!(kinds.len(), Kind::all().count());
        for field in Field::ALL {
            assert_eq!(schema["$defs"][field.key()]["description"], field.meaning());
        }
        let deferred = kinds.iter().find(|kind| kind["title"] == "deferred").unwrap();
        assert_eq!(deferred["properties"]["event"]["const"], "deferred");
        assert!(deferred["required"].as_array().unwrap().contains(&"status".into()));
        assert_eq!(deferred["properties"]["next"]["$ref"], "#/$defs/next");
    }
}
