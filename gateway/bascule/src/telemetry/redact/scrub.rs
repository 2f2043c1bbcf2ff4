//! Finds secrets in a text, all of them in one pass.
//!
//! Overlapping finds are merged: where two secrets share octets, neither's rest stays behind.

use std::borrow::Cow;

use aho_corasick::AhoCorasick;

use super::{REDACTED, encodings};
use crate::model::Secret;

/// The values to hide.
pub(super) enum Scrub {
    /// There are none.
    Nothing,
    /// These.
    Values(Box<AhoCorasick>),
    /// More than can be searched for: every text is hidden rather than one secret shown.
    Everything,
}

impl Scrub {
    pub(super) fn new(secrets: &[Secret]) -> Self {
        let mut forms: Vec<String> =
            secrets.iter().flat_map(|secret| encodings::forms(secret.expose())).collect();
        forms.sort_unstable();
        forms.dedup();
        if forms.is_empty() {
            return Self::Nothing;
        }
        match AhoCorasick::new(&forms) {
            Ok(found) => Self::Values(Box::new(found)),
            Err(_) => Self::Everything,
        }
    }

    pub(super) fn apply<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let values = match self {
            Self::Nothing => return Cow::Borrowed(text),
            Self::Everything => return Cow::Borrowed(REDACTED),
            Self::Values(values) => values,
        };
        if !values.is_match(text) {
            return Cow::Borrowed(text);
        }
        let mut finds: Vec<(usize, usize)> =
            values.find_overlapping_iter(text).map(|found| (found.start(), found.end())).collect();
        finds.sort_unstable();
        let mut shown = String::with_capacity(text.len());
        let mut hidden_to: Option<usize> = None;
        for (start, end) in finds {
            match hidden_to {
                Some(reach) if start <= reach => hidden_to = Some(reach.max(end)),
                reach => {
                    shown.push_str(text.get(reach.unwrap_or(0)..start).unwrap_or_default());
                    shown.push_str(REDACTED);
                    hidden_to = Some(end);
                }
            }
        }
        shown.push_str(text.get(hidden_to.unwrap_or(0)..).unwrap_or_default());
        Cow::Owned(shown)
    }
}
