//! From GitHub's answers to small stable ones.
//!
//! Every member but the one that names the thing may be missing and is null then: GitHub shows less of a private
//! user, and a stable shape must not turn that into an error.

use bascule_plugin::Fault;
use bascule_plugin::time::Utc;
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct User {
    login: String,
    name: Option<String>,
    public_repos: Option<u64>,
    followers: Option<u64>,
    html_url: Option<String>,
}

#[derive(Serialize)]
struct UserOut {
    login: String,
    name: Option<String>,
    public_repos: Option<u64>,
    followers: Option<u64>,
    url: Option<String>,
}

#[derive(Deserialize)]
struct Repository {
    name: String,
    full_name: Option<String>,
    private: Option<bool>,
    stargazers_count: Option<u64>,
    html_url: Option<String>,
}

#[derive(Serialize)]
struct RepositoryOut {
    name: String,
    full_name: Option<String>,
    private: Option<bool>,
    stars: Option<u64>,
    url: Option<String>,
}

#[derive(Deserialize)]
struct Issue {
    number: u64,
    title: Option<String>,
    state: Option<String>,
    html_url: Option<String>,
}

#[derive(Serialize)]
struct IssueOut {
    number: u64,
    title: Option<String>,
    state: Option<String>,
    url: Option<String>,
}

#[derive(Deserialize)]
struct RateLimits {
    resources: Resources,
}

#[derive(Deserialize)]
struct Resources {
    core: RateLimit,
}

#[derive(Deserialize)]
struct RateLimit {
    limit: u64,
    remaining: u64,
    reset: i64,
}

#[derive(Serialize)]
struct RateLimitOut {
    limit: u64,
    remaining: u64,
    reset_at: String,
}

/// Whether [`map`] knows the operation and the answer has a body of its shape.
pub(crate) fn is_mapped(operation: &str, status: u16) -> bool {
    let known = matches!(operation, "get_user" | "list_repos" | "create_issue" | "get_rate_limit");
    known && (200..300).contains(&status) && status != 204
}

/// The answer of a known operation, as JSON.
pub(crate) fn map(operation: &str, body: &[u8]) -> Result<String, Fault> {
    match operation {
        "get_user" => convert(body, |user: User| UserOut {
            login: user.login,
            name: user.name,
            public_repos: user.public_repos,
            followers: user.followers,
            url: user.html_url,
        }),
        "list_repos" => convert(body, |repositories: Vec<Repository>| {
            repositories.into_iter().map(repository).collect::<Vec<_>>()
        }),
        "create_issue" => convert(body, |issue: Issue| IssueOut {
            number: issue.number,
            title: issue.title,
            state: issue.state,
            url: issue.html_url,
        }),
        _ => convert(body, |RateLimits { resources: Resources { core } }: RateLimits| RateLimitOut {
            limit: core.limit,
            remaining: core.remaining,
            reset_at: Utc::from_epoch(core.reset).to_string(),
        }),
    }
}

fn repository(repository: Repository) -> RepositoryOut {
    RepositoryOut {
        name: repository.name,
        full_name: repository.full_name,
        private: repository.private,
        stars: repository.stargazers_count,
        url: repository.html_url,
    }
}

fn convert<'a, From: Deserialize<'a>, To: Serialize>(
    body: &'a [u8],
    map: impl FnOnce(From) -> To,
) -> Result<String, Fault> {
    let from = serde_json::from_slice(body).map_err(unexpected)?;
    serde_json::to_string(&map(from)).map_err(unexpected)
}

fn unexpected(error: serde_json::Error) -> Fault {
    Fault::upstream_invalid("unexpected-answer", format!("github's answer is not as documented: {error}"))
}

#[cfg(test)]
mod tests {
    use bascule_plugin::FaultKind;

    use super::*;

    #[test]
    fn a_user_loses_all_but_the_stable_members() {
        let body = br#"{"login":"octocat","id":1,"name":null,"public_repos":8,"followers":9,
                        "url":"https://api.github.com/users/octocat","html_url":"https://github.com/octocat"}"#;
        let expected = concat!(
            r#"{"login":"octocat","name":null,"public_repos":8,"followers":9,"#,
            r#""url":"https://github.com/octocat"}"#
        );
        assert_eq!(map("get_user", body).unwrap(), expected);
    }

    #[test]
    fn repositories_are_a_list() {
        let body = br#"[{"name":"a","full_name":"o/a","private":true,"stargazers_count":3,"html_url":"u"}]"#;
        let expected = r#"[{"name":"a","full_name":"o/a","private":true,"stars":3,"url":"u"}]"#;
        assert_eq!(map("list_repos", body).unwrap(), expected);
        assert_eq!(map("list_repos", b"[]").unwrap(), "[]");
    }

    #[test]
    fn an_issue_is_known_by_its_number() {
        let body = br#"{"number":7,"title":"T","state":"open","html_url":"u","labels":[{"name":"bug"}]}"#;
        assert_eq!(
            map("create_issue", body).unwrap(),
            r#"{"number":7,"title":"T","state":"open","url":"u"}"#
        );
    }

    #[test]
    fn the_rate_limits_reset_is_a_date() {
        let body =
            br#"{"resources":{"core":{"limit":60,"remaining":59,"reset":1440938160,"used":1}},"rate":{}}"#;
        let expected = r#"{"limit":60,"remaining":59,"reset_at":"2015-08-30T12:36:00Z"}"#;
        assert_eq!(map("get_rate_limit", body).unwrap(), expected);
    }

    #[test]
    fn an_answer_of_another_shape_is_the_upstreams_fault() {
        for body in [&b"<html>"[..], b"{}", b"[]"] {
            let fault = map("get_user", body).unwrap_err();
            assert_eq!((fault.kind, fault.code.as_str()), (FaultKind::UpstreamInvalid, "unexpected-answer"));
        }
    }

    #[test]
    fn only_known_operations_with_a_body_are_mapped() {
        assert!(is_mapped("get_user", 200) && is_mapped("create_issue", 201));
        assert!(!is_mapped("proxy", 200) && !is_mapped("get_user", 304) && !is_mapped("get_user", 204));
    }
}
