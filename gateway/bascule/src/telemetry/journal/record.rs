//! A line of the journal, for who writes it and who reads it.
//!
//! The format is a promise across versions of the gateway: `v` names it, members are added within a version and
//! ignored by readers that do not know them, and a change of meaning is a new version. `docs/telemetry.md` lists the
//! members; what has its usual value is left out.

use serde::{Deserialize, Serialize};
use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

/// The format of the records that are written.
pub const VERSION: u8 = 1;

/// Attempts that a record holds; further ones are only counted.
pub const ATTEMPTS_MAX: usize = 16;

/// Quotas that a record holds of an attempt; providers have one to three.
pub const QUOTAS_MAX: usize = 4;

/// How calls end that a mechanism refused before the provider was asked.
pub const REFUSALS: [&str; 3] = ["circuit-open", "rate-limited", "overloaded"];

/// What one call came to. Times are milliseconds, fractions to the microsecond.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallRecord {
    /// [`VERSION`].
    pub v: u8,
    /// When the call was accepted, in milliseconds since 1970.
    pub time: u64,
    /// Microseconds beyond that, below 1000: calls of one millisecond stay in their order.
    #[serde(default, skip_serializing_if = "is_none_beyond")]
    pub time_us: u16,
    /// The integration.
    pub integration: String,
    /// The operation; `proxy` for `/proxy`.
    pub operation: String,
    /// The call's priority.
    pub priority: Cow<'static, str>,
    /// Whether making it twice does no harm, so that it may be retried.
    pub safe: bool,
    /// The operation's `timeout`.
    pub timeout_ms: u64,
    /// Status that the caller got; 499 when it left before.
    pub status: u16,
    /// Kind of rung that answered, the first word of `Bascule-Source`; none for a problem document.
    #[serde(default)]
    pub source: Option<Cow<'static, str>>,
    /// `success`, or the kind of failure, also when a rung of the ladder answered.
    pub ended: Cow<'static, str>,
    /// One of [`REFUSALS`] when the provider was not asked for it.
    #[serde(default)]
    pub refused: Option<Cow<'static, str>>,
    /// What the cache had: `bypass`, `hit`, `stale`, `miss` or `coalesced`.
    pub cache: Cow<'static, str>,
    /// The whole call, the answer's body included.
    pub elapsed_ms: f64,
    /// Waiting for a place among the integration's calls.
    pub queued_ms: f64,
    /// The attempts in the order in which they began, at most [`ATTEMPTS_MAX`].
    pub attempts: Vec<AttemptRecord>,
    /// Attempts beyond those.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u32,
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// `integration.operation` when it is not the call's own: a fallback operation, a branch of a fan-out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// When it was sent, from the call's acceptance.
    pub at_ms: f64,
    /// From there to the judgement: the head of a streamed answer, the end of one that was held.
    pub ms: f64,
    /// The outcome (`semantics.md` §2); `cancelled` also when the call ended before the attempt did.
    pub outcome: Cow<'static, str>,
    /// The provider's status; none without an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The wait that the provider asked for, before any clamp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// What the answer said about the provider's quotas, at most [`QUOTAS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quotas: Vec<QuotaRecord>,
    /// Whether a time limit ended it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub timed_out: bool,
    /// Whether the provider may have seen the request.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub sent: bool,
    /// Whether it ran beside an earlier attempt.
    #[serde(default, skip_serializing_if = "is_false")]
    pub hedge: bool,
}

/// What a provider said about one of its quotas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaRecord {
    /// Which of the integration's quotas, counted from 0 in the order in which this run of the gateway heard of them:
    /// their names are the provider's words.
    pub number: u8,
    /// Calls that are left.
    pub remaining: u64,
    /// Calls per window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The window's length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_ms: Option<u64>,
    /// Until it is renewed, from the answer on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_ms: Option<u64>,
}

/// Stands for calls that are not in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DroppedRecord {
    pub(super) dropped: u64,
}

impl Default for AttemptRecord {
    /// An attempt that is under way: sent, and cancelled unless something else becomes of it.
    fn default() -> Self {
        Self {
            of: None,
            at_ms: 0.0,
            ms: 0.0,
            outcome: Cow::Borrowed("cancelled"),
            status: None,
            retry_after_ms: None,
            quotas: Vec::new(),
            timed_out: false,
            sent: true,
            hedge: false,
        }
    }
}

/// Milliseconds to the microsecond.
pub fn millis(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1e3
}

/// Whole milliseconds, cut off.
pub fn whole_millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds since 1970, and the microseconds beyond them; 0 for times before.
pub fn unix_millis(at: SystemTime) -> (u64, u16) {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let beyond = u16::try_from(since.subsec_micros() % 1000).unwrap_or_default();
    (whole_millis(since), beyond)
}

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_true(value: &bool) -> bool {
    *value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_false(value: &bool) -> bool {
    !value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_none_beyond(value: &u16) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_compact_and_reads_back() {
        let record = CallRecord {
            v: VERSION,
            time: 1_795_262_758_042,
            time_us: 7,
            integration: "weather".into(),
            operation: "get_current".into(),
            priority: "normal".into(),
            safe: true,
            timeout_ms: 5000,
            status: 200,
            source: Some("operation".into()),
            ended: "upstream-429".into(),
            refused: None,
            cache: "miss".into(),
            elapsed_ms: 12.345,
            queued_ms: 0.0,
            attempts: vec![
                AttemptRecord {
                    at_ms: 0.25,
                    ms: 3.5,
                    outcome: "throttled".into(),
                    status: Some(429),
                    retry_after_ms: Some(2000),
                    quotas: vec![
                        QuotaRecord {
                            number: 0,
                            remaining: 0,
                            limit: Some(10),
                            window_ms: Some(60_000),
                            reset_ms: Some(2500),
                        },
                        QuotaRecord { number: 1, remaining: 7, limit: None, window_ms: None, reset_ms: None },
                    ],
                    ..AttemptRecord::default()
                },
                AttemptRecord {
                    of: Some("backup.get".into()),
                    at_ms: 4.0,
                    ms: 8.0,
                    outcome: "transient".into(),
                    timed_out: true,
                    sent: false,
                    hedge: true,
                    ..AttemptRecord::default()
                },
            ],
            more: 0,
        };
        let line = serde_json::to_string(&record).unwrap();
        let expected = concat!(
            r#"{"v":1,"time":1795262758042,"time_us":7,"integration":"weather","operation":"get_current","priority":"normal","#,
            r#""safe":true,"timeout_ms":5000,"status":200,"source":"operation","ended":"upstream-429","refused":null,"#,
            r#""cache":"miss","elapsed_ms":12.345,"queued_ms":0.0,"attempts":["#,
            r#"{"at_ms":0.25,"ms":3.5,"outcome":"throttled","status":429,"retry_after_ms":2000,"#,
            r#""quotas":[{"number":0,"remaining":0,"limit":10,"window_ms":60000,"reset_ms":2500},{"number":1,"remaining":7}]},"#,
            r#"{"of":"backup.get","at_ms":4.0,"ms":8.0,"outcome":"transient","timed_out":true,"sent":false,"hedge":true}]}"#
        );
        assert_eq!(line, expected);
        assert_eq!(serde_json::from_str::<CallRecord>(&line).unwrap(), record);
        let newer = line.replacen("\"v\":1", "\"v\":1,\"later\":{\"x\":1}", 1);
        assert_eq!(
            serde_json::from_str::<CallRecord>(&newer).unwrap(),
            record,
            "unknown members are ignored"
        );
    }
}
