//! `[cache] shared` of `bascule.toml` and the keys beside it: the server that several gateways share.
//!
//! That the server answers is not looked at: a gateway works without it. Whether budgets and circuits that are to be shared
//! have a server is looked at when every file has been read: [`crate::config::check`].

use crate::config::{
    reader::{Field, Reader},
    settings::SharedSettings,
};
use crate::model::Secret;
use bascule_shared::Server;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_millis(50);
const PREFIX: &str = "bascule";
/// A shorter one could be guessed from a signed entry.
const KEY_MIN: usize = 16;

pub(super) fn shared(table: &Reader<'_, '_>) -> Option<SharedSettings> {
    let field = table.field("shared");
    let has_server = field.is_some();
    let server = field.and_then(|field| server(&field));
    let timeout = table.field("shared_timeout").and_then(|field| field.duration());
    let key = table.field("shared_key").and_then(|field| key(&field));
    let prefix = table.field("shared_prefix").and_then(|field| field.filled());
    let beside = ["shared_timeout", "shared_key", "shared_prefix"];
    for name in beside.iter().filter(|name| !has_server && table.has(name)) {
        table.problem(
            name,
            "there is no server that is shared",
            "add shared = \"redis://host:6379\", or remove it",
        );
    }
    if server.as_ref().is_some_and(|server| !server.is_local()) && !table.has("shared_key") {
        table.problem(
            "shared",
            "the server is on another machine, and nothing says what entries are signed with",
            "add shared_key = \"${…}\", the same for all gateways",
        );
    }
    Some(SharedSettings {
        server: server?,
        timeout: timeout.unwrap_or(TIMEOUT),
        key,
        prefix: prefix.unwrap_or_else(|| PREFIX.to_owned()),
    })
}

fn server(field: &Field<'_, '_>) -> Option<Server> {
    let text = field.text()?;
    match Server::parse(text.value()) {
        Ok(server) => {
            if let Some(password) = server.password() {
                field.ctx.secret(password);
            }
            Some(server)
        }
        Err(problem) => {
            // What is no URL may yet have a password in it.
            field.ctx.secret(text.value());
            let help = "write \"redis://host:6379\", \"rediss://user:${PASSWORD}@host\" or \"unix:///run/redis.sock\"";
            field.problem(format!("the URL {problem}"), help);
            None
        }
    }
}

fn key(field: &Field<'_, '_>) -> Option<Secret> {
    let key = field.secret()?;
    if key.expose().len() < KEY_MIN {
        field.problem(
            format!("must have at least {KEY_MIN} characters"),
            "make one with: openssl rand -hex 32",
        );
        return None;
    }
    Some(key)
}
