//! From OpenWeather's `{"cod": …, "message": …}` to faults with codes.

use std::time::Duration;

use bascule_plugin::{Fault, FaultKind, HeaderLines, ResponseHead};
use serde::Deserialize;

#[derive(Deserialize, Default)]
struct Problem {
    message: Option<String>,
}

/// The fault for an answer that was no success. `cod` repeats the status, sometimes as a text: the status counts.
pub(crate) fn fault(head: &ResponseHead, body: &[u8]) -> Fault {
    let problem: Problem = serde_json::from_slice(body).unwrap_or_default();
    let (kind, code) = match head.status {
        400 => (FaultKind::InvalidInput, "invalid-place"),
        401 => (FaultKind::Unauthorized, "invalid-api-key"),
        404 => (FaultKind::NotFound, "place-not-found"),
        429 => (FaultKind::RateLimited, "rate-limited"),
        status if (400..500).contains(&status) => (FaultKind::UpstreamFailed, "rejected"),
        _ => (FaultKind::UpstreamFailed, "upstream-failed"),
    };
    let message = problem.message.unwrap_or_else(|| format!("openweather answered {}", head.status));
    let fault = Fault::new(kind, code, message);
    match head.number("retry-after") {
        Some(seconds) => fault.with_retry_after(Duration::from_secs(seconds)),
        None => fault,
    }
}

#[cfg(test)]
mod tests {
    use bascule_plugin::Header;

    use super::*;

    fn mapped(status: u16, body: &str) -> Fault {
        fault(&ResponseHead { status, headers: vec![Header::new("retry-after", "5")] }, body.as_bytes())
    }

    #[test]
    fn an_unknown_place_is_not_found_however_cod_is_written() {
        for cod in ["404", "\"404\""] {
            let fault = mapped(404, &format!(r#"{{"cod":{cod},"message":"city not found"}}"#));
            assert_eq!((fault.kind, fault.code.as_str()), (FaultKind::NotFound, "place-not-found"));
            assert_eq!(fault.message, "city not found");
        }
    }

    #[test]
    fn limits_tell_how_long_to_wait() {
        let fault = mapped(429, "{}");
        assert_eq!((fault.code.as_str(), fault.retry_after_ms), ("rate-limited", Some(5_000)));
    }

    #[test]
    fn other_failures_go_by_status() {
        assert_eq!(mapped(401, "{}").kind, FaultKind::Unauthorized);
        assert_eq!(mapped(418, "").code, "rejected");
        assert_eq!(mapped(500, "oops").message, "openweather answered 500");
    }
}
