//! The verifier against AWS's own material: the signing test suite in both forms, and the worked examples of the
//! S3 documentation.

use super::*;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[derive(Deserialize)]
struct Vector {
    name: String,
    form: String,
    normalize: bool,
    unsigned_token: bool,
    request: String,
    canonical_request: String,
    string_to_sign: String,
}

/// A request of the suite, as a server would have parsed it.
struct Recorded {
    method: String,
    path: String,
    query: String,
    headers: HeaderMap,
    body: String,
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("vectors/aws-signing-test-suite-v4.json")).unwrap()
}

fn recorded(text: &str) -> Recorded {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let (method, rest) = lines.next().unwrap().split_once(' ').unwrap();
    let target = rest.strip_suffix(" HTTP/1.1").unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut unfolded: Vec<(String, String)> = Vec::new();
    for line in lines {
        match line.split_once(':') {
            // A line that begins with a space continues the one before.
            Some((name, value)) if !line.starts_with(' ') => {
                unfolded.push((name.to_owned(), value.to_owned()))
            }
            _ => unfolded.last_mut().unwrap().1.push_str(line),
        }
    }
    let mut headers = HeaderMap::new();
    for (name, value) in unfolded {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value.trim()).unwrap());
    }
    let owned = str::to_owned;
    Recorded { method: owned(method), path: owned(path), query: owned(query), headers, body: owned(body) }
}

fn example_verifier(secret: &str, normalize: bool) -> Verifier {
    Verifier {
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: secret.to_owned(),
        region: "us-east-1".to_owned(),
        service: Service { name: "service", path: PathRule::Other { normalize }, strict_headers: false },
    }
}

/// Runs `check` on every vector with the verifier, the request as presented and its payload's hash.
fn each_vector(secret: &str, check: impl Fn(&Vector, &Verifier, &Head<'_>, &Presented, &str)) {
    for vector in vectors() {
        let mut request = recorded(&vector.request);
        if vector.unsigned_token {
            // Added after signing: a server takes it off before it verifies.
            request.headers.remove("x-amz-security-token");
            let kept = request.query.split('&').filter(|entry| !entry.starts_with("X-Amz-Security-Token="));
            request.query = kept.collect::<Vec<_>>().join("&");
        }
        let head = Head {
            method: &request.method,
            path: &request.path,
            query: &request.query,
            headers: &request.headers,
        };
        let presented = Presented::find(&head).unwrap();
        let payload = hex(digest::digest(&digest::SHA256, request.body.as_bytes()).as_ref());
        check(&vector, &example_verifier(secret, vector.normalize), &head, &presented, &payload);
    }
}

/// 2015-08-30T12:36:00Z.
const SUITE_TIME: u64 = 1_440_938_160;
const SUITE_SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

#[test]
fn every_request_of_the_signing_test_suite_is_verified() {
    assert_eq!(vectors().len(), 76, "38 cases in two forms");
    each_vector(SUITE_SECRET, |vector, verifier, head, presented, payload| {
        let (name, form) = (&vector.name, &vector.form);
        let (canonical, string_to_sign) = verifier.string_to_sign(head, presented, payload);
        assert_eq!(canonical, vector.canonical_request, "{name} ({form})");
        assert_eq!(string_to_sign, vector.string_to_sign, "{name} ({form})");
        assert_eq!(verifier.verify(head, presented, payload, SUITE_TIME), Ok(()), "{name} ({form})");
    });
}

#[test]
fn another_secret_verifies_nothing() {
    each_vector("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEX", |vector, verifier, head, presented, payload| {
        let result = verifier.verify(head, presented, payload, SUITE_TIME);
        assert!(matches!(result, Err(Fault::SignatureDoesNotMatch { .. })), "{}: {result:?}", vector.name);
    });
}

/// The worked examples of "Authenticating Requests: Using the Authorization Header" and "Using Query Parameters".
fn documented(target: &str, method: &str, headers: &[(&str, &str)]) -> (Recorded, Verifier) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut map = HeaderMap::new();
    map.insert("host", HeaderValue::from_static("examplebucket.s3.amazonaws.com"));
    for (name, value) in headers {
        map.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    let request = Recorded {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: map,
        body: String::new(),
    };
    let verifier = Verifier {
        access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
        secret_access_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
        region: "us-east-1".to_owned(),
        service: Service::s3(),
    };
    (request, verifier)
}

/// 2013-05-24T00:00:00Z.
const DOCUMENTED_TIME: u64 = 1_369_353_600;

fn verify((request, verifier): (Recorded, Verifier), now: u64) -> Result<(), Fault> {
    let Recorded { method, path, query, headers, .. } = &request;
    let head = Head { method, path, query, headers };
    let presented = Presented::find(&head)?;
    let payload = Payload::declared(&head, &presented)?;
    verifier.verify(&head, &presented, payload.as_str(), now)
}

fn authorization(signed: &str, signature: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
         SignedHeaders={signed},Signature={signature}"
    )
}

fn get_object_example() -> (Recorded, Verifier) {
    let authorization = authorization(
        "host;range;x-amz-content-sha256;x-amz-date",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    );
    let headers = [
        ("range", "bytes=0-9"),
        ("x-amz-content-sha256", EMPTY),
        ("x-amz-date", "20130524T000000Z"),
        ("authorization", authorization.as_str()),
    ];
    documented("/test.txt", "GET", &headers)
}

#[test]
fn the_examples_of_the_s3_documentation_are_verified() {
    assert_eq!(verify(get_object_example(), DOCUMENTED_TIME), Ok(()));
    let put = authorization(
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    );
    let headers = [
        ("date", "Fri, 24 May 2013 00:00:00 GMT"),
        ("x-amz-date", "20130524T000000Z"),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ("x-amz-content-sha256", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"),
        ("authorization", put.as_str()),
    ];
    assert_eq!(verify(documented("/test%24file.text", "PUT", &headers), DOCUMENTED_TIME), Ok(()));
    for (target, signature) in [
        ("/?lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("/?max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ] {
        let line = authorization("host;x-amz-content-sha256;x-amz-date", signature);
        let headers = [
            ("x-amz-content-sha256", EMPTY),
            ("x-amz-date", "20130524T000000Z"),
            ("authorization", line.as_str()),
        ];
        assert_eq!(verify(documented(target, "GET", &headers), DOCUMENTED_TIME), Ok(()), "{target}");
    }
}

fn presigned_example() -> (Recorded, Verifier) {
    let target = "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
                  &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
                  &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
                  &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
    documented(target, "GET", &[])
}

#[test]
fn a_presigned_address_is_good_for_as_long_as_it_says() {
    assert_eq!(verify(presigned_example(), DOCUMENTED_TIME), Ok(()));
    assert_eq!(verify(presigned_example(), DOCUMENTED_TIME + 86_400), Ok(()));
    let late = verify(presigned_example(), DOCUMENTED_TIME + 86_401);
    assert_eq!(late, Err(Fault::AccessDenied("Request has expired")));
    let early = verify(presigned_example(), DOCUMENTED_TIME - 901);
    assert_eq!(early, Err(Fault::AccessDenied("Request is not yet valid")));
}

#[test]
fn a_signed_header_is_good_for_fifteen_minutes_around_its_time() {
    assert_eq!(verify(get_object_example(), DOCUMENTED_TIME + 900), Ok(()));
    for now in [DOCUMENTED_TIME + 901, DOCUMENTED_TIME - 901] {
        assert_eq!(verify(get_object_example(), now), Err(Fault::RequestTimeTooSkewed));
    }
}

#[test]
fn whatever_is_changed_on_the_way_is_noticed() {
    let changed = |change: fn(&mut Recorded)| {
        let (mut request, verifier) = get_object_example();
        change(&mut request);
        verify((request, verifier), DOCUMENTED_TIME).unwrap_err().code()
    };
    assert_eq!(changed(|request| request.method = "DELETE".to_owned()), "SignatureDoesNotMatch");
    assert_eq!(changed(|request| request.path = "/other.txt".to_owned()), "SignatureDoesNotMatch");
    assert_eq!(changed(|request| request.query = "acl".to_owned()), "SignatureDoesNotMatch");
    let header = |request: &mut Recorded| {
        request.headers.insert("range", HeaderValue::from_static("bytes=0-10"));
    };
    assert_eq!(changed(header), "SignatureDoesNotMatch");
    let unsigned = |request: &mut Recorded| {
        request.headers.insert("x-amz-acl", HeaderValue::from_static("public-read"));
    };
    assert_eq!(changed(unsigned), "AccessDenied");
    let payload = |request: &mut Recorded| {
        request.headers.insert("x-amz-content-sha256", HeaderValue::from_static("UNSIGNED-PAYLOAD"));
    };
    assert_eq!(changed(payload), "SignatureDoesNotMatch");
}

#[test]
fn whose_and_where_is_told_apart_from_how() {
    let presented = |change: fn(&mut Verifier)| {
        let (request, mut verifier) = get_object_example();
        change(&mut verifier);
        verify((request, verifier), DOCUMENTED_TIME).unwrap_err().code()
    };
    assert_eq!(presented(|verifier| verifier.access_key_id = "OTHER".to_owned()), "InvalidAccessKeyId");
    assert_eq!(
        presented(|verifier| verifier.region = "eu-west-1".to_owned()),
        "AuthorizationHeaderMalformed"
    );
    assert_eq!(presented(|verifier| verifier.secret_access_key.push('x')), "SignatureDoesNotMatch");
}

#[test]
fn unreadable_signatures_have_faults_of_their_own() {
    let with = |line: &str| {
        let headers =
            [("x-amz-content-sha256", EMPTY), ("x-amz-date", "20130524T000000Z"), ("authorization", line)];
        verify(documented("/test.txt", "GET", &headers), DOCUMENTED_TIME).unwrap_err().code()
    };
    assert_eq!(with("Bearer abc"), "InvalidArgument");
    assert_eq!(with("AWS4-HMAC-SHA256 Credential=a/b"), "AuthorizationHeaderMalformed");
    assert_eq!(
        with("AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=0"),
        "AuthorizationHeaderMalformed"
    );
    assert_eq!(
        verify(documented("/test.txt", "GET", &[]), DOCUMENTED_TIME).unwrap_err().code(),
        "AccessDenied"
    );
}
