//! Names of the journal's files: `journal-20260102T030405Z-0001.jsonl`, so that a listing is in the order of time.
//!
//! The number tells files of one second apart. A clock that is set back must not make new files look old, or the
//! newest would be removed first: a new name is never before the latest one.

use crate::telemetry::timestamp::compact;
use std::{fs, io, path::Path, time::SystemTime};

/// A file's name. The order is that in which files are begun.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    stamp: String,
    number: u32,
}

impl Name {
    /// The name after `latest`, at this time.
    pub(super) fn next(latest: Option<&Self>, at: SystemTime) -> Self {
        let stamp = compact(at);
        match latest {
            Some(latest) if latest.stamp >= stamp => {
                Self { stamp: latest.stamp.clone(), number: latest.number.saturating_add(1) }
            }
            _ => Self { stamp, number: 1 },
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (stamp, number) = text.strip_prefix("journal-")?.strip_suffix(".jsonl")?.split_once('-')?;
        let stamped = stamp.len() == "20260102T030405Z".len()
            && stamp.bytes().enumerate().all(|(at, octet)| match at {
                8 => octet == b'T',
                15 => octet == b'Z',
                _ => octet.is_ascii_digit(),
            });
        let numbered = number.len() >= 4 && number.bytes().all(|octet| octet.is_ascii_digit());
        let number = number.parse().ok().filter(|_| stamped && numbered)?;
        Some(Self { stamp: stamp.to_owned(), number })
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "journal-{}-{:04}.jsonl", self.stamp, self.number)
    }
}

/// The journal's files in a folder, the oldest first. Others are none of its business.
pub(super) fn list(folder: &Path) -> io::Result<Vec<Name>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.extend(entry?.file_name().to_str().and_then(Name::parse));
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn names_go_forward_whatever_the_clock_does() {
        let first = Name::next(None, at(1_795_262_758));
        assert_eq!(first.to_string(), "journal-20261121T120558Z-0001.jsonl");
        let second = Name::next(Some(&first), at(1_795_262_758));
        assert_eq!(second.to_string(), "journal-20261121T120558Z-0002.jsonl");
        let set_back = Name::next(Some(&second), at(1_700_000_000));
        assert_eq!(set_back.to_string(), "journal-20261121T120558Z-0003.jsonl");
        let later = Name::next(Some(&set_back), at(1_795_262_759));
        assert_eq!(later.to_string(), "journal-20261121T120559Z-0001.jsonl");
        assert!(first < second && second < set_back && set_back < later);
    }

    #[test]
    fn only_whole_names_are_names() {
        for name in ["journal-20261121T120558Z-0001.jsonl", "journal-20261121T120558Z-12345.jsonl"] {
            assert_eq!(Name::parse(name).unwrap().to_string(), name);
        }
        for name in [
            "journal-20261121T120558Z-1.jsonl",
            "journal-20261121T120558-0001.jsonl",
            "journal-20261121T120558Z-0001.jsonl.bak",
            "journal-20261121X120558Z-0001.jsonl",
            "other-20261121T120558Z-0001.jsonl",
            "journal-20261121T120558Z-+001.jsonl",
        ] {
            assert_eq!(Name::parse(name), None, "{name}");
        }
    }
}
