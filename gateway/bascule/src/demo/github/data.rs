//! What the stand-in of GitHub knows: three users, two repositories, and the shape of an issue.

use serde_json::{Map, Value, json};

/// The owner of the token.
const OWNER: &str = "octocat";
/// Login, id, name, public repositories, followers.
const USERS: [(&str, u32, &str, u32, u32); 3] = [
    (OWNER, 583_231, "The Octocat", 8, 9_999),
    ("hubot", 480_938, "Hubot", 6, 413),
    ("monalisa", 2_200_200, "Mona Lisa", 2, 42),
];
/// Name, id, stars.
const REPOSITORIES: [(&str, u32, u32); 2] =
    [("Hello-World", 1_296_269, 80), ("Spoon-Knife", 1_300_192, 12_000)];

/// A user, found as GitHub finds them: whatever the case.
pub(super) fn user(login: &str) -> Option<Value> {
    let (login, id, name, repositories, followers) =
        USERS.iter().find(|(known, ..)| known.eq_ignore_ascii_case(login))?;
    Some(json!({
        "login": login,
        "id": id,
        "type": "User",
        "name": name,
        "url": format!("https://api.github.com/users/{login}"),
        "html_url": format!("https://github.com/{login}"),
        "public_repos": repositories,
        "followers": followers,
        "following": 9,
        "created_at": "2011-01-25T18:44:36Z",
    }))
}

/// The repositories of the token's owner.
pub(super) fn repositories() -> Value {
    REPOSITORIES
        .iter()
        .map(|(name, id, stars)| {
            json!({
                "id": id,
                "name": name,
                "full_name": format!("{OWNER}/{name}"),
                "private": false,
                "owner": { "login": OWNER, "id": 583_231, "type": "User" },
                "url": format!("https://api.github.com/repos/{OWNER}/{name}"),
                "html_url": format!("https://github.com/{OWNER}/{name}"),
                "stargazers_count": stars,
                "default_branch": "main",
            })
        })
        .collect()
}

/// Whether issues can be opened there.
pub(super) fn has_repository(owner: &str, name: &str) -> bool {
    owner.eq_ignore_ascii_case(OWNER)
        && REPOSITORIES.iter().any(|(known, ..)| known.eq_ignore_ascii_case(name))
}

/// A freshly opened issue, from what the caller sent.
pub(super) fn issue(owner: &str, repo: &str, number: u64, title: &str, sent: &Map<String, Value>) -> Value {
    let labels: Vec<Value> = sent
        .get("labels")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|label| json!({ "name": label, "default": false }))
        .collect();
    json!({
        "id": number,
        "number": number,
        "url": format!("https://api.github.com/repos/{owner}/{repo}/issues/{number}"),
        "html_url": format!("https://github.com/{owner}/{repo}/issues/{number}"),
        "state": "open",
        "title": title,
        "body": sent.get("body").cloned().unwrap_or(Value::Null),
        "labels": labels,
        "user": { "login": OWNER, "id": 583_231, "type": "User" },
        "comments": 0,
    })
}
