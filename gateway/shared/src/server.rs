//! Which server: what its URL says.
//!
//! | URL                                     | is                            |
//! |-----------------------------------------|-------------------------------|
//! | `redis://[user][:password@]host[:port][/db]`  | TCP, port 6379 unless it says |
//! | `rediss://…`                            | the same over TLS             |
//! | `unix:///path[?db=…&user=…&pass=…]`     | a socket of this machine      |
//!
//! `valkey` may be written for `redis` everywhere. What is shown of a server never has its user or password.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use url::Url;

/// Where a server listens unless its URL says.
const PORT: u16 = 6379;

/// A server and how to log in.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    pub(crate) place: Place,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: u32,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Tcp { host: String, port: u16, tls: bool },
    Unix(PathBuf),
}

/// Why a URL names no server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerProblem {
    /// It is no URL.
    #[error("is not a URL")]
    Syntax,
    /// Its scheme is another.
    #[error("has a scheme other than `redis`, `rediss`, `valkey`, `valkeys` and `unix`")]
    Scheme,
    /// It names no host, or no path of a socket.
    #[error("names neither a host nor a socket")]
    Place,
    /// Its path is more than the number of a database.
    #[error("has a path that is not the number of a database")]
    Database,
    /// It has a query that is not known, or a fragment.
    #[error("has a query or a fragment that is not known")]
    Extra,
    /// User or password are no UTF-8 text.
    #[error("has a user or a password that is not text")]
    Login,
}

impl Server {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`ServerProblem`] when it names no server; its text follows "the URL" and quotes nothing of it.
    pub fn parse(url: &str) -> Result<Self, ServerProblem> {
        let url = Url::parse(url).map_err(|_| ServerProblem::Syntax)?;
        if url.fragment().is_some() {
            return Err(ServerProblem::Extra);
        }
        match url.scheme() {
            "redis" | "valkey" => Self::tcp(&url, false),
            "rediss" | "valkeys" => Self::tcp(&url, true),
            "unix" | "redis+unix" | "valkey+unix" => Self::unix(&url),
            _ => Err(ServerProblem::Scheme),
        }
    }

    /// Whether it is reached over TLS.
    #[must_use]
    pub const fn needs_tls(&self) -> bool {
        matches!(self.place, Place::Tcp { tls: true, .. })
    }

    /// Whether what is sent to it stays on this machine: a socket, a loopback address or `localhost`.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match &self.place {
            Place::Unix(_) => true,
            Place::Tcp { host, .. } => {
                host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }

    /// The password of its login, which is not to be shown.
    #[must_use]
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    fn tcp(url: &Url, tls: bool) -> Result<Self, ServerProblem> {
        if url.query().is_some() {
            return Err(ServerProblem::Extra);
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(ServerProblem::Place)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let database = match url.path().trim_matches('/') {
            "" => 0,
            number => number.parse().map_err(|_| ServerProblem::Database)?,
        };
        let username = Some(url.username()).filter(|name| !name.is_empty()).map(decoded).transpose()?;
        let password = url.password().map(decoded).transpose()?;
        let place = Place::Tcp { host, port: url.port().unwrap_or(PORT), tls };
        Ok(Self { place, username, password, database })
    }

    fn unix(url: &Url) -> Result<Self, ServerProblem> {
        let path = decoded(url.path())?;
        if path.len() < 2 || url.host_str().is_some_and(|host| !host.is_empty()) {
            return Err(ServerProblem::Place);
        }
        let mut server =
            Self { place: Place::Unix(path.into()), username: None, password: None, database: 0 };
        for (name, value) in url.query_pairs() {
            match &*name {
                "db" => server.database = value.parse().map_err(|_| ServerProblem::Database)?,
                "user" => server.username = Some(value.into_owned()),
                "pass" => server.password = Some(value.into_owned()),
                _ => return Err(ServerProblem::Extra),
            }
        }
        Ok(server)
    }
}

fn decoded(text: &str) -> Result<String, ServerProblem> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| ServerProblem::Login)?;
    Ok(text.into_owned())
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp { host, port, tls } => {
                let scheme = if *tls { "rediss" } else { "redis" };
                let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
                write!(f, "{scheme}://{open}{host}{close}:{port}/{}", self.database)
            }
            Place::Unix(path) => write!(f, "unix://{}?db={}", path.display(), self.database),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_shown_without_the_login() {
        for (url, shown, local) in [
            ("redis://127.0.0.1", "redis://127.0.0.1:6379/0", true),
            ("redis://:hunter2@cache.internal:7000/3", "redis://cache.internal:7000/3", false),
            ("valkeys://joe:hunter2@cache.internal", "rediss://cache.internal:6379/0", false),
            ("redis://[::1]:7000/", "redis://[::1]:7000/0", true),
            ("unix:///run/redis.sock?db=2&user=joe&pass=hunter2", "unix:///run/redis.sock?db=2", true),
            ("redis+unix:///run/redis.sock", "unix:///run/redis.sock?db=0", true),
        ] {
            let server = Server::parse(url).unwrap();
            assert_eq!(server.to_string(), shown);
            assert_eq!(server.is_local(), local, "{url}");
            assert_eq!(server.needs_tls(), shown.starts_with("rediss"), "{url}");
            assert!(!format!("{server:?}").contains("hunter2"));
        }
    }

    #[test]
    fn logins_are_percent_decoded() {
        let server = Server::parse("redis://jo%40e:p%3Aw%2Fd@host/1").unwrap();
        assert_eq!(server.username.as_deref(), Some("jo@e"));
        assert_eq!(server.password.as_deref(), Some("p:w/d"));
        assert_eq!(server.database, 1);
        let server = Server::parse("unix:///run/s?user=joe&pass=a%26b").unwrap();
        assert_eq!((server.username.as_deref(), server.password.as_deref()), (Some("joe"), Some("a&b")));
    }

    #[test]
    fn what_names_no_server_is_refused_for_its_reason() {
        for (url, problem) in [
            ("cache.internal", ServerProblem::Syntax),
            ("http://cache.internal", ServerProblem::Scheme),
            ("redis:///1", ServerProblem::Place),
            ("unix://host/run/s", ServerProblem::Place),
            ("unix:///", ServerProblem::Place),
            ("redis://host/zero", ServerProblem::Database),
            ("redis://host/1/2", ServerProblem::Database),
            ("redis://host?protocol=resp3", ServerProblem::Extra),
            ("rediss://host#insecure", ServerProblem::Extra),
            ("unix:///run/s?dbs=1", ServerProblem::Extra),
            ("redis://a%ff@host", ServerProblem::Login),
        ] {
            assert_eq!(Server::parse(url), Err(problem), "{url}");
        }
    }
}
