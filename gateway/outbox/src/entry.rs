//! What is queued, and what becomes of it.

use std::time::SystemTime;
use uuid::Uuid;

/// Which operation, of which integration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The integration.
    pub integration: String,
    /// The operation.
    pub operation: String,
}

/// A call to be made later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What is called.
    pub place: Place,
    /// Its idempotency key. Per operation there is at most one entry with a key.
    pub key: String,
    /// On whose behalf; none: of anyone.
    pub caller: Option<String>,
    /// The parameters, as the program writes them.
    pub params: String,
    /// Headers that go along, as the program writes them. They are no part of what is compared when a key comes again.
    pub headers: String,
    /// A payload beside the parameters.
    pub body: Option<Vec<u8>>,
}

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// To be tried at its next time.
    Waiting,
    /// Being tried.
    Running,
    /// It has its final answer.
    Done,
    /// Given up.
    Dead,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Running, Self::Done, Self::Dead];

    /// The word for it, also in the file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Dead => "dead",
        }
    }

    /// The state of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether nothing more happens to the entry by itself.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Dead)
    }
}

/// The final answer to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// What the body is.
    pub content_type: Option<String>,
    /// The body, at most [`ANSWER_MAX`](crate::ANSWER_MAX) octets of it.
    pub body: Vec<u8>,
    /// Whether there was more.
    pub cut: bool,
}

/// How the tries of an entry ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With a final answer.
    Done(Answer),
    /// With nothing that would get better.
    Dead {
        /// Why, for people.
        error: String,
        /// The last answer, when there was one.
        answer: Option<Answer>,
    },
}

/// An entry of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name (UUIDv7).
    pub id: Uuid,
    /// The call. Parameters, headers and body are forgotten once it is done.
    pub call: Call,
    /// Where it stands.
    pub state: State,
    /// When it was queued.
    pub created: SystemTime,
    /// When it is tried next; of no meaning unless it waits.
    pub next_try: SystemTime,
    /// How often it was tried, the try that is running included.
    pub tries: u32,
    /// When it was done or dead.
    pub finished: Option<SystemTime>,
    /// The final answer.
    pub answer: Option<Answer>,
    /// What the last try that failed came to.
    pub last_error: Option<String>,
}

/// An operation that has waiting entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// The operation.
    pub place: Place,
    /// When the first of them may be tried.
    pub next_try: SystemTime,
}

/// How many entries of an integration are in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// The integration.
    pub integration: String,
    /// The state.
    pub state: State,
    /// How many.
    pub entries: u64,
}

/// Some entries of the queue, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Entry>,
    /// The entry that the next page begins behind; none: this is the last page.
    pub next: Option<Uuid>,
}
