//! Cache keys: a digest over everything that makes two calls different.
//!
//! The decision: a key is the SHA-256 of *tagged, length-prefixed* parts. The encoding of a field list can be read
//! back in only one way, so two different lists never hash the same bytes (`("ab", "c")` is not `("a", "bc")`), and
//! no caller can choose parameters that land on another caller's entry.
//!
//! It does not choose or order the fields: whoever builds a key passes all that matters, in an order of its own
//! that is always the same.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use aws_lc_rs::digest::{Context, SHA256};

/// Keeps these digests apart from any other use of SHA-256, and from a later encoding.
const DOMAIN: &[u8] = b"bascule-cache-key-1";

/// The bytes of a key that [`Display`](fmt::Display) shows.
const SHOWN_BYTES: usize = 8;

/// What a cached answer and a fetch in flight are found by: 32 bytes that depend on every field.
///
/// `Display` and `Debug` give the first 16 hexadecimal digits, which is enough for a log line; the parameters that
/// went into the key cannot be read back from it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; 32]);

/// Collects the fields of a [`Key`], in the order of the calls.
#[must_use = "a key comes out of `finish`"]
pub struct KeyBuilder {
    digest: Context,
}

/// The role of a part, so that a field's name and its value cannot change places.
#[derive(Clone, Copy)]
enum Part {
    Integration,
    Operation,
    Name,
    Value,
}

impl KeyBuilder {
    /// Starts the key of one operation of one integration.
    pub fn new(integration: &str, operation: &str) -> Self {
        let mut digest = Context::new(&SHA256);
        digest.update(DOMAIN);
        Self { digest }
            .part(Part::Integration, integration.as_bytes())
            .part(Part::Operation, operation.as_bytes())
    }

    /// Adds one named field. The same fields in another order, or a field given twice, make another key; an empty
    /// value is not the same as an absent field.
    pub fn field(self, name: &str, value: &[u8]) -> Self {
        self.part(Part::Name, name.as_bytes()).part(Part::Value, value)
    }

    /// The key over all that was given.
    #[must_use]
    pub fn finish(self) -> Key {
        let digest = self.digest.finish();
        let mut bytes = [0; 32];
        // SHA-256 gives 32 bytes, so nothing is cut off or left zero.
        for (byte, digested) in bytes.iter_mut().zip(digest.as_ref()) {
            *byte = *digested;
        }
        Key(bytes)
    }

    fn part(mut self, part: Part, bytes: &[u8]) -> Self {
        let tag = match part {
            Part::Integration => b'i',
            Part::Operation => b'o',
            Part::Name => b'n',
            Part::Value => b'v',
        };
        self.digest.update(&[tag]);
        self.digest.update(&(bytes.len() as u64).to_be_bytes());
        self.digest.update(bytes);
        self
    }
}

impl Key {
    /// The first eight bytes as a number: of a digest, as good as any other hash of it.
    pub(crate) fn prefix(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// The key that has these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The number of the counter of purges that it shares with other keys: its first two bytes, the lower one first.
    #[must_use]
    pub fn counter(&self) -> u16 {
        let [low, high, ..] = self.0;
        u16::from_le_bytes([low, high])
    }

    /// All 32 bytes, for a store outside of this process.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Hash for Key {
    /// A part of a digest is as good a hash as any, and needs no work.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.prefix());
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(SHOWN_BYTES).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Fields = Vec<(String, Vec<u8>)>;

    fn key(integration: &str, operation: &str, fields: &[(String, Vec<u8>)]) -> Key {
        fields
            .iter()
            .fold(KeyBuilder::new(integration, operation), |key, (name, value)| key.field(name, value))
            .finish()
    }

    /// Short words of the letters that also mark names and values, so that two lists often look alike once their
    /// parts are strung together.
    fn word() -> impl Strategy<Value = String> {
        "[nv]{0,3}"
    }

    fn fields() -> impl Strategy<Value = Fields> {
        prop::collection::vec((word(), word().prop_map(String::into_bytes)), 0..4)
    }

    #[test]
    fn moving_a_letter_over_a_border_makes_another_key() {
        let fields = |name: &str, value: &str| vec![(name.to_owned(), value.as_bytes().to_vec())];
        assert_ne!(key("i", "o", &fields("ab", "c")), key("i", "o", &fields("a", "bc")));
        assert_ne!(key("ab", "c", &[]), key("a", "bc", &[]));
        assert_ne!(key("i", "on", &[]), key("i", "o", &fields("n", "")));
        assert_ne!(key("i", "o", &fields("a", "")), key("i", "o", &[]));
    }

    #[test]
    fn a_value_that_imitates_the_encoding_of_a_field_is_not_taken_for_one() {
        let honest = KeyBuilder::new("i", "o").field("a", b"x").field("b", b"y").finish();
        for length in [&[][..], &1_u64.to_be_bytes()[..]] {
            let forged = [b"xn", length, b"bv", length, b"y"].concat();
            assert_ne!(KeyBuilder::new("i", "o").field("a", &forged).finish(), honest);
        }
        let empty = KeyBuilder::new("i", "o").field("", b"").field("", b"").finish();
        assert_ne!(KeyBuilder::new("i", "o").field("", b"nv").finish(), empty);
    }

    #[test]
    fn shows_the_first_sixteen_digits() {
        let key = Key(std::array::from_fn(|index| 0xf0 - index as u8));
        assert_eq!(key.to_string(), "f0efeeedecebeae9");
        assert_eq!(format!("{key:?}"), "Key(f0efeeedecebeae9)");
    }

    proptest! {
        #[test]
        fn two_keys_are_equal_exactly_when_all_their_parts_are(
            left in (word(), word(), fields()),
            right in (word(), word(), fields()),
        ) {
            let of = |(integration, operation, fields): &(String, String, Fields)| key(integration, operation, fields);
            prop_assert_eq!(of(&left) == of(&right), left == right);
        }

        #[test]
        fn cutting_the_same_bytes_elsewhere_makes_another_key(bytes in "[a-c]{1,12}", cuts in (0_usize..13, 0_usize..13)) {
            let (first, second) = (cuts.0.min(bytes.len()), cuts.1.min(bytes.len()));
            prop_assume!(first != second);
            let cut = |at: usize| {
                let (name, value) = bytes.split_at(at);
                KeyBuilder::new("i", "o").field(name, value.as_bytes()).finish()
            };
            prop_assert_ne!(cut(first), cut(second));
        }
    }
}
