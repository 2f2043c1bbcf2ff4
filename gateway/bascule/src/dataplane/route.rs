//! Which resource a request names.

use crate::model::{Code, Problem, has_dot_segment, is_well_encoded};
use http::{Method, Request};

/// A resource of the data plane. Names are as the caller wrote them; whether they exist is found out
/// when the caller is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    Live,
    Ready,
    Operation { integration: String, operation: String },
    Proxy { integration: String, path: String },
    Queued { id: String },
}

/// Finds the resource.
///
/// # Errors
/// `not-found` for other paths, `invalid-request` for paths that are badly encoded or lead outside,
/// `method-not-allowed` for anything but GET and HEAD on resources that are only read.
pub(super) fn find<B>(request: &Request<B>) -> Result<Route, Problem> {
    let path = request.uri().path();
    let mut segments = path.splitn(4, '/').skip(1);
    match (segments.next(), segments.next(), segments.next()) {
        (Some("livez"), None, None) => read_only(request, Route::Live),
        (Some("readyz"), None, None) => read_only(request, Route::Ready),
        (Some("outbox"), Some(id), None) if !id.is_empty() => {
            read_only(request, Route::Queued { id: id.into() })
        }
        (Some("v1"), Some(integration), Some(operation))
            if !integration.is_empty() && !operation.is_empty() && !operation.contains('/') =>
        {
            Ok(Route::Operation { integration: integration.into(), operation: operation.into() })
        }
        (Some("proxy"), Some(integration), rest) if !integration.is_empty() => {
            let path = format!("/{}", rest.unwrap_or_default());
            if !is_well_encoded(&path) || has_dot_segment(&path) {
                let detail = "the path holds `.` or `..` segments, or a `%` that encodes nothing printable";
                return Err(Problem::new(Code::InvalidRequest, detail));
            }
            // An upstream that answers TRACE would show our credentials; CONNECT is another protocol.
            if matches!(*request.method(), Method::TRACE | Method::CONNECT) {
                return Err(method_not_allowed("GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE"));
            }
            Ok(Route::Proxy { integration: integration.into(), path })
        }
        _ => {
            let detail = "calls go to /v1/{integration}/{operation} or /proxy/{integration}/{path}";
            Err(Problem::new(Code::NotFound, detail))
        }
    }
}

fn read_only<B>(request: &Request<B>, route: Route) -> Result<Route, Problem> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        Ok(route)
    } else {
        Err(method_not_allowed("GET, HEAD"))
    }
}

/// 405 with `Allow`, which the response takes from the member.
pub(super) fn method_not_allowed(allow: &'static str) -> Problem {
    Problem::new(Code::MethodNotAllowed, format!("this resource takes {allow}")).with("allow", allow)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(method: &str, path: &str) -> Result<Route, Code> {
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        find(&request).map_err(|problem| problem.code)
    }

    #[test]
    fn resources_are_found() {
        assert_eq!(route("GET", "/livez"), Ok(Route::Live));
        let operation = Route::Operation { integration: "a".into(), operation: "b".into() };
        assert_eq!(route("POST", "/v1/a/b?x=1"), Ok(operation));
        assert_eq!(route("GET", "/outbox/x"), Ok(Route::Queued { id: "x".into() }));
        let proxy = |path: &str| Ok(Route::Proxy { integration: "a".into(), path: path.into() });
        assert_eq!(route("GET", "/proxy/a"), proxy("/"));
        assert_eq!(route("GET", "/proxy/a/"), proxy("/"));
        assert_eq!(route("GET", "/proxy/a/b//c%20d"), proxy("/b//c%20d"));
    }

    #[test]
    fn other_paths_are_refused() {
        for path in [
            "/",
            "/v1",
            "/v1/a",
            "/v1/a/",
            "/v1//b",
            "/v1/a/b/c",
            "/proxy",
            "/proxy/",
            "/livez/x",
            "/outbox",
            "/outbox/",
        ] {
            assert_eq!(route("GET", path), Err(Code::NotFound), "{path}");
        }
        for path in ["/proxy/a/../b", "/proxy/a/%2e%2e/b", "/proxy/a/%zz", "/proxy/a/%00"] {
            assert_eq!(route("GET", path), Err(Code::InvalidRequest), "{path}");
        }
        assert_eq!(route("POST", "/livez"), Err(Code::MethodNotAllowed));
        assert_eq!(route("DELETE", "/outbox/x"), Err(Code::MethodNotAllowed));
        assert_eq!(route("TRACE", "/proxy/a/b"), Err(Code::MethodNotAllowed));
    }
}
