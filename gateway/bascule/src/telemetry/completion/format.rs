//! Completion records as lines: the same fields as JSON or as text, shaped like the other log lines.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use serde_json::{Map, Value};

use super::CompletionRecord;
use crate::telemetry::{attributes::log, logs::LogFormat, timestamp::rfc3339};

/// The line of a record, with its line feed.
pub(super) fn record(format: LogFormat, record: &CompletionRecord) -> String {
    line(format, record.at, "INFO", "call completed", fields(record))
}

/// The line that says how many records are missing.
pub(super) fn dropped(format: LogFormat, at: SystemTime, count: u64) -> String {
    line(format, at, "WARN", "completion records dropped", vec![(log::DROPPED, count.into())])
}

fn fields(record: &CompletionRecord) -> Vec<(&'static str, Value)> {
    let text = |text: &Option<String>| text.as_deref().map_or(Value::Null, Value::from);
    let fixed = |text: Option<&'static str>| text.map_or(Value::Null, Value::from);
    let mut fields = vec![
        (log::TRACE_ID, record.trace_id.as_str().into()),
        (log::INTEGRATION, text(&record.integration)),
        (log::OPERATION, text(&record.operation)),
        (log::CALLER, text(&record.caller)),
        (log::METHOD, record.method.as_str().into()),
        (log::STATUS, record.status.into()),
        (log::SOURCE, text(&record.source)),
        (log::CACHE, text(&record.cache)),
        (log::ATTEMPTS, record.attempts.into()),
        (log::OUTCOME, fixed(record.outcome)),
        (log::PROBLEM, fixed(record.problem)),
        (log::FALLBACK, text(&record.fallback)),
        (log::DURATION, millis(record.elapsed)),
        (log::UPSTREAM, millis(record.upstream)),
        (log::PLUGIN, millis(record.plugin)),
        (log::BYTES_IN, record.bytes_in.into()),
        (log::BYTES_OUT, record.bytes_out.into()),
    ];
    fields.retain(|(_, value)| !value.is_null());
    fields
}

/// Milliseconds to the microsecond.
fn millis(span: Duration) -> Value {
    Value::from((span.as_secs_f64() * 1e6).round() / 1e3)
}

fn line(
    format: LogFormat,
    at: SystemTime,
    level: &str,
    message: &str,
    fields: Vec<(&'static str, Value)>,
) -> String {
    match format {
        LogFormat::Json => json(at, level, message, fields),
        LogFormat::Text => text(at, level, message, &fields),
    }
}

fn json(at: SystemTime, level: &str, message: &str, fields: Vec<(&'static str, Value)>) -> String {
    let mut members = Map::new();
    members.insert("timestamp".into(), rfc3339(at).into());
    members.insert("level".into(), level.into());
    members.insert("message".into(), message.into());
    members.extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
    members.insert("target".into(), log::TARGET.into());
    let mut line = Value::Object(members).to_string();
    line.push('\n');
    line
}

fn text(at: SystemTime, level: &str, message: &str, fields: &[(&'static str, Value)]) -> String {
    let mut line = format!("{} {level:>5} {}: {message}", rfc3339(at), log::TARGET);
    for (name, value) in fields {
        // Writing to a string cannot fail.
        let _ = match value {
            Value::String(text) if is_plain(text) => write!(line, " {name}={text}"),
            Value::String(text) => write!(line, " {name}={text:?}"),
            other => write!(line, " {name}={other}"),
        };
    }
    line.push('\n');
    line
}

/// Whether a value can stand without quotes: nothing that could be taken for the next field or line.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_ascii_graphic() && !matches!(letter, '"' | '='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> CompletionRecord {
        CompletionRecord {
            at: SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_262_758_000_042),
            trace_id: "0af7651916cd43dd8448eb211c80319c".into(),
            integration: Some("weather".into()),
            operation: Some("get_current".into()),
            caller: Some("billing team\n".into()),
            method: "GET".into(),
            status: 200,
            source: Some("stale".into()),
            cache: Some("bascule; hit; ttl=-30; detail=circuit-open".into()),
            attempts: 0,
            outcome: None,
            problem: None,
            fallback: Some("cache".into()),
            elapsed: Duration::from_micros(1234),
            upstream: Duration::ZERO,
            plugin: Duration::from_nanos(41_600),
            bytes_in: 0,
            bytes_out: 512,
        }
    }

    #[test]
    fn a_record_as_json_is_one_flat_object() {
        let line = record(LogFormat::Json, &example());
        assert!(line.ends_with("}\n") && line.matches('\n').count() == 1);
        let expected = serde_json::json!({
            "timestamp": "2026-11-21T12:05:58.000042Z", "level": "INFO", "message": "call completed",
            "trace_id": "0af7651916cd43dd8448eb211c80319c", "integration": "weather", "operation": "get_current",
            "caller": "billing team\n", "method": "GET", "status": 200, "source": "stale",
            "cache": "bascule; hit; ttl=-30; detail=circuit-open", "attempts": 0, "fallback": "cache",
            "duration_ms": 1.234, "upstream_ms": 0.0, "plugin_ms": 0.042, "bytes_in": 0, "bytes_out": 512,
            "target": "bascule::call"
        });
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), expected);
    }

    #[test]
    fn a_record_as_text_is_one_line_whatever_is_in_it() {
        let line = record(LogFormat::Text, &example());
        let expected = "2026-11-21T12:05:58.000042Z  INFO bascule::call: call completed \
            trace_id=0af7651916cd43dd8448eb211c80319c integration=weather operation=get_current \
            caller=\"billing team\\n\" method=GET status=200 source=stale \
            cache=\"bascule; hit; ttl=-30; detail=circuit-open\" attempts=0 fallback=cache duration_ms=1.234 \
            upstream_ms=0.0 plugin_ms=0.042 bytes_in=0 bytes_out=512\n";
        assert_eq!(line, expected);
    }

    #[test]
    fn dropped_records_are_told_in_both_formats() {
        let at = SystemTime::UNIX_EPOCH;
        let text = dropped(LogFormat::Text, at, 7);
        assert!(text.ends_with(" WARN bascule::call: completion records dropped dropped=7\n"), "{text}");
        let json: Value = serde_json::from_str(&dropped(LogFormat::Json, at, 7)).unwrap();
        assert_eq!((&json["level"], &json["dropped"]), (&"WARN".into(), &7.into()));
    }
}
