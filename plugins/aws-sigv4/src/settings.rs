//! The plugin's configuration, read and checked once per signature.
//!
//! The same code serves `lifecycle.check-config`, so what passes at load cannot fail on a call.

use std::time::Duration;

use bascule_plugin::config::{ConfigError, parse};
use bascule_plugin::json::FromJson;

/// The longest life of a presigned request that AWS accepts.
const EXPIRES_MAX: Duration = Duration::from_secs(7 * 86_400);

/// Reads a member of the configuration as JSON text.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// How to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub(crate) service: String,
    pub(crate) region: String,
    /// Sign in the query instead of in headers, for that long.
    pub(crate) presign: Option<Duration>,
    /// Resolve `.`, `..` and empty segments of the path before hashing it.
    pub(crate) normalize_path: bool,
    /// Send `x-amz-content-sha256`. For S3 it is always sent; off means `UNSIGNED-PAYLOAD` there.
    pub(crate) sign_body: bool,
    /// Send the session token without signing it, as a few services want.
    pub(crate) omit_session_token: bool,
}

impl Settings {
    /// The settings, or the first problem.
    pub fn read(config: Lookup<'_>) -> Result<Self, ConfigError> {
        let service: String = required(config, "service")?;
        let is_s3 = is_s3(&service);
        let presign = match get_or(config, "presign", false)? {
            true => Some(expires(config)?),
            false => None,
        };
        Ok(Self {
            region: required(config, "region")?,
            presign,
            normalize_path: get_or(config, "normalize_path", !is_s3)?,
            sign_body: get_or(config, "sign_body", is_s3)?,
            omit_session_token: get_or(config, "omit_session_token", false)?,
            service,
        })
    }

    /// Every problem of the configuration, for people.
    pub(crate) fn problems(config: Lookup<'_>) -> Vec<String> {
        [
            scope_part(config, "service").err(),
            scope_part(config, "region").err(),
            get_or(config, "presign", false).err().map(text),
            expires(config).err().map(text),
            get_or(config, "normalize_path", true).err().map(text),
            get_or(config, "sign_body", true).err().map(text),
            get_or(config, "omit_session_token", true).err().map(text),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Whether S3's own rules hold: the path is encoded once, and the payload hash always sent.
    pub(crate) fn is_s3(&self) -> bool {
        is_s3(&self.service)
    }
}

fn is_s3(service: &str) -> bool {
    matches!(service, "s3" | "s3-outposts" | "s3-object-lambda")
}

fn expires(config: Lookup<'_>) -> Result<Duration, ConfigError> {
    let expires = get_or(config, "expires", Duration::from_secs(15 * 60))?;
    if expires.subsec_nanos() == 0 && !expires.is_zero() && expires <= EXPIRES_MAX {
        return Ok(expires);
    }
    let expected = "whole seconds, from \"1s\" to \"7d\"";
    Err(ConfigError { path: "expires".to_owned(), expected, found: config("expires") })
}

/// A name that becomes part of the credential scope, which its slashes delimit.
fn scope_part(config: Lookup<'_>, path: &str) -> Result<(), String> {
    let name: String = required(config, path).map_err(text)?;
    let fits = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet);
    if name.is_empty() || !name.bytes().all(fits) {
        return Err(format!("`{path}` must be a name of letters, digits, dots and dashes, not \"{name}\""));
    }
    Ok(())
}

fn required<T: FromJson>(config: Lookup<'_>, path: &str) -> Result<T, ConfigError> {
    parse(path, config(path))?.ok_or_else(|| ConfigError {
        path: path.to_owned(),
        expected: T::EXPECTED,
        found: None,
    })
}

fn get_or<T: FromJson>(config: Lookup<'_>, path: &str, default: T) -> Result<T, ConfigError> {
    Ok(parse(path, config(path))?.unwrap_or(default))
}

fn text(error: ConfigError) -> String {
    error.to_string()
}

#[cfg(test)]
impl Settings {
    pub(crate) fn test(service: &str, region: &str) -> Self {
        let read = |path: &str| match path {
            "service" => Some(format!("\"{service}\"")),
            "region" => Some(format!("\"{region}\"")),
            _ => None,
        };
        Self::read(&read).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config<'a>(members: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |path| members.iter().find(|(name, _)| *name == path).map(|(_, json)| (*json).to_owned())
    }

    #[test]
    fn defaults_depend_on_the_service() {
        let plain = Settings::test("execute-api", "eu-west-1");
        assert!(plain.normalize_path && !plain.sign_body && plain.presign.is_none());
        let s3 = Settings::test("s3", "eu-west-1");
        assert!(!s3.normalize_path && s3.sign_body);
    }

    #[test]
    fn presigning_lasts_fifteen_minutes_unless_told_otherwise() {
        let base = [("service", "\"s3\""), ("region", "\"x\""), ("presign", "true"), ("expires", "\"1h\"")];
        assert_eq!(Settings::read(&config(&base)).unwrap().presign, Some(Duration::from_secs(3_600)));
        assert_eq!(Settings::read(&config(&base[..3])).unwrap().presign, Some(Duration::from_secs(900)));
    }

    #[test]
    fn every_problem_is_named() {
        let bad =
            [("region", "\"us/east\""), ("presign", "1"), ("expires", "\"8d\""), ("sign_body", "\"no\"")];
        let problems = Settings::problems(&config(&bad));
        let named = ["service", "region", "presign", "expires", "sign_body"];
        assert_eq!(problems.len(), named.len(), "{problems:?}");
        for (problem, name) in problems.iter().zip(named) {
            assert!(problem.starts_with(&format!("`{name}`")), "{problem}");
        }
    }
}
