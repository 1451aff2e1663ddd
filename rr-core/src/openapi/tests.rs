//! Documents of described services.

use proptest::prelude::*;

use super::*;

fn document_of(description: Value) -> Result<Value, Error> {
    let mut routes = Routes::new();
    routes.describe("orders.v1", description)?;
    openapi(&routes, "Orders", "1.0.0")
}

fn of_method(method: Value) -> Result<Value, Error> {
    let mut description = json!({});
    description["methods"] = vec![method].into();
    document_of(description)
}

#[track_caller]
fn assert_refused(method: Value, text: &str) {
    let error = of_method(method).unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains(text), "{}", error.message());
    assert!(!error.hint().is_empty());
}

#[test]
fn a_router_without_descriptions_has_a_document_without_paths() {
    let document = openapi(&Router::new(), "t", "v").unwrap();
    assert_eq!(document["info"], json!({"title": "t", "version": "v"}));
    assert_eq!(document["paths"], json!({}));
}

#[test]
fn a_method_is_a_post_and_a_safe_one_a_get_as_well() {
    let method = json!({
        "target": "orders.v1.find",
        "docs": "Finds.\n\nMore.",
        "idempotency": "safe",
        "aliases": ["get"],
        "input": {"type": "integer"},
        "output": {"type": "string"},
    });
    let document = of_method(method).unwrap();
    let find = &document["paths"]["/orders.v1/find"];
    let post = &find["post"];
    assert_eq!(post["operationId"], "orders.v1.find");
    assert_eq!((&post["summary"], &post["tags"]), (&json!("Finds."), &json!(["orders.v1"])));
    assert_eq!(post["requestBody"]["required"], true);
    let schema = |body: &Value| body["content"]["application/json"]["schema"].clone();
    assert_eq!(schema(&post["requestBody"]), json!({"type": "integer"}));
    assert_eq!(schema(&post["responses"]["200"]), json!({"type": "string"}));
    let error = json!({"$ref": "#/components/schemas/rr.Error"});
    assert_eq!(schema(&post["responses"]["default"]), error);
    assert_eq!(find["get"]["operationId"], "orders.v1.find:get");
    let message = &find["get"]["parameters"][0];
    assert_eq!((&message["name"], &message["required"]), (&json!("message"), &json!(true)));
    assert_eq!(schema(message), json!({"type": "integer"}));
    assert_eq!(find["get"].get("requestBody"), None);
    assert_eq!(post.get("deprecated"), None);
    let alias = &document["paths"]["/orders.v1/get"];
    for (verb, identifier) in [("post", "orders.v1.get"), ("get", "orders.v1.get:get")] {
        assert_eq!(alias[verb]["deprecated"], true);
        assert_eq!(alias[verb]["operationId"], identifier);
    }
}

#[test]
fn a_keyed_method_takes_a_key_and_has_no_get() {
    let unit = json!({"type": "object"});
    let method = json!({"target": "orders.v1.place", "idempotency": "keyed", "input": unit});
    let document = of_method(method).unwrap();
    let place = &document["paths"]["/orders.v1/place"];
    assert_eq!(place.get("get"), None);
    let key = json!({"$ref": "#/components/parameters/idempotency-key"});
    assert!(place["post"]["parameters"].as_array().unwrap().contains(&key));
    assert_eq!(document["components"]["parameters"]["idempotency-key"]["in"], "header");
    assert_eq!(place["post"]["requestBody"]["required"], false);
    let dedup = &place["post"]["responses"]["200"]["headers"]["rr-dedup"];
    assert_eq!(*dedup, json!({"$ref": "#/components/headers/rr-dedup"}));
}

#[test]
fn other_content_types_have_no_schema_and_their_get_is_base64() {
    let method = json!({
        "target": "orders.v1.find",
        "idempotency": "safe",
        "contentTypes": ["application/x-www-form-urlencoded", "application/cbor"],
        "replyContentTypes": ["application/json", "application/cbor"],
        "input": {"type": "object", "required": ["id"]},
    });
    let document = of_method(method).unwrap();
    let find = &document["paths"]["/orders.v1/find"];
    let expected = json!({
        "application/x-www-form-urlencoded": {"schema": {"type": "object", "required": ["id"]}},
        "application/cbor": {},
    });
    assert_eq!(find["post"]["requestBody"]["content"], expected);
    let replies = &find["post"]["responses"]["200"]["content"];
    assert_eq!(*replies, json!({"application/json": {"schema": {}}, "application/cbor": {}}));
    let parameters = &find["get"]["parameters"];
    assert_eq!(
        (&parameters[1]["name"], &parameters[1]["required"]),
        (&json!("base64"), &json!(true))
    );
    let encodings = json!(["x-www-form-urlencoded", "cbor"]);
    assert_eq!(parameters[2]["schema"]["enum"], encodings);
}

#[test]
fn an_application_error_is_the_value_of_its_detail() {
    let error = json!({"type": "orders.Refused", "schema": {
        "$ref": "#/$defs/Refused", "$defs": {"Refused": {"type": "string"}},
    }});
    let find = json!({"target": "orders.v1.find", "error": error});
    let place = json!({"target": "orders.v1.place", "error": error});
    let document = document_of(json!({"methods": [find, place]})).unwrap();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let names: Vec<_> = schemas.keys().collect();
    let expected = ["Refused", "rr.Code", "rr.Detail", "rr.Error", "rr.Error.orders.Refused"];
    assert_eq!(names.len(), expected.len(), "{names:?}");
    assert!(expected.iter().all(|name| schemas.contains_key(*name)), "{names:?}");
    let detail = &schemas["rr.Error.orders.Refused"]["properties"]["details"]["items"];
    assert_eq!(detail["properties"]["type"]["const"], "orders.Refused");
    let debug = json!({"oneOf": [{"$ref": "#/components/schemas/Refused"}]});
    assert_eq!(detail["properties"]["debug"], debug);
    assert_eq!(schemas["rr.Code"]["enum"].as_array().unwrap().len(), 16);
}

#[test]
fn definitions_of_one_name_are_told_apart_and_equal_ones_shared() {
    let node = |kind: &str| {
        json!({"$ref": "#/$defs/Node", "$defs": {
            "Node": {"properties": {"leaf": {"$ref": "#/$defs/Leaf"}, "next": {"$ref": "#/$defs/Node"}}},
            "Leaf": {"type": kind},
        }})
    };
    let first =
        json!({"target": "orders.v1.a", "input": node("string"), "output": node("integer")});
    let second = json!({"target": "orders.v1.b", "input": node("integer"), "output": node("null")});
    let document = document_of(json!({"methods": [first, second]})).unwrap();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let leaf = |component: &str| {
        let node = &schemas[component]["properties"];
        assert_eq!(node["next"]["$ref"], format!("#/components/schemas/{component}"));
        let leaf = node["leaf"]["$ref"].as_str().unwrap();
        schemas[leaf.strip_prefix("#/components/schemas/").unwrap()]["type"].clone()
    };
    // `Node` is the same text in all three, but refers to another `Leaf`.
    assert_eq!(leaf("Node"), "string");
    assert_eq!(leaf("NodeOutput"), "integer");
    assert_eq!(leaf("NodeOutput2"), "null");
    assert_eq!(schemas.len(), 3 + 6);
    let reused = &document["paths"]["/orders.v1/b"]["post"]["requestBody"];
    let schema = &reused["content"]["application/json"]["schema"];
    assert_eq!(*schema, json!({"$ref": "#/components/schemas/NodeOutput"}));
}

#[test]
fn names_that_components_cannot_have_are_replaced() {
    let schema = json!({"items": {"$ref": "#/$defs/a~1b%C3%B6/items"}, "$defs": {
        "a/bö": {"items": true}, "rr.Error": {}, "": {},
    }});
    let document = of_method(json!({"target": "orders.v1.a", "input": schema})).unwrap();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for name in ["a_b_", "rr.ErrorInput", "Unnamed"] {
        assert!(schemas.contains_key(name), "{name}");
    }
    let body = &document["paths"]["/orders.v1/a"]["post"]["requestBody"]["content"];
    let reference = &body["application/json"]["schema"]["items"]["$ref"];
    assert_eq!(reference, "#/components/schemas/a_b_/items");
}

#[test]
fn what_looks_like_a_reference_in_data_or_as_a_name_is_kept() {
    let schema = json!({
        "properties": {"$ref": {"type": "string"}, "$defs": {"const": {"$ref": "#/$defs/None"}}},
        "default": {"$ref": "#/$defs/None"},
        "items": {"$ref": "https://example.com/schema#/$defs/None"},
    });
    let document = of_method(json!({"target": "orders.v1.a", "input": schema})).unwrap();
    let body = &document["paths"]["/orders.v1/a"]["post"]["requestBody"]["content"];
    assert_eq!(body["application/json"]["schema"], schema);
}

#[test]
fn malformed_descriptions_are_refused_with_a_hint() {
    let input = |schema: Value| json!({"target": "orders.v1.a", "input": schema});
    assert_refused(json!(7), "malformed description of `orders.v1`");
    assert_refused(json!({"docs": "no target"}), "target");
    assert_refused(json!({"target": "a..b"}), "empty token");
    assert_refused(json!({"target": "a.b", "aliases": ["c d"]}), "outside");
    assert_refused(json!({"target": "a.b", "aliases": ["b"]}), "described twice");
    assert_refused(json!({"target": "a.b", "timeoutMs": 1, "contentTypes": "x"}), "contentTypes");
    assert_refused(input(json!("string")), "neither an object nor a boolean");
    assert_refused(input(json!({"$defs": []})), "`$defs`");
    assert_refused(input(json!({"$ref": "#/$defs/Missing"})), "`Missing`");
    assert_refused(
        input(json!({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/B"}}})),
        "`B`",
    );
    assert_refused(input(json!({"$defs": {"A": null}})), "definition `A` is neither");
    assert_refused(input(json!({"$ref": "#"})), "within itself");
    assert_refused(input(json!({"$ref": "#/$defs/%"})), "malformed reference");
    let deep = (0..200).fold(json!({}), |schema, _| json!({ "items": schema }));
    assert_refused(input(deep.clone()), "128 levels");
    assert_refused(input(json!({"$defs": {"A": deep}})), "128 levels");
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(true)),
        Just(json!(null)),
        Just(json!({"$ref": "#/$defs/A"})),
        Just(json!({"$ref": "#/$defs/%41/x"})),
        "[#/$defsAB~%]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let name = prop_oneof![
            Just("$defs"),
            Just("$ref"),
            Just("properties"),
            Just("items"),
            Just("A"),
            Just("B")
        ];
        let name = name.prop_map(str::to_owned);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map(name, inner, 0..4)
                .prop_map(|members| members.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

proptest! {
    #[test]
    fn any_schema_makes_an_error_or_a_document_whose_references_lead_to_components(input in json(), output in json(), error in json()) {
        let method = json!({"target": "a.b", "input": input, "output": output, "error": error});
        let Ok(document) = of_method(method) else { return Ok(()) };
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let text = document.to_string();
        for reference in text.split("\"#/components/schemas/").skip(1) {
            let name = reference.split(['"', '/']).next().unwrap();
            prop_assert!(schemas.get(name).is_some_and(|schema| !schema.is_null()), "{name}");
        }
    }
}
