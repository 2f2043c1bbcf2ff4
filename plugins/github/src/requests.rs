//! From friendly parameters to GitHub's requests.

use bascule_plugin::encode::component;
use bascule_plugin::{Fault, RequestHead};
use serde::{Deserialize, Serialize};

const ACCEPT: &str = "application/vnd.github.v3+json";

/// A request to GitHub, as far as the parameters decide it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    /// JSON.
    pub(crate) body: Option<String>,
}

#[derive(Deserialize)]
struct GetUser {
    username: String,
}

#[derive(Deserialize)]
struct CreateIssue {
    owner: String,
    repo: String,
    #[serde(flatten)]
    issue: Issue,
}

#[derive(Deserialize, Serialize)]
struct Issue {
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<String>>,
}

/// The request of an operation; `None` for one that this plugin does not know.
pub(crate) fn call(operation: &str, parameters: &str) -> Result<Option<Call>, Fault> {
    Ok(Some(match operation {
        "get_user" => {
            let GetUser { username } = read(parameters)?;
            get(format!("/users/{}", segment("username", &username)?))
        }
        "list_repos" => get("/user/repos".to_owned()),
        "get_rate_limit" => get("/rate_limit".to_owned()),
        "create_issue" => {
            let CreateIssue { owner, repo, issue } = read(parameters)?;
            let path = format!("/repos/{}/{}/issues", segment("owner", &owner)?, segment("repo", &repo)?);
            let body = serde_json::to_string(&issue).map_err(|error| bad(&error.to_string()))?;
            Call { method: "POST", path, body: Some(body) }
        }
        _ => return Ok(None),
    }))
}

/// Points the head where the call goes; the declared query and headers stay.
pub(crate) fn address(head: &mut RequestHead, call: &Call) {
    head.method = call.method.to_owned();
    head.path.clone_from(&call.path);
    head.set_header("accept", ACCEPT);
    match call.body {
        Some(_) => head.set_header("content-type", "application/json"),
        None => head.remove_header("content-type"),
    }
}

fn get(path: String) -> Call {
    Call { method: "GET", path, body: None }
}

fn read<'a, T: Deserialize<'a>>(parameters: &'a str) -> Result<T, Fault> {
    serde_json::from_str(parameters).map_err(|error| bad(&error.to_string()))
}

/// One segment of a path. Dots would lead elsewhere, and GitHub has no such names.
fn segment(parameter: &str, name: &str) -> Result<String, Fault> {
    match name {
        "" | "." | ".." => Err(bad(&format!("`{parameter}` is not a name"))),
        name => Ok(component(name)),
    }
}

fn bad(message: &str) -> Fault {
    Fault::invalid_input("invalid-parameter", message)
}

#[cfg(test)]
mod tests {
    use bascule_plugin::{FaultKind, HeaderLines};

    use super::*;

    #[test]
    fn a_user_is_addressed_by_name() {
        let call = call("get_user", r#"{"username":"octo/cat"}"#).unwrap().unwrap();
        assert_eq!(call, Call { method: "GET", path: "/users/octo%2Fcat".into(), body: None });
    }

    #[test]
    fn an_issue_carries_only_what_was_given() {
        let text = r#"{"owner":"o","repo":"r","title":"T","labels":["bug"]}"#;
        let call = call("create_issue", text).unwrap().unwrap();
        assert_eq!((call.method, call.path.as_str()), ("POST", "/repos/o/r/issues"));
        assert_eq!(call.body.as_deref(), Some(r#"{"title":"T","labels":["bug"]}"#));
    }

    #[test]
    fn operations_without_parameters_need_none() {
        assert_eq!(call("list_repos", "{}").unwrap().unwrap().path, "/user/repos");
        assert_eq!(call("get_rate_limit", "{}").unwrap().unwrap().path, "/rate_limit");
    }

    #[test]
    fn unknown_operations_are_left_alone() {
        assert_eq!(call("proxy", "{}").unwrap(), None);
    }

    #[test]
    fn parameters_that_do_not_fit_are_the_callers_fault() {
        for (operation, parameters) in [
            ("get_user", "{}"),
            ("get_user", r#"{"username":7}"#),
            ("get_user", r#"{"username":".."}"#),
            ("create_issue", r#"{"owner":"o","repo":"","title":"T"}"#),
        ] {
            let fault = call(operation, parameters).unwrap_err();
            assert_eq!((fault.kind, fault.code.as_str()), (FaultKind::InvalidInput, "invalid-parameter"));
        }
    }

    #[test]
    fn the_head_keeps_its_query_and_gets_githubs_headers() {
        let mut head = RequestHead::new("GET", "/declared");
        head.query = Some("per_page=5".into());
        head.set_header("accept", "*/*");
        address(&mut head, &call("list_repos", "{}").unwrap().unwrap());
        assert_eq!((head.path.as_str(), head.query.as_deref()), ("/user/repos", Some("per_page=5")));
        assert_eq!(head.text("accept"), Some(ACCEPT));
        assert!(!head.has("content-type"));
    }
}
