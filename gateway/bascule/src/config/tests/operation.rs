//! Rules of operations: parameters, placeholders, bodies, headers.

use super::{BASE, assert_one, integration, operation, operation_problems, problems};
use crate::config::{BodyKind, ParameterType};
use serde_json::json;

#[test]
fn the_path_is_required_and_checked() {
    assert_one(&operation_problems("method = \"GET\"\n"), &["2: operations.o.path: `path` is missing"]);
    assert_one(&operation_problems("path = \"x\"\n"), &["3: operations.o.path: a path starts with `/`"]);
    assert_one(&operation_problems("path = \"/x?y=1\"\n"), &["use `query = { … }`"]);
    assert_one(&operation_problems("path = \"/{k...}/x\"\n"), &["stands only at the end"]);
}

#[test]
fn placeholders_of_the_path_are_required_strings() {
    let o = operation("path = \"/{team}/{id}\"\nparams.id = { type = \"integer\" }\n");
    let find = |name: &str| &o.params.declared.iter().find(|(known, _)| known == name).unwrap().1;
    assert_eq!((find("team").kind, find("team").required), (ParameterType::String, true));
    assert_eq!((find("id").kind, find("id").required), (ParameterType::Integer, true));
    assert!(o.params.schema.is_valid(&json!({"team": "a", "id": 1})));
    assert!(!o.params.schema.is_valid(&json!({"team": "a"})));
    assert!(!o.params.schema.is_valid(&json!({"team": "a", "id": 1, "more": 1})), "others are refused");
    let found = operation_problems("path = \"/{id}\"\nparams.id = { required = false }\n");
    assert_one(&found, &["4: operations.o.params.id.required: a parameter of the path is always required"]);
    assert!(!operation("path = \"/{id}\"\nparams.id = { default = \"x\" }\n").params.declared[0].1.required);
}

#[test]
fn placeholders_elsewhere_must_be_declared() {
    assert_one(
        &operation_problems("path = \"/\"\nquery = { q = \"{city}\" }\n"),
        &[
            "4: operations.o.query.q: `city` is not a declared parameter | declare it: params.city = { type = \"string\" }",
        ],
    );
    assert_one(
        &operation_problems(
            "path = \"/\"\nheaders = { X-A = \"{ctiy}\" }\nquery = { a = \"{city}\" }\nparams.city = {}\n",
        ),
        &["4: operations.o.headers.X-A: `ctiy` is not a declared parameter | did you mean `city`?"],
    );
    assert_one(
        &operation_problems("path = \"/{k...}\"\nquery = { k = \"{k...}\" }\n"),
        &["stands only in a path"],
    );
    assert_one(&operation_problems("path = \"/\"\nquery = { q = \"{\" }\n"), &["is not closed"]);
}

#[test]
fn parameters_that_nothing_uses_form_the_body() {
    let o = operation(
        "method = \"POST\"\npath = \"/{a}\"\nquery = { b = \"{b}\" }\nheaders = { X-C = \"{c}\" }\nparams = { b = {}, c = {}, e = {}, d = {} }\n",
    );
    assert_eq!(o.body, BodyKind::Json);
    assert_eq!(o.body_params, ["e", "d"], "in file order");
    let found = operation_problems("method = \"PUT\"\npath = \"/\"\nbody = \"raw\"\nparams.a = {}\n");
    assert_one(
        &found,
        &["6: operations.o.params: the parameter `a` is used nowhere", "query = { a = \"{a}\" }"],
    );
    assert_one(&operation_problems("path = \"/\"\nparams.a = {}\n"), &["`a` is used nowhere"]);
    let mapped =
        format!("{BASE}[[plugins]]\nsource = \"builtin:m\"\n[operations.o]\npath = \"/\"\nparams.a = {{}}\n");
    assert!(integration(&mapped).operations["o"].body_params.is_empty(), "a mapper may use it");
}

#[test]
fn bodies_follow_the_method() {
    for (method, body) in [
        ("GET", BodyKind::None),
        ("HEAD", BodyKind::None),
        ("OPTIONS", BodyKind::None),
        ("POST", BodyKind::Json),
        ("PUT", BodyKind::Json),
        ("PATCH", BodyKind::Json),
        ("DELETE", BodyKind::Json),
    ] {
        assert_eq!(operation(&format!("method = \"{method}\"\npath = \"/\"\n")).body, body, "{method}");
    }
    assert_one(
        &operation_problems("path = \"/\"\nbody = \"json\"\n"),
        &["operations.o.body: GET has no body"],
    );
    assert_eq!(operation("path = \"/\"\nbody = \"none\"\n").body, BodyKind::None);
    assert_one(
        &operation_problems("path = \"/\"\nmethod = \"get\"\n"),
        &["`get` is not known here | did you mean `GET`?"],
    );
    assert_one(
        &operation_problems("path = \"/\"\nmethod = \"CONNECT\"\n"),
        &["write one of \"GET\", \"HEAD\""],
    );
}

#[test]
fn a_default_must_fit_its_own_parameter() {
    let param = |rules: &str| {
        operation_problems(&format!("method = \"POST\"\npath = \"/\"\nparams.a = {{ {rules} }}\n"))
    };
    assert_one(
        &param("type = \"integer\", default = \"x\""),
        &["5: operations.o.params.a.default: the default does not fit the parameter (type `integer`)"],
    );
    assert_one(&param("enum = [\"a\"], default = \"b\""), &["the default does not fit"]);
    assert_one(&param("type = \"integer\", maximum = 3, default = 4"), &["the default does not fit"]);
    assert_one(&param("type = \"integer\", enum = [1, \"a\"]"), &["a value does not fit"]);
    assert_one(&param("pattern = \"(\""), &["params.a.pattern: `(` is not a regular expression"]);
    assert_one(&param("pattern = \"(?=a)\""), &["no look-around"]);
    assert_one(
        &param("type = \"integer\", pattern = \"a\""),
        &["`pattern` applies only to parameters of type string"],
    );
    assert_one(&param("minimum = 1"), &["`minimum` applies only to parameters of type integer or number"]);
    assert_one(&param("format = \"ip\""), &["`ip` is not known here"]);
    assert_one(&param("type = \"text\""), &["`text` is not known here"]);
    assert_one(&param("required = true, default = \"a\""), &["a parameter with a default is never missing"]);
}

#[test]
fn every_format_is_checked() {
    for (format, good, bad) in [
        ("date-time", "2026-01-02T03:04:05Z", "yesterday"),
        ("date", "2026-01-02", "2026-13-02"),
        ("time", "03:04:05Z", "3 o'clock"),
        ("duration", "P1D", "1d"),
        ("email", "a@b.example", "a"),
        ("hostname", "a.example", "a b"),
        ("ipv4", "10.0.0.1", "10.0.0.256"),
        ("ipv6", "::1", "1"),
        ("uri", "https://a.example/b", "//"),
        ("uuid", "01890a5d-ac96-774b-bcce-b302099a8057", "1"),
    ] {
        let o =
            operation(&format!("method = \"POST\"\npath = \"/\"\nparams.a = {{ format = \"{format}\" }}\n"));
        assert!(o.params.schema.is_valid(&json!({ "a": good })), "{format} {good}");
        assert!(!o.params.schema.is_valid(&json!({ "a": bad })), "{format} {bad}");
    }
}

#[test]
fn an_operations_headers_lie_over_the_integrations() {
    let x = integration(&format!(
        "{BASE}headers = {{ A = \"1\", B = \"1\" }}\n[operations.o]\npath = \"/\"\nheaders = {{ b = \"2\", C = \"{{p}}\" }}\nparams.p = {{}}\n"
    ));
    let headers: Vec<_> =
        x.operations["o"].headers.iter().map(|h| (h.name.as_str(), h.value.as_literal())).collect();
    assert_eq!(headers, [("a", Some("1")), ("b", Some("2")), ("c", None)]);
}

#[test]
fn query_entries_keep_their_order_and_take_bare_numbers() {
    let o = operation("path = \"/\"\nquery = { z = 1, a = true, m = \"x\" }\n");
    let entries: Vec<_> = o.query.iter().map(|e| (e.name.as_str(), e.value.as_literal().unwrap())).collect();
    assert_eq!(entries, [("z", "1"), ("a", "true"), ("m", "x")]);
    assert_one(
        &operation_problems("path = \"/\"\nquery = { a = [1] }\n"),
        &["expected a string, found a list"],
    );
}

#[test]
fn mapped_errors_merge_and_are_checked() {
    let x = integration(&format!(
        "{BASE}errors.\"404\" = {{ code = \"a\" }}\nerrors.\"409\" = {{ code = \"b\", status = 400 }}\n\
         [operations.o]\npath = \"/\"\nerrors.\"404\" = {{ code = \"c\" }}\n"
    ));
    let errors = &x.operations["o"].errors;
    assert_eq!((errors[&404].code.as_str(), errors[&404].status.as_u16()), ("c", 404));
    assert_eq!((errors[&409].code.as_str(), errors[&409].status.as_u16()), ("b", 400));
    assert_one(
        &problems(&format!("{BASE}errors.\"200\" = {{ code = \"a\" }}\n")),
        &["`200` is not a status from 400 to 599"],
    );
    assert_one(
        &problems(&format!("{BASE}errors.\"404\" = {{ code = \"a b\" }}\n")),
        &["`a b` is not a code"],
    );
    assert_one(&problems(&format!("{BASE}errors.\"404\" = {{}}\n")), &["`code` is missing"]);
}

#[test]
fn later_keys_of_operations_are_refused_by_name() {
    for key in ["batching", "signature", "dead_letter"] {
        let found = operation_problems(&format!("path = \"/\"\n{key} = {{}}\n"));
        assert_one(&found, &[&format!("4: operations.o.{key}: `{key}` is not in this version")]);
    }
}
