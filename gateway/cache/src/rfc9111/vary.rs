//! Which requests an answer with `Vary` is for (RFC 9111 §4.1).
//!
//! The decision: an answer keeps the values of the fields that selected it, and a request is compared with them member by
//! member as it stands, so that a lookup allocates nothing. What counts as the same value:
//!
//! | field | same |
//! | --- | --- |
//! | any | the same members in the same order, over one line or several, with or without space around the commas |
//! | `Accept`, `Accept-Charset`, `Accept-Encoding`, `Accept-Language` | the order of the members does not matter either (RFC 9110 §12.4 ranks by weight) |
//! | the last three of them | nor do case and inner space |
//!
//! A field that is absent matches only where it was absent.

use http::{
    HeaderMap, HeaderName,
    header::{ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, VARY},
};

use super::list::members;

/// More names than any origin varies by. Each costs a comparison per lookup and variant.
const NAMES_MAX: usize = 32;

/// Lists up to this long are compared without regard to order, which takes the square of their length.
const UNORDERED_MAX: usize = 32;

/// The request fields that selected an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selecting(Box<[Field]>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    name: HeaderName,
    /// Its members. None if the request had no such field.
    value: Option<Box<[u8]>>,
}

impl Selecting {
    /// What `response` says it varies by, with the values of `request`. None if no request can ever match: `*`, what is
    /// no field name, and more than 32 names.
    pub(super) fn of(response: &HeaderMap, request: &HeaderMap) -> Option<Self> {
        let mut names: Vec<HeaderName> = Vec::new();
        for member in members(response, &VARY) {
            // `*` would be a valid token.
            let name = Some(member).filter(|member| *member != b"*")?;
            let name = HeaderName::from_bytes(name).ok()?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        let of_request = |name| Field { value: joined(request, &name), name };
        (names.len() <= NAMES_MAX).then(|| Self(names.into_iter().map(of_request).collect()))
    }

    /// Whether a request selects the answer.
    #[must_use]
    pub fn matches(&self, request: &HeaderMap) -> bool {
        self.0.iter().all(|Field { name, value }| match value {
            None => !request.contains_key(name),
            Some(value) => request.contains_key(name) && same(name, value, request),
        })
    }

    /// Names and values, as they are kept.
    pub(crate) fn fields(&self) -> impl ExactSizeIterator<Item = (&HeaderName, Option<&[u8]>)> {
        self.0.iter().map(|field| (&field.name, field.value.as_deref()))
    }

    /// What [`fields`](Self::fields) gave. None for more names than an answer can have.
    pub(crate) fn of_fields(fields: Vec<(HeaderName, Option<Box<[u8]>>)>) -> Option<Self> {
        let field = |(name, value)| Field { name, value };
        (fields.len() <= NAMES_MAX).then(|| Self(fields.into_iter().map(field).collect()))
    }

    /// The bytes that it occupies outside of its own struct.
    pub(crate) fn weight(&self) -> usize {
        let of_one = |field: &Field| {
            size_of::<Field>()
                + field.name.as_str().len()
                + field.value.as_ref().map_or(0, |value| value.len())
        };
        self.0.iter().map(of_one).sum()
    }
}

/// What is kept between the members of a stored value: no field value has it in it.
const SEPARATOR: u8 = b'\n';

/// All members of a field, so that what is stored does not depend on how they were sent.
fn joined(request: &HeaderMap, name: &HeaderName) -> Option<Box<[u8]>> {
    let members: Vec<_> = request.contains_key(name).then(|| members(request, name).collect())?;
    Some(members.join(&SEPARATOR).into_boxed_slice())
}

/// How two members of a field are compared.
#[derive(Clone, Copy)]
enum Rule {
    Exact,
    Unordered,
    UnorderedLoose,
}

impl Rule {
    fn of(name: &HeaderName) -> Self {
        if [ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE].contains(name) {
            Self::UnorderedLoose
        } else if *name == ACCEPT {
            Self::Unordered
        } else {
            Self::Exact
        }
    }

    fn equal(self, one: &[u8], other: &[u8]) -> bool {
        match self {
            Self::Exact | Self::Unordered => one == other,
            // As in `en;q=0.5` and `EN; q=0.5`.
            Self::UnorderedLoose => bare(one).eq(bare(other)),
        }
    }
}

fn bare(text: &[u8]) -> impl Iterator<Item = u8> {
    text.iter().filter(|byte| !byte.is_ascii_whitespace()).map(u8::to_ascii_lowercase)
}

fn kept(stored: &[u8]) -> impl Iterator<Item = &[u8]> {
    stored.split(|byte| *byte == SEPARATOR).filter(|member| !member.is_empty())
}

fn same(name: &HeaderName, stored: &[u8], request: &HeaderMap) -> bool {
    let (rule, length) = (Rule::of(name), kept(stored).count());
    if length != members(request, name).count() {
        return false;
    }
    let in_order = kept(stored).zip(members(request, name)).all(|(one, other)| rule.equal(one, other));
    // Two lists of one length are the same in any order if each member of the one is as often in the other.
    let in_any_order = || {
        length <= UNORDERED_MAX
            && kept(stored).all(|member| {
                let here = kept(stored).filter(|other| rule.equal(member, other)).count();
                here == members(request, name).filter(|other| rule.equal(member, other)).count()
            })
    };
    in_order || (!matches!(rule, Rule::Exact) && in_any_order())
}

#[cfg(test)]
mod tests;
