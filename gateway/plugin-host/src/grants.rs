//! What a plugin may do beyond what every plugin may: the `grants` of the configuration.
//!
//! A grant is parsed once; the rest of the crate asks booleans. Whatever this version cannot carry
//! out is refused here with its own error, so that a configuration never promises more than runs.

/// Grants that this version carries out. [`Default`] grants nothing.
///
/// Keys and secret inserts need no grant of this list: naming a credential grants them on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Grants {
    /// `"random"`: the interface `random`.
    pub random: bool,
    /// `"body-read"`: signer and classifier may read the body that they are shown.
    pub body_read: bool,
}

/// A text of `grants` that grants nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// Not the name of a grant.
    #[error("unknown grant `{grant}`; grants of this version: \"random\", \"body-read\"")]
    Unknown {
        /// The text as configured.
        grant: String,
    },
    /// A grant of the contract that this build does not carry out.
    #[error("the grant `{grant}` is not in this version")]
    NotInThisVersion {
        /// The text as configured.
        grant: String,
    },
}

impl Grants {
    /// The union of the named grants.
    ///
    /// # Errors
    /// [`GrantError::Unknown`] for a text that is no grant, [`GrantError::NotInThisVersion`] for
    /// `telemetry`, `state`, `http:ENDPOINT` and `reveal:NAME`.
    pub fn parse<'a>(grants: impl IntoIterator<Item = &'a str>) -> Result<Self, GrantError> {
        let mut all = Self::default();
        for grant in grants {
            let kind = grant.split_once(':').map_or(grant, |(kind, _)| kind);
            match (grant, kind) {
                ("random", _) => all.random = true,
                ("body-read", _) => all.body_read = true,
                ("telemetry" | "state", _) | (_, "http" | "reveal") => {
                    return Err(GrantError::NotInThisVersion { grant: grant.to_owned() });
                }
                _ => return Err(GrantError::Unknown { grant: grant.to_owned() }),
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_grants_add_up() {
        let grants = Grants::parse(["random", "body-read", "random"]).unwrap();
        assert_eq!(grants, Grants { random: true, body_read: true });
        assert_eq!(Grants::parse([]).unwrap(), Grants::default());
    }

    #[test]
    fn later_grants_are_told_from_unknown_ones() {
        for grant in ["telemetry", "state", "http:payments", "reveal:token"] {
            let error = Grants::parse([grant]).unwrap_err();
            assert_eq!(error, GrantError::NotInThisVersion { grant: grant.to_owned() });
        }
        for grant in ["", "Random", "random:x", "body_read"] {
            assert!(matches!(Grants::parse([grant]), Err(GrantError::Unknown { .. })), "{grant}");
        }
    }
}
