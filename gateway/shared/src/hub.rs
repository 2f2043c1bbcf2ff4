//! What is published, to those who subscribed.
//!
//! A message may be missed: while there is no connection, or by a reader that falls behind. That it may have been is
//! always told, in its place among the messages ([`Notice::Gap`]), so that a reader can look at the state itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use redis::aio::{AsyncPushSender, SendError};
use redis::{PushInfo, PushKind, Value};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Messages that a reader may be behind.
const BEHIND_MAX: usize = 256;

/// What a subscription tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The connection was lost. What is published from here on is missed, until there is a gap.
    Interrupted,
    /// Messages may have been missed before this: the subscription has taken effect, for the first time or again after
    /// the connection was lost, or the reader was behind by more than 256 messages.
    Gap,
    /// What was published, by any gateway, this one included.
    Message(Bytes),
}

/// What is published on one channel, from now on.
pub struct Subscription {
    notices: broadcast::Receiver<Notice>,
}

impl Subscription {
    /// The next notice; `None` once the [`Shared`](crate::Shared) it came from is gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<Notice> {
        match self.notices.recv().await {
            Ok(notice) => Some(notice),
            Err(RecvError::Lagged(_)) => Some(Notice::Gap),
            Err(RecvError::Closed) => None,
        }
    }
}

/// The channels that somebody subscribed to, ever: there are a few, named by the program.
#[derive(Clone, Default)]
pub(crate) struct Hub(Arc<Mutex<BTreeMap<Arc<str>, Channel>>>);

struct Channel {
    sender: broadcast::Sender<Notice>,
    /// Whether the present connection is subscribed to it.
    subscribed: bool,
}

impl Hub {
    /// Joins a channel. Who joins one that is subscribed to already is told of a gap as well.
    pub(crate) fn join(&self, channel: &str) -> Subscription {
        let mut channels = self.0.lock();
        let entry = channels
            .entry(channel.into())
            .or_insert_with(|| Channel { sender: broadcast::channel(BEHIND_MAX).0, subscribed: false });
        let notices = entry.sender.subscribe();
        if entry.subscribed {
            let _ = entry.sender.send(Notice::Gap);
        }
        Subscription { notices }
    }

    /// Channels that the present connection does not carry yet.
    pub(crate) fn missing(&self) -> Vec<Arc<str>> {
        let channels = self.0.lock();
        channels.iter().filter(|(_, entry)| !entry.subscribed).map(|(name, _)| Arc::clone(name)).collect()
    }

    /// From here on messages come.
    pub(crate) fn subscribed(&self, channel: &str) {
        if let Some(entry) = self.0.lock().get_mut(channel) {
            entry.subscribed = true;
            let _ = entry.sender.send(Notice::Gap);
        }
    }

    /// The connection has ended.
    pub(crate) fn interrupted(&self) {
        for entry in self.0.lock().values_mut().filter(|entry| entry.subscribed) {
            entry.subscribed = false;
            let _ = entry.sender.send(Notice::Interrupted);
        }
    }

    fn deliver(&self, channel: &[u8], message: Vec<u8>) {
        let Ok(channel) = std::str::from_utf8(channel) else { return };
        // What comes before the gap is told has no place in the order: the gap stands for it, too.
        if let Some(entry) = self.0.lock().get(channel).filter(|entry| entry.subscribed) {
            // Nobody reads at the moment: then nobody misses it.
            let _ = entry.sender.send(Notice::Message(message.into()));
        }
    }
}

impl AsyncPushSender for Hub {
    fn send(&self, info: PushInfo) -> Result<(), SendError> {
        if info.kind == PushKind::Message
            && let Ok([Value::BulkString(channel), Value::BulkString(message)]) =
                <[Value; 2]>::try_from(info.data)
        {
            self.deliver(&channel, message);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &'static str) -> Notice {
        Notice::Message(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn who_falls_behind_is_told_of_a_gap() {
        let hub = Hub::default();
        let mut subscription = hub.join("c");
        hub.subscribed("c");
        assert_eq!(subscription.next().await, Some(Notice::Gap));
        for _ in 0..=BEHIND_MAX {
            hub.deliver(b"c", b"m".to_vec());
        }
        assert_eq!(subscription.next().await, Some(Notice::Gap));
        for _ in 0..BEHIND_MAX {
            assert_eq!(subscription.next().await, Some(message("m")));
        }
    }

    #[tokio::test]
    async fn a_lost_connection_is_a_gap_once_it_is_renewed() {
        let hub = Hub::default();
        let mut subscription = hub.join("c");
        assert_eq!(hub.missing().len(), 1);
        hub.subscribed("c");
        hub.deliver(b"c", b"before".to_vec());
        hub.deliver(b"other", b"not mine".to_vec());
        hub.interrupted();
        assert_eq!(hub.missing().len(), 1);
        hub.subscribed("c");
        hub.deliver(b"c", b"after".to_vec());
        for expected in [Notice::Gap, message("before"), Notice::Interrupted, Notice::Gap, message("after")] {
            assert_eq!(subscription.next().await, Some(expected));
        }
    }

    #[tokio::test]
    async fn a_message_that_comes_before_the_gap_is_part_of_it() {
        let hub = Hub::default();
        let mut subscription = hub.join("c");
        hub.subscribed("c");
        hub.interrupted();
        hub.deliver(b"c", b"too early".to_vec());
        hub.subscribed("c");
        hub.deliver(b"c", b"after".to_vec());
        for expected in [Notice::Gap, Notice::Interrupted, Notice::Gap, message("after")] {
            assert_eq!(subscription.next().await, Some(expected));
        }
    }
}
