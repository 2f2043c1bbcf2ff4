//! Percent-encoding and hex, as signatures want them: upper-case escapes, nothing but RFC 3986's unreserved bare.

/// Appends the octets, percent-encoded except for unreserved ones and those of `bare`.
pub fn percent_encode(octets: &[u8], bare: &[u8], out: &mut Vec<u8>) {
    for &octet in octets {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) || bare.contains(&octet) {
            out.push(octet);
        } else {
            out.extend([b'%', hex_digit(octet >> 4, b'A'), hex_digit(octet & 15, b'A')]);
        }
    }
}

/// The text percent-encoded, for one segment of a path or one part of a query: `/`, `?`, `&` and `=` too.
///
/// ```
/// assert_eq!(bascule_plugin::encode::component("Köln, DE/1"), "K%C3%B6ln%2C%20DE%2F1");
/// ```
#[must_use]
pub fn component(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    percent_encode(text.as_bytes(), b"", &mut out);
    out.into_iter().map(char::from).collect()
}

/// The octets with their escapes resolved; a `%` that begins none stays. A `+` is a plus.
#[must_use]
pub fn percent_decode(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escape = if first == b'%' { after.split_at_checked(2).and_then(decode_pair) } else { None };
        let (octet, after) = escape.unwrap_or((first, after));
        out.push(octet);
        rest = after;
    }
    out
}

fn decode_pair<'a>((digits, rest): (&[u8], &'a [u8])) -> Option<(u8, &'a [u8])> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
    Some((u8::from_str_radix(digits, 16).ok()?, rest))
}

/// The octets in lower-case hex.
#[must_use]
pub fn hex(octets: &[u8]) -> String {
    octets
        .iter()
        .flat_map(|octet| [octet >> 4, octet & 15])
        .map(|digit| char::from(hex_digit(digit, b'a')))
        .collect()
}

/// The digit of a value below 16, with `ten` standing for 10.
fn hex_digit(value: u8, ten: u8) -> u8 {
    if value < 10 { b'0' + value } else { ten + (value - 10) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &str, bare: &[u8]) -> String {
        let mut out = Vec::new();
        percent_encode(text.as_bytes(), bare, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_unreserved_characters_stay_bare() {
        assert_eq!(encoded("aZ09-._~", b""), "aZ09-._~");
        assert_eq!(encoded("a b+c/ü%", b""), "a%20b%2Bc%2F%C3%BC%25");
        assert_eq!(encoded("a/b", b"/"), "a/b");
    }

    #[test]
    fn decoding_leaves_what_is_no_escape() {
        assert_eq!(percent_decode("a%20b%2fc"), b"a b/c");
        for text in ["%", "%2", "%zz", "%+1", "100%", "a+b"] {
            assert_eq!(percent_decode(text), text.as_bytes());
        }
    }

    #[test]
    fn hex_is_lower_case() {
        assert_eq!(hex(&[0x00, 0xab, 0xff]), "00abff");
    }
}
