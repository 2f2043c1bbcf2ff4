//! The official test suite for SigV4, all cases, in headers and in the query.
//!
//! The host is played by a few lines with known keys: holes are filled and percent-encoded, keys derived. Each
//! case compares the canonical request, the string to sign, the signature and the request as it would be sent.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a suite that cannot be read has to fail the test"
)]

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use aws_sigv4::{Content, Host, Request, Settings, sign};
use bascule_plugin::{BodyError, Fault, Field, FieldValue, Header, RequestHead, SecretInsert};
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// 2015-08-30T12:36:00Z, the time of every case.
const NOW: i64 = 1_440_938_160;

struct Keys {
    credentials: Value,
    seen: RefCell<(String, Vec<u8>)>,
}

impl Keys {
    fn secret(&self, name: &str) -> Option<&str> {
        let name = if name == "session_token" { "token" } else { name };
        self.credentials.get(name)?.as_str()
    }

    fn fill(&self, value: &FieldValue) -> Vec<u8> {
        match value {
            FieldValue::Plain(octets) => octets.clone(),
            FieldValue::Secret(insert) => self.insert(insert).into_bytes(),
        }
    }

    fn insert(&self, insert: &SecretInsert) -> String {
        let inner = format!("{}{}{}", insert.prefix, self.secret(&insert.secret).unwrap(), insert.suffix);
        let inner = if insert.percent_encode { percent_encoded(&inner) } else { inner };
        format!("{}{inner}", insert.lead)
    }
}

impl Host for Keys {
    fn has_secret(&self, name: &str) -> Result<bool, Fault> {
        Ok(self.secret(name).is_some())
    }

    fn sha256(&self, parts: &[FieldValue]) -> Result<Vec<u8>, Fault> {
        let text: Vec<u8> = parts.iter().flat_map(|part| self.fill(part)).collect();
        Ok(Sha256::digest(text).to_vec())
    }

    fn mac(&self, path: [&str; 4], data: &[u8]) -> Result<Vec<u8>, Fault> {
        let root = format!("AWS4{}", self.secret("secret_access_key").unwrap()).into_bytes();
        let key = path.iter().fold(root, |key, step| hmac(&key, step.as_bytes()));
        Ok(hmac(&key, data))
    }

    fn trace(&self, string_to_sign: &str, canonical_request: &[FieldValue]) {
        let canonical = canonical_request.iter().flat_map(|part| self.fill(part)).collect();
        *self.seen.borrow_mut() = (string_to_sign.to_owned(), canonical);
    }
}

struct Octets(Vec<u8>);

impl Content for Octets {
    fn size(&self) -> Option<u64> {
        Some(self.0.len() as u64)
    }

    fn sha256(&self) -> Result<Vec<u8>, BodyError> {
        Ok(Sha256::digest(&self.0).to_vec())
    }
}

fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

fn percent_encoded(text: &str) -> String {
    let bare = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~".contains(&octet);
    text.bytes()
        .map(|octet| if bare(octet) { char::from(octet).to_string() } else { format!("%{octet:02X}") })
        .collect()
}

/// A request file in parts; a value that goes on in the next line stays one value.
struct Message {
    head: RequestHead,
    authority: String,
    body: String,
}

impl Message {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\n\n").unwrap_or((text.trim_end_matches('\n'), ""));
        let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
        let line = line.strip_suffix(" HTTP/1.1").unwrap();
        let (method, target) = line.split_once(' ').unwrap();
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let mut head = RequestHead::new(method, path);
        head.query = query.map(str::to_owned);
        for line in headers.lines() {
            match line.split_once(':').filter(|_| !line.starts_with(' ')) {
                Some((name, value)) => head.headers.push(Header::new(name, value)),
                None => {
                    let last = head.headers.last_mut().unwrap();
                    last.value.push(b'\n');
                    last.value.extend(line.bytes());
                }
            }
        }
        let host = head.headers.iter().find(|header| header.name == "host").unwrap();
        Self { authority: String::from_utf8(host.value.clone()).unwrap(), head, body: body.to_owned() }
    }

    /// Headers in an order that does not depend on where the signer put its own.
    fn sorted_headers(&self) -> Vec<(String, Vec<u8>)> {
        let mut headers: Vec<_> =
            self.head.headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect();
        headers.sort_by(|a, b| a.0.cmp(&b.0));
        headers
    }
}

fn settings(context: &Value, presign: bool) -> Settings {
    let config = |path: &str| {
        Some(match path {
            "presign" => presign.to_string(),
            "expires" => format!("\"{}s\"", context["expiration_in_seconds"]),
            "normalize_path" => context["normalize"].to_string(),
            "omit_session_token" => context.get("omit_session_token")?.to_string(),
            other => context.get(other)?.to_string(),
        })
    };
    Settings::read(&config).unwrap()
}

fn check(folder: &Path, form: &str) {
    let file = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let expected = |name: &str| file(&format!("{form}-{name}.txt"));
    let case = folder.display();
    let context: Value = serde_json::from_str(&file("context.json")).unwrap();
    assert_eq!(context["timestamp"], "2015-08-30T12:36:00Z", "{case}");
    let keys = Keys { credentials: context["credentials"].clone(), seen: RefCell::default() };
    let mut message = Message::parse(&file("request.txt"));
    let body = Octets(message.body.clone().into_bytes());
    let content = Some(&body as &dyn Content).filter(|_| !message.body.is_empty());
    let request = Request { head: &message.head, authority: &message.authority, body: content, now: NOW };

    let patch = sign(&settings(&context, form == "query"), request, &keys).unwrap();

    let (string_to_sign, canonical) = keys.seen.borrow().clone();
    assert_eq!(String::from_utf8(canonical).unwrap(), expected("canonical-request"), "{case} {form}");
    assert_eq!(string_to_sign, expected("string-to-sign"), "{case} {form}");
    apply(&mut message, &patch.headers, &patch.query, &keys);
    let sent = Message::parse(&expected("signed-request"));
    assert_eq!(message.head.query, sent.head.query, "{case} {form}");
    assert_eq!(message.sorted_headers(), sent.sorted_headers(), "{case} {form}");
    let signature = expected("signature");
    let last = if form == "query" {
        message.head.query
    } else {
        patch.headers.last().map(|field| text(field, &keys))
    };
    assert!(last.is_some_and(|last| last.ends_with(signature.trim())), "{case} {form}");
}

fn apply(message: &mut Message, headers: &[Field], query: &[Field], keys: &Keys) {
    for field in headers {
        message.head.set_header(&field.name, keys.fill(&field.value));
    }
    for field in query {
        let pair = format!("{}={}", field.name, text(field, keys));
        message.head.query = Some(match message.head.query.take() {
            Some(query) => format!("{query}&{pair}"),
            None => pair,
        });
    }
}

fn text(field: &Field, keys: &Keys) -> String {
    String::from_utf8(keys.fill(&field.value)).unwrap()
}

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut folders: Vec<PathBuf> =
        fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    assert_eq!(folders.len(), 38, "cases of the suite");
    folders
}

#[test]
fn all_cases_are_signed_in_headers() {
    cases().iter().for_each(|folder| check(folder, "header"));
}

#[test]
fn all_cases_are_signed_in_the_query() {
    cases().iter().for_each(|folder| check(folder, "query"));
}
