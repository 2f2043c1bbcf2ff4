//! The custom section in which a plugin file brings its exchanges along.
//!
//! It may stand in a core module or in a component, at any depth, since tools that make one of the other keep it
//! where it was. It is not part of what runs.

use wasmparser::{Parser, Payload};

use super::exchange::{DOCUMENT_BYTES_MAX, ExchangeError};

/// Its name.
const NAME: &str = "bascule:exchanges";

/// What the sections of that name hold.
///
/// # Errors
/// [`ExchangeError::TooLarge`] when they are too large together, [`ExchangeError::Component`] when the file is no
/// WebAssembly.
pub(super) fn documents(file: &[u8]) -> Result<Vec<&[u8]>, ExchangeError> {
    let (mut found, mut size) = (Vec::new(), 0);
    for payload in Parser::new(0).parse_all(file) {
        let Payload::CustomSection(section) =
            payload.map_err(|error| ExchangeError::Component(error.into()))?
        else {
            continue;
        };
        if section.name() == NAME {
            size += section.data().len();
            found.push(section.data());
        }
        if size > DOCUMENT_BYTES_MAX {
            return Err(ExchangeError::TooLarge);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_found_at_any_depth_and_bounded_together() {
        let at = |data: &str| format!("(@custom \"{NAME}\" \"{data}\")");
        let text = format!("(component {} (core module {}))", at("outer"), at("inner"));
        assert_eq!(documents(&wat::parse_str(text).unwrap()).unwrap(), [&b"outer"[..], b"inner"]);
        let half = "x".repeat(DOCUMENT_BYTES_MAX / 2);
        let read = |text: String| documents(&wat::parse_str(text).unwrap()).map(|found| found.len());
        assert!(matches!(read(format!("(module {}{})", at(&half), at(&half))), Ok(2)));
        assert!(matches!(
            read(format!("(module {}{}{})", at(&half), at(&half), at("x"))),
            Err(ExchangeError::TooLarge)
        ));
        assert!(matches!(documents(b"\0asm"), Err(ExchangeError::Component(_))));
    }
}
