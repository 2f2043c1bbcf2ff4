//! A guest that uses everything a plugin may be granted, and leaves a visible mark of each.
//!
//! | phase | mark |
//! | --- | --- |
//! | cache policy | the key is the parameter `city` in lower case; `private = true` is not cached; `trap` traps |
//! | request mapper | `x-count`: how often it ran, by `state`; `x-revealed`: the secret `shown`; `x-side`: what came of the requests that the parameter `side` asks for, as `ENDPOINT PATH` with spaces, repeated `times` times |
//!
//! Each run counts `calls` and observes `size` with the label `operation`, and sets the attribute `city`.

use bascule_plugin::http::{HttpError, Request};
use bascule_plugin::{
    Body, CachePolicy, Fault, MappedRequest, Mapping, RequestHead, RequestMapper, context, export,
    parameters, secret, secrets, state, telemetry,
};

struct Platform;

impl CachePolicy for Platform {
    #[expect(clippy::panic, reason = "it is asked to")]
    fn key_material(_: &Body) -> Option<Vec<u8>> {
        let city = parameters::get::<String>("city").ok().flatten().unwrap_or_default();
        if city == "trap" {
            panic!("as asked");
        }
        let private = parameters::get::<bool>("private").ok().flatten().unwrap_or_default();
        (!private).then(|| city.to_lowercase().into_bytes())
    }
}

impl RequestMapper for Platform {
    fn map_request(mut draft: RequestHead, input: &Body) -> Result<Mapping, Fault> {
        let count = state::add("calls", 1, None)?;
        draft.set_header("x-count", count.to_string());
        draft.set_header("x-revealed", secrets::reveal("shown").unwrap_or_default());
        if let Some(side) = parameters::get::<String>("side")? {
            let times = parameters::get::<u64>("times")?.unwrap_or(1);
            let came: Vec<String> = (0..times).map(|_| send(&side)).collect();
            draft.set_header("x-side", came.join(", "));
        }
        let operation = context::operation();
        telemetry::count("calls", 1, &[("operation", &operation)]);
        telemetry::observe(
            "input.size",
            input.size().unwrap_or_default() as f64,
            &[("operation", &operation)],
        );
        telemetry::annotate("city", &parameters::get::<String>("city")?.unwrap_or_default());
        Ok(MappedRequest::unchanged(draft).into())
    }
}

fn send(side: &str) -> String {
    let (endpoint, path) = side.split_once(' ').unwrap_or(("default", side));
    let request = Request::get(path).to(endpoint).header("x-plain", "1");
    let request = request.auth("x-key", secret("hidden").with_lead("Key "));
    match request.send() {
        Ok(answer) => {
            let text = answer.body.read().unwrap_or_default();
            format!("{} {}", answer.head.status, String::from_utf8_lossy(&text))
        }
        Err(error) => word(error).to_owned(),
    }
}

fn word(error: HttpError) -> &'static str {
    match error {
        HttpError::Denied => "denied",
        HttpError::Budget => "budget",
        HttpError::Deadline => "deadline",
        HttpError::BreakerOpen => "breaker-open",
        HttpError::Limited => "limited",
        HttpError::Connect => "connect",
        HttpError::TooLarge => "too-large",
    }
}

export!(Platform: cache_policy, request_mapper);
