//! What gateways tell each other, as text.
//!
//! Times are spans, counted from when the word is heard: clocks differ, and the way of a word is short. What is not
//! understood is passed over, so that gateways of two versions can share a server.

use bascule_resilience::QuotaReport;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// The longest text that is looked at.
const TEXT_MAX: usize = 4096;

/// One word.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Word {
    /// The gateway that tells.
    pub(super) from: String,
    /// The integration, the operation or the breaker.
    pub(super) about: String,
    pub(super) what: What,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum What {
    /// A circuit opened, for so many milliseconds.
    Opened { ms: u64 },
    /// The provider said to wait, for so many milliseconds.
    Held { ms: u64 },
    /// The provider said what is left.
    Quota(Quota),
}

/// What is left of a quota.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Quota {
    pub(super) name: String,
    pub(super) remaining: u64,
    pub(super) limit: Option<u64>,
    pub(super) window_ms: Option<u64>,
    pub(super) reset_ms: u64,
}

impl Word {
    pub(super) fn to_text(&self) -> String {
        // Text, numbers and options of them always have a form in JSON.
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(super) fn read(text: &[u8]) -> Option<Self> {
        (text.len() <= TEXT_MAX).then(|| serde_json::from_slice(text).ok())?
    }
}

impl Quota {
    /// The report that this is to a limiter, renewed in at most `longest`.
    pub(super) fn report(&self, longest: Duration, now: Instant) -> QuotaReport<'_> {
        QuotaReport {
            name: &self.name,
            remaining: self.remaining,
            limit: self.limit,
            window: self.window_ms.map(Duration::from_millis),
            reset: now + Duration::from_millis(self.reset_ms).min(longest),
            // None of our own calls was answered.
            cost: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_as_they_were_told_and_others_are_passed_over() {
        let quota =
            Quota { name: "minute".into(), remaining: 3, limit: Some(100), window_ms: None, reset_ms: 9 };
        for what in [What::Opened { ms: 1 }, What::Held { ms: u64::MAX }, What::Quota(quota)] {
            let word = Word { from: "a".into(), about: "shop.get".into(), what };
            assert_eq!(Word::read(word.to_text().as_bytes()), Some(word));
        }
        let text = Word { from: "a".into(), about: "b".into(), what: What::Opened { ms: 5 } }.to_text();
        assert_eq!(text, r#"{"from":"a","about":"b","what":{"opened":{"ms":5}}}"#);
        let later = r#"{"from":"a","about":"b","what":{"sang":{"ms":5}}}"#;
        for other in [later, "", "{}", &format!("{text}{}", " ".repeat(TEXT_MAX)), "\u{0}"] {
            assert_eq!(Word::read(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn nonsense_times_are_bounded() {
        let now = Instant::now();
        let quota = Quota {
            name: String::new(),
            remaining: 0,
            limit: None,
            window_ms: Some(u64::MAX),
            reset_ms: u64::MAX,
        };
        assert_eq!(quota.report(Duration::from_secs(60), now).reset, now + Duration::from_secs(60));
    }
}
