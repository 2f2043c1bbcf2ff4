//! A guest that returns a fault of the kind named by the parameter `kind`, from the phase named by `phase`.
//!
//! Both are spelt as in the WIT (`not-found`, `response-mapper`). The fault's code is `as-asked`, its details
//! name the phase, its wait is 1.5 s. Every other phase does nothing; the error mapper, which must give a
//! fault, then says `upstream-failed`. An unknown kind is `internal` with the code `unknown-kind`.

use std::time::Duration;

use bascule_plugin::{
    AuthPatch, Body, Cause, ErrorMapper, Fault, FaultKind, MappedRequest, Mapping, Reply, RequestHead,
    RequestMapper, ResponseHead, ResponseMapper, Signer, export, json, parameters,
};

struct Faulty;

impl RequestMapper for Faulty {
    fn map_request(draft: RequestHead, _: &Body) -> Result<Mapping, Fault> {
        fail_if_asked("request-mapper")?;
        Ok(MappedRequest::unchanged(draft).into())
    }
}

impl Signer for Faulty {
    fn sign(_: RequestHead, _: &str, _: Option<&Body>) -> Result<AuthPatch, Fault> {
        fail_if_asked("signer")?;
        Ok(AuthPatch::new())
    }
}

impl ResponseMapper for Faulty {
    fn map_response(head: ResponseHead, _: &Body, _: Vec<u8>) -> Result<Reply, Fault> {
        fail_if_asked("response-mapper")?;
        Ok(Reply { status: head.status, headers: head.headers, body: None })
    }
}

impl ErrorMapper for Faulty {
    fn map_error(_: Cause, _: Option<ResponseHead>, _: Option<&Body>, _: Vec<u8>) -> Fault {
        match fail_if_asked("error-mapper") {
            Err(fault) => fault,
            Ok(()) => Fault::new(FaultKind::UpstreamFailed, "upstream-failed", "the upstream failed"),
        }
    }
}

fn fail_if_asked(phase: &str) -> Result<(), Fault> {
    if parameters::get::<String>("phase")?.is_some_and(|asked| asked == phase) {
        return Err(fault(&parameters::get::<String>("kind")?.unwrap_or_default(), phase));
    }
    Ok(())
}

fn fault(kind: &str, phase: &str) -> Fault {
    let Some(kind) = kind_of(kind) else {
        return Fault::internal("unknown-kind", format!("`{kind}` is not a kind of fault"));
    };
    Fault::new(kind, "as-asked", "a fault was asked for")
        .with_details(format!(r#"{{"phase":{}}}"#, json::quote(phase)))
        .with_retry_after(Duration::from_millis(1500))
}

fn kind_of(name: &str) -> Option<FaultKind> {
    Some(match name {
        "invalid-input" => FaultKind::InvalidInput,
        "unauthorized" => FaultKind::Unauthorized,
        "payment-required" => FaultKind::PaymentRequired,
        "forbidden" => FaultKind::Forbidden,
        "not-found" => FaultKind::NotFound,
        "conflict" => FaultKind::Conflict,
        "rate-limited" => FaultKind::RateLimited,
        "upstream-invalid" => FaultKind::UpstreamInvalid,
        "upstream-failed" => FaultKind::UpstreamFailed,
        "unsupported" => FaultKind::Unsupported,
        "internal" => FaultKind::Internal,
        _ => return None,
    })
}

export!(Faulty: request_mapper, signer, response_mapper, error_mapper);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fault_is_of_the_kind_that_was_asked_for() {
        let fault = fault("not-found", "signer");
        assert_eq!((fault.kind, fault.code.as_str()), (FaultKind::NotFound, "as-asked"));
        assert_eq!(fault.details.as_deref(), Some(r#"{"phase":"signer"}"#));
        assert_eq!(fault.retry_after_ms, Some(1500));
    }

    #[test]
    fn an_unknown_kind_says_so() {
        assert_eq!(fault("nonsense", "signer").code, "unknown-kind");
    }
}
