//! GitHub's REST API behind friendly parameters, small stable answers and codes that say what went wrong.
//!
//! ```toml
//! base_url = "https://api.github.com"
//! [auth]
//! type = "bearer"
//! token = "${GITHUB_TOKEN}"
//! [[plugins]]
//! source = "builtin:github"
//! [operations.get_user]
//! method = "GET"
//! path = "/users/{username}"
//! ```
//!
//! | operation | parameters | answer |
//! | --- | --- | --- |
//! | `get_user` | `username` | `login`, `name`, `public_repos`, `followers`, `url` |
//! | `list_repos` | none | a list of `name`, `full_name`, `private`, `stars`, `url`: the token's owner's |
//! | `create_issue` | `owner`, `repo`, `title`, `body?`, `labels?` | `number`, `title`, `state`, `url` |
//! | `get_rate_limit` | none | `limit`, `remaining`, `reset_at` (RFC 3339) |
//!
//! Method, path and body of these come from the parameters, whatever the operation declares; the declared query
//! is kept. Operations of other names pass unchanged both ways. `url` is the page for people. What GitHub leaves
//! out is null.
//!
//! The classifier tells a spent quota from a real 403: 403 or 429 with nothing remaining waits for the quota's
//! reset, with `retry-after` (the secondary limits) for that long; everything else is judged by its status.
//!
//! # Faults
//! | code | kind | when |
//! | --- | --- | --- |
//! | `invalid-parameter` | invalid-input | a parameter is missing, of another type, or no name |
//! | `user-not-found`, `repository-not-found`, `not-found` | not-found | 404, by operation |
//! | `issues-disabled`, `gone` | not-found | 410 |
//! | `validation-failed` | invalid-input | 422; GitHub's `errors` are in the details |
//! | `bad-request` | invalid-input | 400 |
//! | `bad-credentials` | unauthorized | 401 |
//! | `forbidden` | forbidden | 403 for another reason than a quota, 451 |
//! | `conflict` | conflict | 409 |
//! | `rate-limited` | rate-limited | a spent quota; with the time to wait |
//! | `rejected` | upstream-failed | another 4xx |
//! | `upstream-failed` | upstream-failed | 5xx |
//! | `unexpected-answer` | upstream-invalid | an answer that is not what GitHub documents |

mod answers;
mod errors;
mod limits;
mod requests;

use bascule_plugin::{
    Body, Cause, Classification, Classifier, Description, ErrorMapper, Fault, Lifecycle, MappedRequest,
    Mapping, Reply, RequestHead, RequestMapper, ResponseHead, ResponseMapper, clock, context, export,
    parameters,
};

struct GitHub;

impl Lifecycle for GitHub {
    fn describe() -> Description {
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            .with_config_schema(r#"{"type":"object","additionalProperties":false}"#)
    }
}

impl RequestMapper for GitHub {
    fn map_request(mut draft: RequestHead, _: &Body) -> Result<Mapping, Fault> {
        let Some(call) = requests::call(&context::operation(), &parameters::all())? else {
            return Ok(MappedRequest::unchanged(draft).into());
        };
        requests::address(&mut draft, &call);
        let request = MappedRequest::unchanged(draft);
        Ok(match call.body {
            Some(body) => request.with_body(body.as_bytes()),
            None => request.without_body(),
        }
        .into())
    }
}

impl Classifier for GitHub {
    fn classify(head: ResponseHead, _: Option<&Body>) -> Classification {
        limits::classify(&head, clock::now().seconds)
    }
}

impl ResponseMapper for GitHub {
    fn map_response(head: ResponseHead, body: &Body, _: Vec<u8>) -> Result<Reply, Fault> {
        let operation = context::operation();
        let mapped = match answers::is_mapped(&operation, head.status) {
            true => Some(Body::new(answers::map(&operation, &body.read()?)?.as_bytes())),
            false => None,
        };
        Ok(Reply { status: head.status, headers: head.headers, body: mapped })
    }
}

impl ErrorMapper for GitHub {
    fn map_error(cause: Cause, head: Option<ResponseHead>, body: Option<&Body>, _: Vec<u8>) -> Fault {
        let Some(head) = head else { return Fault::without_response(cause) };
        // An error without a readable body still has its status.
        let body = body.and_then(|body| body.read().ok()).unwrap_or_default();
        errors::fault(&context::operation(), &head, &body, clock::now().seconds)
    }
}

export!(GitHub: lifecycle, request_mapper, classifier, response_mapper, error_mapper);
