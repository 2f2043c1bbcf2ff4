//! A guest whose every phase leaves a visible mark and does nothing else.
//!
//! | phase | mark |
//! | --- | --- |
//! | request mapper | the request header `x-echo: 1`; the carry is the operation's name |
//! | signer | the request header `x-signed: ATTEMPT` |
//! | response mapper | the body `{"operation":CARRY,"echo":BODY}`, BODY as JSON if it is, else as a string |

use bascule_plugin::{
    AuthPatch, Body, Fault, HeaderLines, MappedRequest, Mapping, Reply, RequestHead, RequestMapper,
    ResponseHead, ResponseMapper, Signer, context, export, json,
};

struct Echo;

impl RequestMapper for Echo {
    fn map_request(mut draft: RequestHead, _: &Body) -> Result<Mapping, Fault> {
        draft.set_header("x-echo", "1");
        Ok(MappedRequest::unchanged(draft).with_carry(context::operation()).into())
    }
}

impl Signer for Echo {
    fn sign(_: RequestHead, _: &str, _: Option<&Body>) -> Result<AuthPatch, Fault> {
        Ok(AuthPatch::new().header("x-signed", context::attempt().to_string()))
    }
}

impl ResponseMapper for Echo {
    fn map_response(head: ResponseHead, body: &Body, carry: Vec<u8>) -> Result<Reply, Fault> {
        let is_json = head.text("content-type").is_some_and(|value| value.contains("json"));
        Ok(Reply::json(head.status, &wrapped(&carry, &body.read()?, is_json)))
    }
}

fn wrapped(carry: &[u8], body: &[u8], is_json: bool) -> String {
    let operation = json::quote(&String::from_utf8_lossy(carry));
    let body = String::from_utf8_lossy(body);
    let body = if is_json { body.into_owned() } else { json::quote(&body) };
    format!(r#"{{"operation":{operation},"echo":{body}}}"#)
}

export!(Echo: request_mapper, signer, response_mapper);

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn json_is_wrapped_as_it_is_and_text_as_a_string() {
        assert_eq!(wrapped(b"op", b"[1]", true), r#"{"operation":"op","echo":[1]}"#);
        assert_eq!(wrapped(b"op", b"say \"x\"", false), r#"{"operation":"op","echo":"say \"x\""}"#);
    }
}
