//! The GitHub stand-in over HTTP.

use super::*;
use crate::demo::{
    client::{self, Reply},
    standin::{CONTROL_PATH, StandIn},
};

async fn start() -> StandIn {
    StandIn::start(GitHub::new("t", Clock::fixed(1_000_000))).await.unwrap()
}

async fn get(github: &StandIn, path: &str) -> Reply {
    client::get(github.address(), path, Some("t")).await.unwrap()
}

async fn post(github: &StandIn, path: &str, body: &Value) -> Reply {
    let request =
        Request::post(path).header("authorization", "Bearer t").body(body.to_string().into()).unwrap();
    client::send(github.address(), request).await.unwrap()
}

async fn control(github: &StandIn, switches: Value) -> Reply {
    client::post(github.address(), CONTROL_PATH, &switches).await.unwrap()
}

#[tokio::test]
async fn a_user_is_answered_with_the_quota_that_is_left() {
    let github = start().await;
    let reply = get(&github, "/users/octocat").await;
    assert_eq!((reply.status.as_u16(), &reply.json()["login"]), (200, &json!("octocat")));
    assert_eq!(reply.header("x-ratelimit-limit"), "5000");
    assert_eq!(reply.header("x-ratelimit-remaining"), "4999");
    assert_eq!(reply.header("x-ratelimit-reset"), "1003600");
    assert_eq!(get(&github, "/users/octocat").await.header("x-ratelimit-remaining"), "4998");
    let limits = get(&github, "/rate_limit").await;
    assert_eq!(limits.json()["rate"]["remaining"], 4998, "asking costs nothing");
}

#[tokio::test]
async fn a_spent_quota_is_403_with_nothing_remaining() {
    let github = start().await;
    control(&github, json!({ "remaining": 1 })).await;
    assert_eq!(get(&github, "/users/octocat").await.status, 200);
    let reply = get(&github, "/users/octocat").await;
    assert_eq!((reply.status.as_u16(), reply.header("x-ratelimit-remaining")), (403, "0"));
    assert!(reply.json()["message"].as_str().unwrap().contains("rate limit exceeded"));
    assert_eq!(get(&github, "/rate_limit").await.status, 200);
}

#[tokio::test]
async fn the_token_is_checked() {
    let github = start().await;
    for token in [None, Some("other")] {
        let reply = client::get(github.address(), "/users/octocat", token).await.unwrap();
        assert_eq!((reply.status.as_u16(), &reply.json()["message"]), (401, &json!("Bad credentials")));
    }
}

#[tokio::test]
async fn issues_are_numbered_and_need_a_title_and_a_repository() {
    let github = start().await;
    let path = "/repos/octocat/Hello-World/issues";
    let issue = post(&github, path, &json!({ "title": "One", "labels": ["bug"] })).await;
    assert_eq!((issue.status.as_u16(), &issue.json()["number"]), (201, &json!(1)));
    assert_eq!(issue.json()["labels"][0]["name"], "bug");
    assert_eq!(post(&github, path, &json!({ "title": "Two" })).await.json()["number"], 2);
    let reply = post(&github, path, &json!({ "body": "no title" })).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["message"]), (422, &json!("Validation Failed")));
    assert_eq!(post(&github, "/repos/octocat/other/issues", &json!({ "title": "x" })).await.status, 404);
}

#[tokio::test]
async fn unknown_users_and_paths_are_404_in_github_s_words() {
    let github = start().await;
    for path in ["/users/nobody", "/elsewhere"] {
        let reply = get(&github, path).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["message"]), (404, &json!("Not Found")));
    }
    assert_eq!(get(&github, "/user/repos").await.json().as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn switches_make_it_fail_and_counters_tell() {
    let github = start().await;
    control(&github, json!({ "fail_next": 2 })).await;
    for status in [502, 502, 200] {
        assert_eq!(get(&github, "/users/octocat").await.status.as_u16(), status);
    }
    control(&github, json!({ "outage": true })).await;
    assert_eq!(get(&github, "/users/octocat").await.status, 503);
    let counters = control(&github, json!({ "outage": false })).await.json();
    assert_eq!((&counters["hits"], &counters["fail_next"]), (&json!(4), &json!(0)));
    assert_eq!(get(&github, "/users/octocat").await.status, 200);
    for wrong in [json!({ "outage": 3 }), json!({ "unknown": 1 }), json!({ "fail_next": -1 }), json!([1])] {
        assert_eq!(control(&github, wrong.clone()).await.status, 400, "{wrong}");
    }
}
