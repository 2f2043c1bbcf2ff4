//! The syntax that most caching fields share: comma-separated lists, quoted strings and numbers of seconds.
//!
//! The decision: members are slices of the field lines as they stand. Nothing is copied, so the reading of a request's
//! directives on the way to a hit allocates nothing.
//!
//! It does not unescape quoted strings: no value that matters here has a use for an escape.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

/// What a number of seconds is taken for that no cache can represent (RFC 9111 §1.2.2): 68 years.
const SECONDS_MAX: u64 = 1 << 31;

/// The members of all lines of a field, in order, trimmed, the empty ones left out. A comma within a quoted string
/// separates nothing.
pub(super) fn members<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    headers.get_all(name).into_iter().flat_map(|line| split(line.as_bytes()))
}

/// The members of one line.
pub(super) fn split(line: &[u8]) -> Members<'_> {
    Members { rest: Some(line) }
}

pub(super) struct Members<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Members<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let rest = self.rest?;
            let (member, tail) = match comma(rest).and_then(|at| rest.split_at_checked(at)) {
                Some((member, tail)) => (member, tail.get(1..)),
                None => (rest, None),
            };
            self.rest = tail;
            let member = member.trim_ascii();
            if !member.is_empty() {
                return Some(member);
            }
        }
    }
}

/// Where the first comma outside of a quoted string is.
fn comma(text: &[u8]) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.iter().position(|byte| {
        if escaped {
            escaped = false;
            return false;
        }
        match byte {
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            _ => {}
        }
        *byte == b',' && !quoted
    })
}

/// A member as name and value. Space around the `=` is not allowed (RFC 9111 §5.2); where there is some, the value is
/// given as empty, which is no valid value for anything.
pub(super) fn directive(member: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some((name, value)) =
        member.iter().position(|byte| *byte == b'=').and_then(|at| member.split_at_checked(at))
    else {
        return (member, None);
    };
    let trimmed = name.trim_ascii_end();
    let value = if trimmed.len() == name.len() { value.get(1..).unwrap_or_default() } else { b"" };
    (trimmed, Some(value))
}

/// The text of a quoted string, or the token as it is.
pub(super) fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value)
}

/// A non-negative number of seconds. None for anything else: signs, fractions, letters, nothing at all.
pub(super) fn seconds(digits: &[u8]) -> Option<Duration> {
    if digits.is_empty() {
        return None;
    }
    digits
        .iter()
        .try_fold(0_u64, |sum, digit| {
            digit.is_ascii_digit().then(|| (sum * 10 + u64::from(digit - b'0')).min(SECONDS_MAX))
        })
        .map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(line: &str) -> Vec<String> {
        split(line.as_bytes()).map(|member| String::from_utf8_lossy(member).into_owned()).collect()
    }

    #[test]
    fn splits_at_commas_outside_of_quotes_only() {
        assert_eq!(list("a, b ,\tc"), ["a", "b", "c"]);
        assert_eq!(list(" , a,, "), ["a"]);
        assert_eq!(list(r#"x="a, b", c"#), [r#"x="a, b""#, "c"]);
        assert_eq!(list(r#"x="a\", b", c"#), [r#"x="a\", b""#, "c"]);
        assert_eq!(list(r#"a\, b"#), [r"a\", "b"]);
        assert!(list("").is_empty());
    }

    #[test]
    fn a_directive_is_split_at_its_first_equals_sign() {
        assert_eq!(directive(b"no-store"), (&b"no-store"[..], None));
        assert_eq!(directive(b"a=b=c"), (&b"a"[..], Some(&b"b=c"[..])));
        assert_eq!(directive(b"max-age ="), (&b"max-age"[..], Some(&b""[..])));
        assert_eq!(directive(b"max-age =5"), (&b"max-age"[..], Some(&b""[..])));
    }

    #[test]
    fn only_digits_are_seconds() {
        for (text, expected) in [
            ("0", Some(0)),
            ("003600", Some(3600)),
            ("2147483648", Some(SECONDS_MAX)),
            ("99999999999999999999999999", Some(SECONDS_MAX)),
            ("", None),
            ("-1", None),
            ("+1", None),
            (" 1", None),
            ("3600.0", None),
            ("3600a", None),
            ("'3600'", None),
        ] {
            assert_eq!(seconds(text.as_bytes()), expected.map(Duration::from_secs), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_split(line in prop::collection::vec(any::<u8>(), 0..64)) {
            for member in split(&line) {
                prop_assert!(!member.is_empty() && member.trim_ascii() == member);
                directive(member);
                seconds(unquoted(member));
            }
        }

        #[test]
        fn what_is_joined_by_commas_comes_apart_again(words in prop::collection::vec("[a-z=]{1,5}|\"[a-z, ]{0,5}\"", 0..6)) {
            prop_assert_eq!(list(&words.join(" , ")), words);
        }
    }
}
