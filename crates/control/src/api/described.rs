//! The description of the control socket for programs that read OpenAPI:
//! `openapi.json`, held against the table of endpoints by the tests here, and
//! against the daemon's answers by a story.
//!
//! Never read by the daemon itself.

/// The description, as OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("../../openapi.json");

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::api::ENDPOINTS;

    fn description() -> Value {
        serde_json::from_str(OPENAPI).expect("the description is JSON")
    }

    /// Shows: S2.27
    #[test]
    fn what_is_answered_is_described_and_nothing_else_is() {
        let description = description();
        let paths = description["paths"].as_object().expect("paths by name");
        for endpoint in ENDPOINTS {
            let method = endpoint.method.to_ascii_lowercase();
            let described = &description["paths"][endpoint.path][&method];
            let (method, path) = (endpoint.method, endpoint.path);
            assert!(
                described.is_object(),
                "describe {method} {path} in crates/control/openapi.json"
            );
        }
        for (path, methods) in paths {
            for method in methods.as_object().expect("methods by name").keys() {
                let known = ENDPOINTS
                    .iter()
                    .any(|e| e.path == path && e.method.eq_ignore_ascii_case(method));
                assert!(known, "{method} {path} is described and not answered");
            }
        }
    }

    /// Each reference leads somewhere, and each schema is referred to.
    #[test]
    fn references_lead_to_schemas_that_are_needed() {
        let description = description();
        let schemas = description["components"]["schemas"].as_object().expect("schemas by name");
        let mut seen = Vec::new();
        references(&description, &mut seen);
        for name in &seen {
            assert!(schemas.contains_key(name), "{name} is referred to and not there");
        }
        for name in schemas.keys() {
            assert!(seen.contains(name), "{name} is there and not referred to");
        }
    }

    fn references(value: &Value, into: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(to)) = map.get("$ref") {
                    let name = to.strip_prefix("#/components/schemas/").expect("within the file");
                    into.push(name.to_owned());
                }
                map.values().for_each(|value| references(value, into));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, into)),
            _ => {}
        }
    }
}
