//! Signs requests for tests of the server around the verifier. What it signs is what the verifier expects; that
//! this is right is shown by AWS's vectors, not by these signatures.

use super::{Head, Payload, Presented, Verifier};
use http::{HeaderMap, HeaderValue};

/// Adds `x-amz-date`, `x-amz-content-sha256` and `Authorization`, signing every header given.
pub(in crate::demo::s3) fn sign_headers(
    verifier: &Verifier,
    method: &str,
    target: &str,
    headers: &mut HeaderMap,
    payload: &Payload,
    time: &str,
) {
    headers.insert("x-amz-date", HeaderValue::from_str(time).unwrap());
    headers.insert("x-amz-content-sha256", HeaderValue::from_str(payload.as_str()).unwrap());
    let mut names: Vec<&str> = headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (day, signed) = (time.get(..8).unwrap(), names.join(";"));
    let credential = format!("{}/{day}/{}/s3/aws4_request", verifier.access_key_id, verifier.region);
    let line = |signature: &str| {
        let text = format!(
            "AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={signed}, Signature={signature}"
        );
        HeaderValue::from_str(&text).unwrap()
    };
    let mut claimed = headers.clone();
    claimed.insert("authorization", line(""));
    let head = Head { method, path, query, headers: &claimed };
    let presented = Presented::find(&head).unwrap();
    let (_, string_to_sign) = verifier.string_to_sign(&head, &presented, payload.as_str());
    headers.insert("authorization", line(&verifier.signature(&presented, &string_to_sign)));
}

/// The target as a presigned address.
pub(in crate::demo::s3) fn presign(
    verifier: &Verifier,
    path: &str,
    headers: &HeaderMap,
    time: &str,
    expires: u32,
) -> String {
    let query = format!(
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}%2F{}%2F{}%2Fs3%2Faws4_request\
         &X-Amz-Date={time}&X-Amz-Expires={expires}&X-Amz-SignedHeaders=host",
        verifier.access_key_id,
        time.get(..8).unwrap(),
        verifier.region
    );
    let claimed = format!("{query}&X-Amz-Signature=");
    let head = Head { method: "GET", path, query: &claimed, headers };
    let presented = Presented::find(&head).unwrap();
    let (_, string_to_sign) = verifier.string_to_sign(&head, &presented, Payload::Unsigned.as_str());
    format!("{path}?{claimed}{}", verifier.signature(&presented, &string_to_sign))
}
