//! What a plugin may do beyond what every plugin may: the `grants` of the configuration.
//!
//! A grant is parsed once; the rest of the crate asks fields. An interface that needs a grant is known
//! here too, so that the load error can give the whole line to write.

use std::collections::BTreeSet;

/// The endpoint of the integration's own base URL, as grants and side requests name it.
pub(crate) const DEFAULT_ENDPOINT: &str = "default";

/// Interfaces that need a grant, with the smallest one that lets them be imported.
const NEEDED: [(&str, &str); 5] = [
    ("random", "random"),
    ("state", "state"),
    ("telemetry", "telemetry"),
    ("http", "http:default"),
    ("secrets", "reveal:NAME"),
];

/// What one plugin is granted. [`Default`] grants nothing.
///
/// Keys and secret inserts need no grant of this list: naming a credential grants them on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// `"random"`: the interface `random`.
    pub random: bool,
    /// `"body-read"`: signer and classifier may read the body that they are shown.
    pub body_read: bool,
    /// `"telemetry"`: measurements and span attributes of its own.
    pub telemetry: bool,
    /// `"state"`: entries that last from call to call.
    pub state: bool,
    /// `"http:ENDPOINT"`: endpoints for side requests; `default` is the integration's own base URL.
    pub http: BTreeSet<String>,
    /// `"reveal:NAME"`: credentials that the plugin may read as they are.
    pub reveal: BTreeSet<String>,
}

/// A text of `grants` that grants nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// Not the name of a grant.
    #[error(
        "unknown grant `{grant}`; there are \"random\", \"body-read\", \"telemetry\", \"state\", \
         \"http:ENDPOINT\" and \"reveal:NAME\""
    )]
    Unknown {
        /// The text as configured.
        grant: String,
    },
}

impl Grants {
    /// The union of the named grants.
    ///
    /// # Errors
    /// [`GrantError::Unknown`] for a text that is no grant, an empty ENDPOINT or NAME included.
    pub fn parse<'a>(grants: impl IntoIterator<Item = &'a str>) -> Result<Self, GrantError> {
        let mut all = Self::default();
        grants.into_iter().try_for_each(|grant| all.add(grant))?;
        Ok(all)
    }

    fn add(&mut self, grant: &str) -> Result<(), GrantError> {
        match grant.split_once(':') {
            None if grant == "random" => self.random = true,
            None if grant == "body-read" => self.body_read = true,
            None if grant == "telemetry" => self.telemetry = true,
            None if grant == "state" => self.state = true,
            Some(("http", endpoint)) if !endpoint.is_empty() => {
                self.http.insert(endpoint.to_owned());
            }
            Some(("reveal", name)) if !name.is_empty() => {
                self.reveal.insert(name.to_owned());
            }
            _ => return Err(GrantError::Unknown { grant: grant.to_owned() }),
        }
        Ok(())
    }

    /// These grants, and the smallest further ones that let these interfaces be imported.
    pub(crate) fn with<'a>(mut self, interfaces: impl IntoIterator<Item = &'a str>) -> Self {
        for grant in interfaces.into_iter().filter_map(needed_for) {
            let known = self.add(grant);
            debug_assert!(known.is_ok(), "{grant} is a grant");
        }
        self
    }

    /// Everything that can be granted: for looking at a plugin whose configuration is not known.
    pub(crate) fn all() -> Self {
        let some = Self { body_read: true, ..Self::default() };
        some.with(NEEDED.into_iter().map(|(interface, _)| interface))
    }

    /// Whether that interface may be imported.
    pub(crate) fn cover(&self, interface: &str) -> bool {
        match interface {
            "random" => self.random,
            "state" => self.state,
            "telemetry" => self.telemetry,
            "http" => !self.http.is_empty(),
            "secrets" => !self.reveal.is_empty(),
            _ => true,
        }
    }

    /// The line of the configuration that grants this.
    pub(crate) fn line(&self) -> String {
        let plain = [
            (self.random, "random"),
            (self.body_read, "body-read"),
            (self.state, "state"),
            (self.telemetry, "telemetry"),
        ];
        let mut names: Vec<String> =
            plain.into_iter().filter(|(granted, _)| *granted).map(|(_, name)| name.to_owned()).collect();
        names.extend(self.http.iter().map(|endpoint| format!("http:{endpoint}")));
        names.extend(self.reveal.iter().map(|name| format!("reveal:{name}")));
        let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
        format!("grants = [{}]", quoted.join(", "))
    }
}

/// The smallest grant that lets that interface be imported; `None` when it needs none.
pub(crate) fn needed_for(interface: &str) -> Option<&'static str> {
    NEEDED.into_iter().find_map(|(name, grant)| (name == interface).then_some(grant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_grants_add_up() {
        let texts = ["random", "body-read", "http:default", "http:auth", "reveal:key", "state", "telemetry"];
        let grants = Grants::parse(texts.into_iter().chain(["random", "http:auth"])).unwrap();
        assert!(grants.random && grants.body_read && grants.state && grants.telemetry);
        assert_eq!(Vec::from_iter(&grants.http), ["auth", "default"]);
        assert_eq!(Vec::from_iter(&grants.reveal), ["key"]);
        assert_eq!(Grants::parse([]).unwrap(), Grants::default());
    }

    #[test]
    fn texts_that_grant_nothing_are_refused() {
        for grant in ["", "Random", "random:x", "body_read", "http", "http:", "reveal", "reveal:", "state:"] {
            let error = Grants::parse([grant]).unwrap_err();
            assert_eq!(error, GrantError::Unknown { grant: grant.to_owned() });
        }
    }

    #[test]
    fn every_needed_grant_covers_its_interface_and_no_other() {
        for (interface, grant) in NEEDED {
            let grants = Grants::parse([grant]).unwrap();
            let covered: Vec<_> = NEEDED.into_iter().filter(|(name, _)| grants.cover(name)).collect();
            assert_eq!(covered, [(interface, grant)]);
            assert!(Grants::all().cover(interface));
        }
        assert!(Grants::default().cover("crypto") && needed_for("crypto").is_none());
    }

    #[test]
    fn the_line_keeps_what_is_granted() {
        let grants = Grants::parse(["http:auth", "random"]).unwrap();
        let all = grants.with(["http", "state", "log", "secrets"]);
        assert_eq!(all.line(), r#"grants = ["random", "state", "http:auth", "http:default", "reveal:NAME"]"#);
        assert_eq!(Grants::default().line(), "grants = []");
    }
}
