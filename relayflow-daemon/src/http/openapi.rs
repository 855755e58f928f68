//! `/openapi.json`: made from the table of routes and the wire types, so it cannot say anything else.

use http::Method;
use relayflow_core::api::{Problem, Total};
use serde_json::{Map, Value, json};

use super::json::Json;
use super::schema::Schema;
use super::{Gives, Route, routes};

pub(crate) async fn document() -> Json<Value> {
    Json::ok(whole())
}

/// The document, for the command line's own reference.
pub(crate) fn whole() -> Value {
    describe(&routes())
}

fn describe(routes: &[Route]) -> Value {
    let mut components = Map::new();
    let mut paths = Map::new();
    let problem = keep(&mut components, &Schema::of::<Problem>());
    let total = keep(&mut components, &Schema::of::<Total>());
    for route in routes {
        let operation = operation(route, &mut components, &problem, &total);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "RelayFlow operator API",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn operation(
    route: &Route,
    components: &mut Map<String, Value>,
    problem: &Value,
    total: &Value,
) -> Value {
    let (media_type, schema) = match &route.gives {
        Gives::Document(schema) => ("application/json", keep(components, schema)),
        Gives::List(schema) => ("application/json", list(&keep(components, schema), total)),
        Gives::Other(media_type) => (*media_type, json!({})),
    };
    let mut responses = Map::new();
    responses.insert(
        route.status.to_string(),
        json!({ "description": "ok", "content": { media_type: { "schema": schema } } }),
    );
    responses.insert(
        "default".to_owned(),
        json!({
            "description": "not done; `code` says why",
            "content": { "application/problem+json": { "schema": problem } },
        }),
    );
    let mut operation = json!({
        "summary": route.about,
        "operationId": operation_id(&route.method, route.path),
        "parameters": parameters(route),
        "responses": responses,
        "security": if route.needs.is_some() { json!([{ "token": [] }]) } else { json!([]) },
    });
    if let Some(role) = route.needs {
        operation["x-role"] = json!(super::auth::role_name(role));
    }
    if let Some(schema) = &route.takes {
        let schema = keep(components, schema);
        operation["requestBody"] =
            json!({ "content": { "application/json": { "schema": schema } } });
    }
    operation
}

/// Adds the named types to the components, and gives what refers to the first.
fn keep(components: &mut Map<String, Value>, schema: &Schema) -> Value {
    for (name, component) in &schema.components {
        components.insert(name.clone(), component.clone());
    }
    schema.root.clone()
}

fn list(item: &Value, total: &Value) -> Value {
    json!({
        "type": "object",
        "required": ["v", "kind", "items"],
        "properties": {
            "v": { "type": "integer" },
            "kind": { "type": "string" },
            "items": { "type": "array", "items": item },
            "next_cursor": { "type": ["string", "null"] },
            "total": { "anyOf": [total, { "type": "null" }] },
            "searched_to": { "type": "string", "format": "date-time" },
        },
    })
}

fn parameters(route: &Route) -> Vec<Value> {
    let in_path = route.path.split('/').filter_map(|part| {
        let name = part.strip_prefix('{')?.strip_suffix('}')?;
        Some(json!({
            "name": name, "in": "path", "required": true, "schema": { "type": "string" },
        }))
    });
    let in_query = route.params.iter().map(|name| {
        let kind = match *name {
            "limit" | "after" => "integer",
            "headers" => "boolean",
            _ => "string",
        };
        json!({ "name": name, "in": "query", "schema": { "type": kind } })
    });
    in_path.chain(in_query).collect()
}

fn operation_id(method: &Method, path: &str) -> String {
    let words = path.trim_start_matches("/api/v1").split(['/', '-', '.']);
    let words = words.map(|word| word.trim_matches(['{', '}'])).filter(|word| !word.is_empty());
    let verb = method.as_str().to_ascii_lowercase();
    std::iter::once(verb.as_str()).chain(words).collect::<Vec<_>>().join("_")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_document_has_every_route_once_and_no_loose_ends() {
        let routes = routes();
        let document = describe(&routes);
        let mut ids = BTreeSet::new();
        for route in &routes {
            let method = route.method.as_str().to_ascii_lowercase();
            let operation = &document["paths"][route.path][&method];
            assert!(operation.is_object(), "{method} {}", route.path);
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()));
            assert_eq!(operation["requestBody"].is_object(), route.takes.is_some());
        }
        let described = document["paths"].as_object().unwrap().values();
        let described: usize = described.map(|path| path.as_object().unwrap().len()).sum();
        assert_eq!(described, routes.len());

        let text = document.to_string();
        for reference in text.split("\"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
        }
    }
}
