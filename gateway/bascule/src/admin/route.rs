//! The resources of the admin plane.

use crate::{
    config::Role,
    model::{Code, Problem},
};
use bascule_outbox::State;
use http::{Method, Uri};
use serde_json::{Map, Value};
use uuid::Uuid;

/// Entries of a page of the outbox.
const PAGE: u32 = 50;
/// Most of them: an entry may carry an answer and an error text.
const PAGE_MAX: u32 = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Reset,
    Open,
    Auto,
}

impl Action {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Open => "open",
            Self::Auto => "auto",
        }
    }
}

/// `GET /outbox?state=&after=&limit=`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) state: Option<State>,
    pub(super) after: Option<Uuid>,
    pub(super) limit: u32,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    Status,
    Health(String),
    Metrics,
    Circuit(String, Action),
    /// What all integrations have stored.
    Cache,
    /// What is stored for a call.
    Stored(String, Stored),
    Purge(String, What),
    Reload,
    Outbox(Listing),
    RetryQueued(String),
    RemoveQueued(String),
}

/// A call whose answer may be stored.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) operation: String,
    pub(super) params: Map<String, Value>,
}

/// What is to be dropped.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    All,
    Operation(String),
    Call(Stored),
    Tag(String),
}

impl What {
    /// For the log: without parameters, which may be anything.
    pub(super) fn said(&self) -> String {
        match self {
            Self::All => "all".to_owned(),
            Self::Operation(operation) => format!("operation {operation}"),
            Self::Call(stored) => format!("a call of {}", stored.operation),
            Self::Tag(tag) => format!("tag {tag}"),
        }
    }
}

impl Route {
    pub(super) fn role(&self) -> Role {
        match self {
            Self::Status | Self::Health(_) | Self::Metrics | Self::Cache | Self::Outbox(_) => Role::Viewer,
            // What is stored may be anything that a provider has told the gateway.
            Self::Stored(..) => Role::Admin,
            Self::Circuit(..) | Self::Purge(..) | Self::Reload => Role::Admin,
            Self::RetryQueued(_) | Self::RemoveQueued(_) => Role::Admin,
        }
    }
}

pub(super) fn find(method: &Method, uri: &Uri) -> Result<Route, Problem> {
    let segments: Vec<&str> = uri.path().split('/').skip(1).collect();
    let (route, wanted) = match segments.as_slice() {
        ["metrics"] => (Route::Metrics, Method::GET),
        ["outbox"] => (Route::Outbox(listing(uri.query().unwrap_or_default())?), Method::GET),
        ["outbox", id] => (Route::RemoveQueued((*id).into()), Method::DELETE),
        ["outbox", id, "retry"] => (Route::RetryQueued((*id).into()), Method::POST),
        ["config", "reload"] => (Route::Reload, Method::POST),
        ["integrations", "status"] => (Route::Status, Method::GET),
        ["integrations", name, "health"] => (Route::Health((*name).into()), Method::GET),
        ["integrations", name, "circuit", action] => {
            let action = match *action {
                "reset" => Action::Reset,
                "open" => Action::Open,
                "auto" => Action::Auto,
                _ => return Err(not_found()),
            };
            (Route::Circuit((*name).into(), action), Method::POST)
        }
        ["cache"] => (Route::Cache, Method::GET),
        ["integrations", name, "cache"] => {
            let what = what(uri.query().unwrap_or_default())?;
            match what {
                What::Call(stored) if matches!(*method, Method::GET | Method::HEAD) => {
                    (Route::Stored((*name).into(), stored), Method::GET)
                }
                what => (Route::Purge((*name).into(), what), Method::DELETE),
            }
        }
        _ => return Err(not_found()),
    };
    if *method == wanted || (wanted == Method::GET && *method == Method::HEAD) {
        return Ok(route);
    }
    let detail = format!("this resource takes {wanted}");
    Err(Problem::new(Code::MethodNotAllowed, detail).with("allow", wanted.as_str()))
}

fn listing(query: &str) -> Result<Listing, Problem> {
    let mut listing = Listing { state: None, after: None, limit: PAGE };
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let read = match &*name {
            "state" => State::parse(&value).map(|state| listing.state = Some(state)),
            "after" => Uuid::try_parse(&value).ok().map(|id| listing.after = Some(id)),
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
                limit.map(|limit| listing.limit = limit)
            }
            _ => None,
        };
        if read.is_none() {
            let detail = format!(
                "takes state=waiting|running|done|dead, after=ID and limit=1..{PAGE_MAX}, not `{}`",
                name.escape_debug()
            );
            return Err(Problem::new(Code::InvalidRequest, detail));
        }
    }
    Ok(listing)
}

/// `operation`, with `params` as a JSON object; or `tag`; or nothing.
fn what(query: &str) -> Result<What, Problem> {
    let find = |wanted: &str| {
        let mut entries = url::form_urlencoded::parse(query.as_bytes());
        entries.find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
    };
    let params = find("params").map(|text| serde_json::from_str(&text)).transpose();
    let bad = |detail: &str| Err(Problem::new(Code::InvalidRequest, detail));
    match (find("operation"), params, find("tag")) {
        (_, Err(_), _) => bad("`params` is a JSON object"),
        (None, Ok(None), None) => Ok(What::All),
        (None, Ok(None), Some(tag)) => Ok(What::Tag(tag)),
        (Some(operation), Ok(None), None) => Ok(What::Operation(operation)),
        (Some(operation), Ok(Some(params)), None) => Ok(What::Call(Stored { operation, params })),
        _ => bad("give `operation`, `operation` with `params`, or `tag`"),
    }
}

fn not_found() -> Problem {
    Problem::new(Code::NotFound, "the admin plane has no such resource")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(method: &str, path: &str) -> Result<Route, Code> {
        find(&method.parse().unwrap(), &path.parse().unwrap()).map_err(|problem| problem.code)
    }

    #[test]
    fn resources_are_found_by_path_and_method() {
        assert_eq!(route("GET", "/integrations/status"), Ok(Route::Status));
        assert_eq!(route("GET", "/integrations/a/health"), Ok(Route::Health("a".into())));
        assert_eq!(
            route("POST", "/integrations/a/circuit/open"),
            Ok(Route::Circuit("a".into(), Action::Open))
        );
        let listing = Listing { state: Some(State::Dead), after: None, limit: 7 };
        assert_eq!(route("GET", "/outbox?state=dead&limit=7"), Ok(Route::Outbox(listing)));
        for query in ["state=lost", "limit=0", "limit=201", "after=x", "page=2"] {
            assert_eq!(route("GET", &format!("/outbox?{query}")), Err(Code::InvalidRequest), "{query}");
        }
        assert_eq!(route("POST", "/outbox/x/retry"), Ok(Route::RetryQueued("x".into())));
        assert_eq!(route("GET", "/outbox/x"), Err(Code::MethodNotAllowed));
        let purge = |what| Ok(Route::Purge("a".into(), what));
        assert_eq!(route("DELETE", "/integrations/a/cache"), purge(What::All));
        assert_eq!(route("DELETE", "/integrations/a/cache?operation=b"), purge(What::Operation("b".into())));
        assert_eq!(route("DELETE", "/integrations/a/cache?tag=b"), purge(What::Tag("b".into())));
        let call = || Stored { operation: "b".into(), params: Map::from_iter([("x".into(), 1.into())]) };
        let path = "/integrations/a/cache?operation=b&params=%7B%22x%22:1%7D";
        assert_eq!(route("DELETE", path), purge(What::Call(call())));
        assert_eq!(route("GET", path), Ok(Route::Stored("a".into(), call())));
        for bad in ["?params=%7B%7D", "?operation=b&tag=c", "?operation=b&params=1"] {
            assert_eq!(
                route("GET", &format!("/integrations/a/cache{bad}")),
                Err(Code::InvalidRequest),
                "{bad}"
            );
        }
        assert_eq!(route("GET", "/integrations/a/cache?tag=b"), Err(Code::MethodNotAllowed));
        assert_eq!(route("GET", "/config/reload"), Err(Code::MethodNotAllowed));
        assert_eq!(route("GET", "/integrations/a"), Err(Code::NotFound));
        assert_eq!(route("POST", "/integrations/a/circuit/explode"), Err(Code::NotFound));
    }
}
