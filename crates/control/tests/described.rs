//! What the description of the control socket allows is taken: requests made
//! from its schemas at random are read, each of them.

use std::cell::Cell;

use control::Request;
use proptest::prelude::*;
use proptest::string::string_regex;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};

/// The description, as OpenAPI 3.1.
const OPENAPI: &str = include_str!("../openapi.json");
/// Requests of each kind.
const CASES: u32 = 100;

/// Values that fit a schema.
///
/// # Panics
/// A schema says what is not known here.
fn fitting(all: &Value, schema: &Value) -> BoxedStrategy<Value> {
    if let Some(to) = schema["$ref"].as_str() {
        let name = to.rsplit('/').next().unwrap_or_default();
        return fitting(all, &all["components"]["schemas"][name]);
    }
    if let Some(several) = schema["oneOf"].as_array() {
        let several: Vec<_> = several.iter().map(|one| fitting(all, one)).collect();
        return proptest::strategy::Union::new(several).boxed();
    }
    if let Some(words) = schema["enum"].as_array() {
        return proptest::sample::select(words.clone()).boxed();
    }
    match &schema["type"] {
        Value::Array(types) => {
            let of = |one: &Value| {
                let mut narrowed = schema.clone();
                narrowed["type"] = one.clone();
                fitting(all, &narrowed)
            };
            proptest::strategy::Union::new(types.iter().map(of).collect::<Vec<_>>()).boxed()
        }
        kind => match kind.as_str().unwrap_or_default() {
            "string" => text(schema).prop_map(Value::String).boxed(),
            "boolean" => any::<bool>().prop_map(Value::Bool).boxed(),
            "null" => Just(Value::Null).boxed(),
            "integer" => {
                let bound = |name: &str, other| schema[name].as_u64().unwrap_or(other);
                (bound("minimum", 0)..=bound("maximum", u64::MAX >> 1))
                    .prop_map(Value::from)
                    .boxed()
            }
            "array" => {
                let bound = |name: &str, other| schema[name].as_u64().unwrap_or(other) as usize;
                let counts = bound("minItems", 0)..=bound("maxItems", 3).min(3);
                let items = fitting(all, &schema["items"]);
                proptest::collection::vec(items, counts).prop_map(Value::Array).boxed()
            }
            "object" => object(all, schema),
            other => panic!("there is no type {other} in {schema}"),
        },
    }
}

/// Texts of a form.
fn text(schema: &Value) -> BoxedStrategy<String> {
    let form = match (schema["format"].as_str(), schema["pattern"].as_str()) {
        (Some("hostname"), _) => "([a-z0-9]{1,9}(-[a-z0-9]{1,9})?\\.){1,4}[a-z]{2,9}",
        (Some("email"), _) => "[a-z0-9]{1,9}(\\.[a-z+]{1,9})?@([a-z0-9]{1,9}\\.){1,3}[a-z]{2,9}",
        (Some("date-time"), _) => "20[3-9][0-9]-0[1-9]-1[0-9]T[01][0-9]:[0-5][0-9]:[0-5][0-9]Z",
        (Some("socket"), _) => {
            "192\\.0\\.2\\.[1-9][0-9]?:[1-9][0-9]{0,3}|\\[2001:db8::[1-9a-f]\\]:25"
        }
        (Some(other), _) => panic!("there is no form {other}"),
        (None, Some(pattern)) => pattern,
        (None, None) => "[a-zA-Z0-9<>&%=+ ä\"\\\\.*@-]{0,20}",
    };
    // The whole text is of the form: what anchors say of a search.
    let form = form.replace(['^', '$'], "");
    string_regex(&form).expect("a pattern of the description").boxed()
}

/// Objects with what they must have, and some of the rest.
fn object(all: &Value, schema: &Value) -> BoxedStrategy<Value> {
    let names = |list: &Value| -> Vec<String> {
        list.as_array()
            .into_iter()
            .flatten()
            .filter_map(|it| it.as_str().map(String::from))
            .collect()
    };
    let required = names(&schema["required"]);
    let sets: Vec<Vec<String>> = match schema["anyOf"].as_array() {
        Some(several) => several.iter().map(|one| names(&one["required"])).collect(),
        None => vec![Vec::new()],
    };
    let properties = schema["properties"].as_object().cloned().unwrap_or_default();
    let members: Vec<_> = properties
        .iter()
        .map(|(name, schema)| (Just(name.clone()), any::<bool>(), fitting(all, schema)))
        .collect();
    let further = &schema["additionalProperties"];
    let more = if further.is_object() { fitting(all, further) } else { Just(Value::Null).boxed() };
    let has_more = further.is_object();
    (members, proptest::sample::select(sets), ("[a-z_]{1,9}", more))
        .prop_map(move |(members, set, (key, value))| {
            let wanted = |name: &String| required.contains(name) || set.contains(name);
            let mut object: Map<String, Value> = members
                .into_iter()
                .filter(|(name, taken, _)| *taken || wanted(name))
                .map(|(name, _, value)| (name, value))
                .collect();
            if has_more {
                object.insert(key, value);
            }
            Value::Object(object)
        })
        .boxed()
}

/// A value as it stands in a target, percent encoded.
fn encoded(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Parameters as one object, in a query or in the path.
fn parameters(operation: &Value, place: &str) -> Value {
    let mut schema = json!({ "type": "object", "properties": {}, "required": [] });
    for one in operation["parameters"].as_array().into_iter().flatten() {
        let Some(name) = one["name"].as_str().filter(|_| one["in"] == place) else { continue };
        schema["properties"][name] = one["schema"].clone();
        if one["required"] == true {
            schema["required"].as_array_mut().expect("it is one").push(json!(name));
        }
    }
    schema
}

/// Shows: S2.27
#[test]
fn whatever_the_description_allows_is_taken() {
    let all: Value = serde_json::from_str(OPENAPI).expect("the description is JSON");
    let (mut operations, made) = (0, Cell::new(0));
    for (path, methods) in all["paths"].as_object().expect("paths by name") {
        for (method, operation) in methods.as_object().expect("methods by name") {
            operations += 1;
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let body =
                if schema.is_object() { fitting(&all, schema) } else { Just(Value::Null).boxed() };
            let mail = &operation["requestBody"]["content"]["message/rfc822"]["schema"];
            let sends_mail = mail.is_object();
            let mail = mail["examples"][0].as_str().unwrap_or("Subject: x\r\n\r\nx\r\n");
            let part = fitting(&all, &parameters(operation, "path"));
            let query = fitting(&all, &parameters(operation, "query"));
            // A runner makes so many cases in its life.
            let mut runner = TestRunner::new(Config { cases: CASES, ..Config::default() });
            let taken = runner.run(&(part, query, body), |(part, query, body)| {
                made.set(made.get() + 1);
                let mut target = path.clone();
                for (name, value) in part.as_object().expect("it is one") {
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    target = target.replace(&format!("{{{name}}}"), &text);
                }
                let pairs = query.as_object().expect("it is one").iter();
                let pairs: Vec<_> = pairs
                    .flat_map(|(name, value)| {
                        // A list is written as one pair for each of its values.
                        let values = value.as_array().map_or(std::slice::from_ref(value), |it| it);
                        values.iter().map(move |value| format!("{name}={}", encoded(value)))
                    })
                    .collect();
                if !pairs.is_empty() {
                    target = format!("{target}?{}", pairs.join("&"));
                }
                let body = match body.is_null() {
                    true if sends_mail => mail.to_owned(),
                    true => String::new(),
                    false => body.to_string(),
                };
                let method = method.to_ascii_uppercase();
                let read = Request::parse(&method, &target, body.as_bytes());
                prop_assert!(read.is_ok(), "{method} {target} {body}: {read:?}");
                Ok(())
            });
            taken.unwrap_or_else(|refused| panic!("{refused}"));
        }
    }
    assert!(operations > 30, "only {operations}");
    assert_eq!(made.get(), operations * CASES);
}
