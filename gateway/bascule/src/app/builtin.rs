//! The plugins embedded in the binary.

/// Name and octets of every shipped plugin; no octets where it was not built before the gateway.
const SHIPPED: &[(&str, Option<&[u8]>)] = include!(concat!(env!("OUT_DIR"), "/shipped.rs"));

/// Why `builtin:NAME` names nothing.
#[derive(Debug, thiserror::Error)]
pub enum BuiltinError {
    /// No such plugin is shipped.
    #[error("no plugin `{name}` is built in; there are {}", names())]
    Unknown {
        /// The name.
        name: String,
    },
    /// This build was made without it.
    #[error(
        "the plugin `{name}` was not built before the gateway: run `cargo xtask plugins`, then build again"
    )]
    NotBuilt {
        /// The name.
        name: String,
    },
}

/// The octets of a shipped plugin.
///
/// # Errors
/// [`BuiltinError`] when there is none of that name, or none in this build.
pub fn shipped(name: &str) -> Result<&'static [u8], BuiltinError> {
    let found = SHIPPED.iter().find(|(known, _)| *known == name);
    let (_, octets) = found.ok_or_else(|| BuiltinError::Unknown { name: name.to_owned() })?;
    octets.ok_or_else(|| BuiltinError::NotBuilt { name: name.to_owned() })
}

fn names() -> String {
    SHIPPED.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let text = shipped("nope").unwrap_err().to_string();
        assert!(text.contains("aws-sigv4, github, openweather"), "{text}");
    }
}
