//! Cutting a JSON object into the texts of its members, without looking deeper.

/// The members of an object as pairs of key (with its quotes) and value; nothing for other text.
pub(super) fn members(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text.trim().strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or("");
    std::iter::from_fn(move || {
        let (key, after) = value(rest)?;
        let after = after.trim_start().strip_prefix(':')?;
        let (value, after) = value(after)?;
        let after = after.trim_start();
        rest = after.strip_prefix(',').unwrap_or(after);
        Some((key, value))
    })
}

/// The first value of the text, and what follows it.
fn value(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let end = match text.bytes().next()? {
        b'"' => string_end(text)?,
        b'{' | b'[' => bracket_end(text)?,
        _ => text.find([',', '}', ']', ':']).unwrap_or(text.len()),
    };
    let (value, rest) = text.split_at_checked(end)?;
    let value = value.trim_end();
    if value.is_empty() { None } else { Some((value, rest)) }
}

/// Where the string ends with which the text begins.
fn string_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, octet) in text.bytes().enumerate().skip(1) {
        match octet {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Where the array or object ends with which the text begins.
fn bracket_end(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    loop {
        let rest = text.get(at..)?;
        match rest.bytes().next()? {
            b'"' => {
                at += string_end(rest)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        // Octets inside a character of several octets cannot be brackets or quotes.
        at += rest.chars().next()?.len_utf8();
        if depth == 0 {
            return Some(at);
        }
    }
}
