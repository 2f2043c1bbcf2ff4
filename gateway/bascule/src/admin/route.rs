//! The resources of the admin plane.

use crate::{
    config::Role,
    model::{Code, Problem},
};
use http::{Method, Uri};

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

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    Status,
    Health(String),
    Metrics,
    Circuit(String, Action),
    Purge(String, Option<String>),
    Reload,
}

impl Route {
    pub(super) fn role(&self) -> Role {
        match self {
            Self::Status | Self::Health(_) | Self::Metrics => Role::Viewer,
            Self::Circuit(..) | Self::Purge(..) | Self::Reload => Role::Admin,
        }
    }
}

pub(super) fn find(method: &Method, uri: &Uri) -> Result<Route, Problem> {
    let segments: Vec<&str> = uri.path().split('/').skip(1).collect();
    let (route, wanted) = match segments.as_slice() {
        ["metrics"] => (Route::Metrics, Method::GET),
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
        ["integrations", name, "cache"] => {
            let query = uri.query().unwrap_or_default();
            let operation = url::form_urlencoded::parse(query.as_bytes())
                .find(|(name, _)| name == "operation")
                .map(|(_, operation)| operation.into_owned());
            (Route::Purge((*name).into(), operation), Method::DELETE)
        }
        _ => return Err(not_found()),
    };
    if *method == wanted || (wanted == Method::GET && *method == Method::HEAD) {
        return Ok(route);
    }
    let detail = format!("this resource takes {wanted}");
    Err(Problem::new(Code::MethodNotAllowed, detail).with("allow", wanted.as_str()))
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
        let purge = Route::Purge("a".into(), Some("b".into()));
        assert_eq!(route("DELETE", "/integrations/a/cache?operation=b"), Ok(purge));
        assert_eq!(route("GET", "/config/reload"), Err(Code::MethodNotAllowed));
        assert_eq!(route("GET", "/integrations/a"), Err(Code::NotFound));
        assert_eq!(route("POST", "/integrations/a/circuit/explode"), Err(Code::NotFound));
    }
}
