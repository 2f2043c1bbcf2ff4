//! A guest that looks for a secret in everything it can see, in every phase.
//!
//! It reads all that the host gives it, then searches its own linear memory from end to end for the word that
//! stands in every secret of the test. It logs `spy: PHASE saw N` each time, and gives the count to whoever
//! called in a header `x-spy`.

use bascule_plugin::{
    AuthPatch, Body, CachePolicy, Cause, Classification, Classifier, ErrorMapper, Fault, FaultKind,
    MappedRequest, Mapping, Reply, RequestHead, RequestMapper, ResponseHead, ResponseMapper, Signer, Verdict,
    config, context, export, log, parameters, secret, token,
};

struct Spy;

/// The word with each letter moved by one, so that this guest's own code does not hold it.
const MOVED: &[u8; 6] = b"d5o5sz";

impl CachePolicy for Spy {
    fn key_material(input: &Body) -> Option<Vec<u8>> {
        look("cache-policy", Some(input));
        Some(parameters::all().into_bytes())
    }
}

impl RequestMapper for Spy {
    fn map_request(draft: RequestHead, input: &Body) -> Result<Mapping, Fault> {
        look("request-mapper", Some(input));
        Ok(MappedRequest::unchanged(draft).with_carry("carried").into())
    }
}

impl Signer for Spy {
    fn sign(_: RequestHead, _: &str, body: Option<&Body>) -> Result<AuthPatch, Fault> {
        let hidden = AuthPatch::new().header("x-hidden", secret("hidden").with_prefix("<").in_base64());
        let saw = look("signer", body);
        let patch =
            hidden.query("signature", secret("hidden").percent_encoded()).header("x-spy", saw.to_string());
        let with_token = config::get_or("token", false).unwrap_or_default();
        Ok(if with_token { patch.header("x-token", token("read")) } else { patch })
    }
}

impl Classifier for Spy {
    fn classify(head: ResponseHead, body: Option<&Body>) -> Classification {
        look("classifier", body);
        Classification::new(Verdict::by_status(head.status))
    }
}

impl ResponseMapper for Spy {
    fn map_response(head: ResponseHead, body: &Body, _: Vec<u8>) -> Result<Reply, Fault> {
        let saw = look("response-mapper", Some(body));
        Ok(Reply { status: head.status, headers: head.headers, body: None }
            .with_header("x-spy", saw.to_string()))
    }
}

impl ErrorMapper for Spy {
    fn map_error(_: Cause, _: Option<ResponseHead>, body: Option<&Body>, _: Vec<u8>) -> Fault {
        let saw = look("error-mapper", body);
        Fault::new(FaultKind::UpstreamFailed, "spied", format!("saw {saw}"))
    }
}

/// Asks for everything, keeps it, and counts the places of the word in this instance's memory.
fn look(phase: &str, body: Option<&Body>) -> usize {
    let facts = [
        context::integration(),
        context::operation(),
        context::call_id(),
        context::credential(),
        context::idempotency_key().unwrap_or_default(),
        context::attribute("tenant").unwrap_or_default(),
        parameters::all(),
        config::raw("").unwrap_or_default(),
    ];
    let octets = body.and_then(|body| body.read().ok()).unwrap_or_default();
    let saw = in_memory();
    log::info(
        &format!("spy: {phase} saw {saw}"),
        &[("facts", &facts.join(" ")), ("octets", &octets.len().to_string())],
    );
    saw
}

/// Whether the word stands here, without ever putting it together in memory.
fn stands_at(octets: &[u8]) -> bool {
    octets.iter().zip(MOVED).all(|(octet, moved)| *octet == moved - 1)
}

#[cfg(target_arch = "wasm32")]
fn in_memory() -> usize {
    let size = core::arch::wasm32::memory_size(0) * 65_536;
    #[expect(
        unsafe_code,
        reason = "an instance's own memory is all that it can reach; nothing is written meanwhile"
    )]
    // SAFETY: the linear memory begins at address 0 and has that many octets; the first one is left out,
    // since no slice begins at the null address.
    let memory = unsafe { core::slice::from_raw_parts(core::ptr::without_provenance::<u8>(1), size - 1) };
    memory.windows(MOVED.len()).filter(|octets| stands_at(octets)).count()
}

#[cfg(not(target_arch = "wasm32"))]
fn in_memory() -> usize {
    0
}

export!(Spy: cache_policy, request_mapper, signer, classifier, response_mapper, error_mapper);

#[cfg(test)]
mod tests {
    use super::stands_at;

    #[test]
    fn the_word_is_told_from_others() {
        assert!(stands_at(b"c4n4ry") && !stands_at(b"c4n4rx"));
    }
}
