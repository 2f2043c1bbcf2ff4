//! Numbers, texts and spans as octets, and back.
//!
//! The decision: every text carries its length, and nothing is read beyond what is there. It knows no records.

use std::time::Duration;

use super::RecordError;

#[derive(Default)]
pub(super) struct Writer(Vec<u8>);

/// What is still to be read.
pub(super) struct Reader<'a>(&'a [u8]);

type Read<T> = Result<T, RecordError>;

impl Writer {
    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(super) fn flag(&mut self, flag: bool) {
        self.byte(u8::from(flag));
    }

    pub(super) fn short(&mut self, number: u16) {
        self.0.extend_from_slice(&number.to_be_bytes());
    }

    pub(super) fn long(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_be_bytes());
    }

    pub(super) fn octets(&mut self, octets: &[u8]) {
        self.long(octets.len() as u64);
        self.0.extend_from_slice(octets);
    }

    pub(super) fn span(&mut self, span: Duration) {
        self.long(span.as_secs());
        self.0.extend_from_slice(&span.subsec_nanos().to_be_bytes());
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    pub(super) fn byte(&mut self) -> Read<u8> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub(super) fn flag(&mut self) -> Read<bool> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(RecordError::Malformed),
        }
    }

    pub(super) fn short(&mut self) -> Read<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn long(&mut self) -> Read<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn octets(&mut self) -> Read<&'a [u8]> {
        let length = usize::try_from(self.long()?).map_err(|_| RecordError::Malformed)?;
        let (octets, rest) = self.0.split_at_checked(length).ok_or(RecordError::Malformed)?;
        self.0 = rest;
        Ok(octets)
    }

    pub(super) fn span(&mut self) -> Read<Duration> {
        let (seconds, nanos) = (self.long()?, self.array().map(u32::from_be_bytes)?);
        // More would be carried over into the seconds, which may have no room for it.
        if nanos >= 1_000_000_000 {
            return Err(RecordError::Malformed);
        }
        Ok(Duration::new(seconds, nanos))
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Read<()> {
        if self.0.is_empty() { Ok(()) } else { Err(RecordError::Malformed) }
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk().ok_or(RecordError::Malformed)?;
        self.0 = rest;
        Ok(*array)
    }
}
