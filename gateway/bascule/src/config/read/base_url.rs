//! URLs: the base of an upstream, and plain ones.

use crate::{
    config::{reader::Field, settings::BaseUrl},
    model::Secret,
};
use percent_encoding::percent_decode_str;
use url::Url;

const HELP: &str = "write \"https://host\", with a port and a path prefix if need be";

/// A base URL and the credentials that stood in it.
pub(crate) struct Base {
    /// The URL without them.
    pub(crate) url: BaseUrl,
    /// `user:password@`.
    pub(crate) user_info: Option<(String, Secret)>,
}

/// Reads a base URL. Messages never quote the value: it may hold a password.
pub(crate) fn base_url(field: &Field<'_, '_>) -> Option<Base> {
    let text = field.text()?;
    match parse(text.value()) {
        Ok(base) => {
            if let Some((user, password)) = &base.user_info {
                field.ctx.secret(password.expose());
                // A user that came from a variable is as secret as the password.
                if text.looked_up().any(|piece| piece.contains(user.as_str())) {
                    field.ctx.secret(user);
                }
            }
            Some(base)
        }
        Err(why) => {
            field.problem(why, HELP);
            None
        }
    }
}

/// Takes a base URL apart.
///
/// # Errors
/// What is wrong with it, without quoting it.
pub(crate) fn parse(text: &str) -> Result<Base, String> {
    let url = http_url(text)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("a base URL has no query and no fragment".to_owned());
    }
    let user_info = user_info(&url)?;
    Ok(Base { url: BaseUrl::of(&url), user_info })
}

/// A URL of http or https, such as a token endpoint.
pub(crate) fn plain_url(field: &Field<'_, '_>) -> Option<Url> {
    let text = field.text()?;
    let checked = http_url(text.value()).and_then(|url| {
        if url.username().is_empty() && url.password().is_none() {
            Ok(url)
        } else {
            Err("the URL holds credentials".to_owned())
        }
    });
    checked.map_err(|why| field.problem(why, "write \"https://host/path\"")).ok()
}

fn http_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("not a URL: {error}"))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(format!("`{other}` is not http or https")),
    }
}

fn user_info(url: &Url) -> Result<Option<(String, Secret)>, String> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let decode = |text: &str| percent_decode_str(text).decode_utf8().map(|text| text.into_owned());
    let user = decode(url.username()).map_err(|_| "the user name is not UTF-8")?;
    let password = decode(url.password().unwrap_or_default()).map_err(|_| "the password is not UTF-8")?;
    Ok(Some((user, Secret::new(password))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_taken_apart() {
        let base = parse("https://api.example.com/v1/").unwrap().url;
        assert_eq!(
            base,
            BaseUrl {
                https: true,
                host: "api.example.com".into(),
                port: 443,
                authority: "api.example.com".into(),
                path: "/v1".into(),
                loopback: false
            }
        );
        let base = parse("http://[::1]:8080").unwrap().url;
        assert_eq!((base.host.as_str(), base.port, base.authority.as_str()), ("::1", 8080, "[::1]:8080"));
        assert_eq!(base.path, "");
        assert!(base.loopback);
    }

    #[test]
    fn loopback_is_what_was_written_as_such() {
        for (url, loopback) in [
            ("http://127.0.0.1", true),
            ("http://127.9.9.9:1", true),
            ("http://localhost", true),
            ("http://[::ffff:127.0.0.1]", true),
            ("http://10.0.0.1", false),
            ("http://localhost.example.com", false),
            ("http://0.0.0.0", false),
        ] {
            assert_eq!(parse(url).unwrap().url.loopback, loopback, "{url}");
        }
    }

    #[test]
    fn what_is_no_base_is_refused() {
        for url in [
            "",
            "api.example.com",
            "ftp://x",
            "https://",
            "https://x/?a=b",
            "https://x/#f",
            "https://x:99999",
        ] {
            assert!(parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn user_and_password_are_decoded() {
        let (user, password) = parse("https://a%40b:p%3Aw@x").unwrap().user_info.unwrap();
        assert_eq!((user.as_str(), password.expose()), ("a@b", "p:w"));
    }
}
