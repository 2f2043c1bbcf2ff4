//! How the text of a secret encodes a key.
//!
//! Lenient where people are: surrounding white space and missing base64 padding are accepted.
//! A PEM is taken for its first block; its label is of no consequence, the parser finds the type.

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use zeroize::Zeroizing;

use crate::bindings::bascule::plugin::crypto::{CryptoError, Encoding};

/// The octets that `stored` stands for.
///
/// # Errors
/// [`CryptoError::InvalidKey`] when the text is not of that encoding.
pub(crate) fn decode(encoding: Encoding, stored: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let octets = match encoding {
        Encoding::Raw => Ok(stored.to_vec()),
        Encoding::Hex => HEXLOWER_PERMISSIVE.decode(stored.trim_ascii()),
        Encoding::Base64 => BASE64_NOPAD.decode(unpadded(stored)),
        Encoding::Base64url => BASE64URL_NOPAD.decode(unpadded(stored)),
        Encoding::Pem => return pem(stored),
    };
    octets.map(Zeroizing::new).map_err(|_not_decodable| CryptoError::InvalidKey)
}

fn unpadded(text: &[u8]) -> &[u8] {
    let mut text = text.trim_ascii();
    while let [rest @ .., b'='] = text {
        text = rest;
    }
    text
}

/// The DER inside the first block of a PEM text.
fn pem(stored: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let text = std::str::from_utf8(stored).map_err(|_not_text| CryptoError::InvalidKey)?;
    let mut inside =
        text.lines().map(str::trim).skip_while(|line| !line.starts_with("-----BEGIN ")).skip(1).peekable();
    if inside.peek().is_none() {
        return Err(CryptoError::InvalidKey);
    }
    let mut base64 = Zeroizing::new(String::with_capacity(text.len()));
    inside.take_while(|line| !line.starts_with("-----END ")).for_each(|line| base64.push_str(line));
    decode(Encoding::Base64, base64.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_encoding_gives_the_same_octets() {
        let expected = b"\x00\xffkey!";
        let texts: [(Encoding, &[u8]); 6] = [
            (Encoding::Raw, expected),
            (Encoding::Hex, b" 00FF6b657921\n"),
            (Encoding::Base64, b"AP9rZXkh"),
            (Encoding::Base64, b"AP9rZXkh\n"),
            (Encoding::Base64url, b"AP9rZXkh"),
            (Encoding::Pem, b"-----BEGIN X-----\nAP9r\r\n ZXkh\n-----END X-----\ntrailing"),
        ];
        for (encoding, text) in texts {
            assert_eq!(decode(encoding, text).unwrap().as_slice(), expected, "{encoding:?}");
        }
        assert_eq!(decode(Encoding::Base64, b"YQ==").unwrap().as_slice(), b"a");
        assert_eq!(decode(Encoding::Base64url, b"__8").unwrap().as_slice(), b"\xff\xff");
    }

    #[test]
    fn what_does_not_decode_is_an_invalid_key() {
        for (encoding, text) in [(Encoding::Hex, "0g"), (Encoding::Base64, "a b"), (Encoding::Pem, "AP9r")] {
            assert!(matches!(decode(encoding, text.as_bytes()), Err(CryptoError::InvalidKey)));
        }
    }
}
