//! Coded answers for plugins: gzip, deflate, br and zstd become plain octets.
//!
//! Where a plugin reads an answer the host asks for identity coding; a provider that codes all the same
//! is decoded here. The output is bounded in size and in ratio, so that a few KiB cannot become
//! gigabytes. Answers that no plugin reads pass as they are.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, ETAG},
};
use std::io::{self, Read};

/// Largest ratio of decoded to coded octets. Texts reach 20, crafted bombs 1,000 and more.
const RATIO_MAX: u64 = 100;
/// Below this a large ratio is harmless (a page of blanks) and not looked at.
const RATIO_FROM: u64 = 1024 * 1024;

/// Most codings on top of each other; more is no honest server.
const CODINGS_MAX: usize = 3;
/// Largest zstd window: what RFC 9659 allows for content coding.
const ZSTD_WINDOW_MAX: u64 = 8 * 1024 * 1024;

/// A coded body that is not decoded.
#[derive(Debug, thiserror::Error)]
pub(super) enum DecodeError {
    /// No coding that is known here.
    #[error("the content coding `{0}` is not known")]
    Unknown(String),
    /// The octets are not of the coding.
    #[error("the content coding is broken")]
    Broken(#[source] io::Error),
    /// More octets than allowed, or suspiciously many from few.
    #[error("the decoded body is too large")]
    TooLarge,
}

/// The headers that describe the octets as they were sent: they go when the octets change.
pub(super) fn forget_octets(headers: &mut HeaderMap) {
    for name in [CONTENT_ENCODING, CONTENT_LENGTH, ETAG] {
        headers.remove(name);
    }
    for name in ["digest", "content-digest", "repr-digest", "content-md5"] {
        headers.remove(HeaderName::from_static(name));
    }
}

/// Decodes a held body and mends its headers; one without a coding is left alone.
///
/// # Errors
/// [`DecodeError`]; nothing has changed then.
pub(super) fn decode(headers: &mut HeaderMap, body: &mut Bytes, limit: u64) -> Result<(), DecodeError> {
    let mut codings = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        let text = value.to_str().unwrap_or("?").to_ascii_lowercase();
        let named = text.split(',').map(|coding| coding.trim().to_owned());
        codings.extend(named.filter(|coding| !matches!(coding.as_str(), "" | "identity")));
    }
    if codings.is_empty() || body.is_empty() {
        return Ok(());
    }
    if codings.len() > CODINGS_MAX {
        return Err(DecodeError::Unknown(codings.join(", ")));
    }
    let mut octets = body.clone();
    // The last coding named was applied last (RFC 9110 §8.4).
    for coding in codings.iter().rev() {
        octets = decode_one(coding, &octets, limit)?;
    }
    *body = octets;
    forget_octets(headers);
    Ok(())
}

fn decode_one(coding: &str, coded: &[u8], limit: u64) -> Result<Bytes, DecodeError> {
    match coding {
        "gzip" | "x-gzip" => read_bounded(flate2::read::MultiGzDecoder::new(coded), coded, limit),
        "deflate" => read_bounded(flate2::read::ZlibDecoder::new(coded), coded, limit),
        "br" => read_bounded(brotli_decompressor::Decompressor::new(coded, 4096), coded, limit),
        "zstd" => {
            // A body may be several frames, and this decoder reads one.
            let mut rest = coded;
            let mut plain = Vec::new();
            while !rest.is_empty() {
                let broken = |error| DecodeError::Broken(io::Error::other(error));
                let decoder =
                    ruzstd::decoding::StreamingDecoder::new_with_max_window_size(&mut rest, ZSTD_WINDOW_MAX)
                        .map_err(broken)?;
                let frame = read_bounded(decoder, coded, limit.saturating_sub(plain.len() as u64))?;
                plain.extend_from_slice(&frame);
            }
            Ok(plain.into())
        }
        other => Err(DecodeError::Unknown(other.to_owned())),
    }
}

fn read_bounded(decoder: impl Read, coded: &[u8], limit: u64) -> Result<Bytes, DecodeError> {
    let by_ratio = (coded.len() as u64).saturating_mul(RATIO_MAX).max(RATIO_FROM);
    let limit = limit.min(by_ratio);
    let mut plain = Vec::new();
    decoder.take(limit.saturating_add(1)).read_to_end(&mut plain).map_err(DecodeError::Broken)?;
    if plain.len() as u64 > limit { Err(DecodeError::TooLarge) } else { Ok(plain.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use std::io::Write;

    const LIMIT: u64 = 10 * 1024 * 1024;

    fn gzip(plain: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap().into()
    }

    fn headers(coding: &'static str) -> HeaderMap {
        HeaderMap::from_iter([
            (CONTENT_ENCODING, HeaderValue::from_static(coding)),
            (ETAG, HeaderValue::from_static("\"x\"")),
        ])
    }

    #[test]
    fn a_coded_body_becomes_plain_and_its_headers_fit() {
        let (mut headers, mut body) = (headers("gzip"), gzip(b"hello"));
        decode(&mut headers, &mut body, LIMIT).unwrap();
        assert_eq!(body, "hello");
        assert!(headers.is_empty());
    }

    #[test]
    fn several_codings_are_undone_from_the_last() {
        let (mut headers, mut body) = (headers("gzip, gzip"), gzip(&gzip(b"hello")));
        decode(&mut headers, &mut body, LIMIT).unwrap();
        assert_eq!(body, "hello");
    }

    #[test]
    fn brotli_and_zstd_are_known() {
        // "hello" by the reference encoders.
        for (coding, octets) in [
            ("br", &b"\x0b\x02\x80hello\x03"[..]),
            ("zstd", &b"\x28\xb5\x2f\xfd\x20\x05\x29\x00\x00hello"[..]),
        ] {
            let (mut headers, mut body) = (headers(coding), Bytes::from_static(octets));
            decode(&mut headers, &mut body, LIMIT).unwrap();
            assert_eq!(body, "hello", "{coding}");
        }
    }

    #[test]
    fn a_bomb_is_refused_by_size_and_by_ratio() {
        let bomb = gzip(&vec![0; 20 * 1024 * 1024]);
        let refused = decode(&mut headers("gzip"), &mut bomb.clone(), LIMIT).unwrap_err();
        assert!(matches!(refused, DecodeError::TooLarge));
        let dense = gzip(&vec![0; 8 * 1024 * 1024]);
        assert!(matches!(
            decode(&mut headers("gzip"), &mut dense.clone(), LIMIT),
            Err(DecodeError::TooLarge)
        ));
        let small = gzip(&vec![0; 1000 * 1000]);
        assert!(decode(&mut headers("gzip"), &mut small.clone(), LIMIT).is_ok());
    }

    #[test]
    fn garbage_and_unknown_codings_are_errors() {
        let mut body = Bytes::from_static(b"no gzip");
        assert!(matches!(decode(&mut headers("gzip"), &mut body, LIMIT), Err(DecodeError::Broken(_))));
        assert!(matches!(decode(&mut headers("lzw"), &mut body, LIMIT), Err(DecodeError::Unknown(_))));
        assert_eq!(body, "no gzip");
    }
}
