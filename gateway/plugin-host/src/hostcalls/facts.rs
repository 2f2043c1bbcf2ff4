//! `context`, `config` and `clock`: what a plugin may know without a grant.
//!
//! All answers are fixed for the length of a phase, so that a recorded call can be replayed.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::bindings::bascule::plugin::{clock, config, context};
use crate::state::State;

impl context::Host for State {
    fn integration(&mut self) -> wasmtime::Result<String> {
        Ok(self.call.integration.as_ref().to_owned())
    }

    fn operation(&mut self) -> wasmtime::Result<String> {
        Ok(self.call.operation.as_ref().to_owned())
    }

    fn call_id(&mut self) -> wasmtime::Result<String> {
        Ok(self.call.call_id.as_ref().to_owned())
    }

    fn credential(&mut self) -> wasmtime::Result<String> {
        Ok(self.call.credential.as_ref().to_owned())
    }

    fn attempt(&mut self) -> wasmtime::Result<u32> {
        Ok(self.call.attempt)
    }

    fn remaining_ms(&mut self) -> wasmtime::Result<u32> {
        Ok(u32::try_from(self.call.remaining.as_millis()).unwrap_or(u32::MAX))
    }

    fn idempotency_key(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(self.call.idempotency_key.as_deref().map(str::to_owned))
    }

    fn parameters(&mut self) -> wasmtime::Result<String> {
        Ok(self.call.parameters.as_ref().to_owned())
    }

    fn attribute(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.shared.attributes.get(&name).cloned())
    }
}

impl config::Host for State {
    fn get(&mut self, path: String) -> wasmtime::Result<Option<String>> {
        if path.is_empty() {
            return Ok(Some(self.shared.config_text.clone()));
        }
        Ok(look_up(&self.shared.config, &path).map(Value::to_string))
    }
}

/// The value at a dotted path; numbers index arrays.
fn look_up<'a>(config: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(config, |value, step| match value {
        Value::Object(members) => members.get(step),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}

impl clock::Host for State {
    fn now(&mut self) -> wasmtime::Result<clock::Instant> {
        Ok(instant(self.call.now))
    }
}

/// Seconds rounded towards the past, so that the nanoseconds always add.
fn instant(time: SystemTime) -> clock::Instant {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => clock::Instant {
            seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            nanoseconds: since.subsec_nanos(),
        },
        Err(before) => {
            let before = before.duration();
            let whole = -i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            match before.subsec_nanos() {
                0 => clock::Instant { seconds: whole, nanoseconds: 0 },
                nanos => clock::Instant { seconds: whole - 1, nanoseconds: 1_000_000_000 - nanos },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dotted_paths_reach_into_tables_and_arrays() {
        let config = serde_json::json!({ "s3": { "hosts": ["a", { "b": 1 }] }, "flag": null });
        let text = |path| look_up(&config, path).map(Value::to_string);
        assert_eq!(text("s3.hosts.0").as_deref(), Some("\"a\""));
        assert_eq!(text("s3.hosts.1.b").as_deref(), Some("1"));
        assert_eq!(text("flag").as_deref(), Some("null"));
        assert_eq!((text("s3.nothing"), text("s3.hosts.x"), text("flag.x")), (None, None, None));
    }

    #[test]
    fn times_before_the_epoch_round_towards_the_past() {
        let seen = |time| {
            let clock::Instant { seconds, nanoseconds } = instant(time);
            (seconds, nanoseconds)
        };
        assert_eq!(seen(UNIX_EPOCH + Duration::from_millis(1500)), (1, 500_000_000));
        assert_eq!(seen(UNIX_EPOCH - Duration::from_millis(1500)), (-2, 500_000_000));
        assert_eq!(seen(UNIX_EPOCH - Duration::from_secs(2)), (-2, 0));
    }
}
