//! The shapes in which a secret may turn up: as it is, percent-encoded, escaped, in base64.
//!
//! Base64 has no letter boundary: where a secret stands inside a longer text (`user:password` of
//! basic authentication), its encoding depends on its offset modulo three. The letters that only the
//! secret decides are the same everywhere, so all three offsets are searched for.

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

/// Below this many octets a value is no secret worth the name, and hiding it would blot out ordinary text.
pub(super) const SECRET_MIN: usize = 4;

/// RFC 3986: everything but unreserved characters.
const STRICT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// HTML forms, but for the space that becomes `+`.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'*');
/// What a lenient writer leaves alone in a query.
const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'\'');
/// The same for a path.
const PATH: &AsciiSet = &QUERY.add(b'?').add(b'`').add(b'{').add(b'}');

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Every form of `secret` to search for; none when it is too short.
pub(super) fn forms(secret: &str) -> Vec<String> {
    let mut found = Vec::new();
    for plain in [secret, secret.trim()] {
        if plain.len() < SECRET_MIN {
            continue;
        }
        found.push(plain.to_owned());
        percent(plain, &mut found);
        escaped(plain, &mut found);
        base64(plain.as_bytes(), &mut found);
    }
    found.retain(|form| form.len() >= SECRET_MIN);
    found.sort_unstable();
    found.dedup();
    found
}

fn percent(plain: &str, found: &mut Vec<String>) {
    for set in [STRICT, FORM, QUERY, PATH] {
        let upper = utf8_percent_encode(plain, set).to_string();
        found.push(lower_hex(&upper));
        if std::ptr::eq(set, FORM) {
            let form = upper.replace("%20", "+");
            found.push(lower_hex(&form));
            found.push(form);
        }
        found.push(upper);
    }
}

/// The same encoding with small hex digits.
fn lower_hex(encoded: &str) -> String {
    let mut digits = 0_u8;
    let lower = |letter: char| {
        if letter == '%' {
            digits = 2;
            return letter;
        }
        if digits > 0 {
            digits -= 1;
            return letter.to_ascii_lowercase();
        }
        letter
    };
    encoded.chars().map(lower).collect()
}

/// As a JSON string, as a JSON string within a JSON string, and as `Debug` prints it.
fn escaped(plain: &str, found: &mut Vec<String>) {
    let once = json_string(plain);
    found.push(json_string(&once));
    found.push(once);
    found.push(plain.escape_debug().to_string());
}

fn json_string(plain: &str) -> String {
    let quoted = serde_json::Value::from(plain).to_string();
    quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(plain).to_owned()
}

fn base64(secret: &[u8], found: &mut Vec<String>) {
    for alphabet in [STANDARD, URL_SAFE] {
        let whole = encode(secret, alphabet);
        let padding = (4 - whole.len() % 4) % 4;
        found.push(format!("{whole}{}", "=".repeat(padding)));
        found.push(whole);
        for before in 0..3_usize {
            let mut shifted = vec![0; before];
            shifted.extend_from_slice(secret);
            let letters = encode(&shifted, alphabet);
            let first = (before * 8).div_ceil(6);
            let end = shifted.len() * 8 / 6;
            found.push(letters.get(first..end).unwrap_or_default().to_owned());
        }
    }
}

/// Base64 without padding.
fn encode(octets: &[u8], alphabet: &[u8; 64]) -> String {
    let mut letters = String::with_capacity(octets.len().div_ceil(3) * 4);
    for chunk in octets.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, octet| group << 8 | u32::from(*octet))
            << (8 * (3 - chunk.len()));
        for at in 0..=chunk.len() {
            let sextet = group >> (18 - 6 * at) & 0x3f;
            let letter = usize::try_from(sextet).ok().and_then(|sextet| alphabet.get(sextet));
            letters.extend(letter.map(|letter| char::from(*letter)));
        }
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_follows_rfc_4648() {
        for (plain, encoded) in
            [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("fooba", "Zm9vYmE")]
        {
            assert_eq!(encode(plain.as_bytes(), STANDARD), encoded);
        }
        assert_eq!(encode(&[0xfb, 0xff], URL_SAFE), "-_8");
    }

    #[test]
    fn a_secret_within_other_base64_is_found_at_any_offset() {
        let secret = "hunter2-hunter2";
        let forms = forms(secret);
        for around in ["", "u:", "us:", "use:"] {
            let encoded = encode(format!("{around}{secret}!").as_bytes(), STANDARD);
            assert!(forms.iter().any(|form| encoded.contains(form.as_str())), "{around}");
        }
    }

    #[test]
    fn hex_digits_come_in_both_cases_and_letters_stay_as_they_are() {
        assert_eq!(lower_hex("A%2FB%3D"), "A%2fB%3d");
    }

    #[test]
    fn short_values_have_no_forms() {
        assert!(forms("abc").is_empty());
        assert!(!forms("abcd").is_empty());
    }
}
