//! The admin plane of a running gateway, as the verbs that ask it see it.

use super::options::ConfigArg;
use crate::{
    config::{BaseUrl, Timeouts, load},
    upstream::{Client, ClientSettings, EgressPolicy, RequestBody, Tls},
};
use anyhow::{Context, bail};
use bytes::Bytes;
use http::{
    HeaderValue, Method, Request,
    header::{AUTHORIZATION, HOST},
};
use http_body_util::{BodyExt, Limited};
use serde_json::Value;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

/// Longest an answer may take.
const LIMIT: Duration = Duration::from_secs(5);
/// 1,000 integrations are about 200 KiB.
const ANSWER_MAX: usize = 16 * 1024 * 1024;

/// Where the admin plane is.
#[derive(Debug, clap::Args)]
pub(super) struct AdminArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// The admin plane, e.g. http://127.0.0.1:8081 [default: from the configuration]
    #[arg(long, value_name = "URL")]
    admin: Option<url::Url>,
    /// A token of the admin plane [default: from the configuration]
    #[arg(long, env = "BASCULE_ADMIN_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// An admin plane, and what opens it.
pub(super) struct AdminPlane {
    url: url::Url,
    token: Option<String>,
}

impl AdminArgs {
    /// The one that is named, or that of the configuration.
    pub(super) fn plane(&self) -> anyhow::Result<AdminPlane> {
        if let Some(url) = &self.admin {
            return Ok(AdminPlane { url: url.clone(), token: self.token.clone() });
        }
        let loaded = load(&self.config.sources()).map_err(|problems| {
            let text = problems.render_human(false);
            anyhow::anyhow!("the configuration has problems; give --admin URL instead\n{text}")
        })?;
        let admin = &loaded.config.admin;
        let first = || admin.tokens.first().map(|token| token.token.expose().to_owned());
        let token = self.token.clone().or_else(first);
        // A listener on every address is reached on this machine's own.
        let mut address = admin.listen;
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        Ok(AdminPlane { url: format!("http://{address}").parse()?, token })
    }
}

impl AdminPlane {
    /// One request; `null` for an answer without a body.
    pub(super) async fn ask(&self, method: Method, path: &str) -> anyhow::Result<Value> {
        let egress = EgressPolicy { allow_private: true, allow_loopback: true };
        let client = Client::new(Tls::new()?, ClientSettings { egress, write: LIMIT });
        let endpoint = client.endpoint(BaseUrl::of(&self.url));
        let mut request = Request::new(RequestBody::full(Bytes::new()));
        *request.method_mut() = method;
        *request.uri_mut() = format!("{}{path}", endpoint.base().path).parse()?;
        request.headers_mut().insert(HOST, HeaderValue::from_str(&endpoint.base().authority)?);
        if let Some(token) = &self.token {
            request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}"))?);
        }
        let timeouts =
            Timeouts { whole: LIMIT, attempt: None, connect: LIMIT, read: LIMIT, write: LIMIT, body: None };
        let sent = client.send(&endpoint, request, &timeouts, None).await;
        let (head, body) = sent.with_context(|| format!("no answer from {}", self.url))?;
        let octets =
            Limited::new(body, ANSWER_MAX).collect().await.map_err(|error| anyhow::anyhow!("{error}"))?;
        let octets = octets.to_bytes();
        let answer = match octets.as_ref() {
            [] => Value::Null,
            octets => serde_json::from_slice(octets).context("the answer is no JSON")?,
        };
        if !head.status.is_success() {
            let detail = answer.get("detail").and_then(Value::as_str).unwrap_or("no detail");
            bail!("{} answered {}: {detail}", self.url, head.status);
        }
        Ok(answer)
    }
}
