//! The rules of a shared body, without a runtime: a step is a poll.

use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::Wake,
};

use super::*;

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[track_caller]
fn push(writer: &mut BodyWriter, chunk: &str) {
    assert_eq!(poll(writer.push(chunk.as_bytes())), Poll::Ready(Ok(())), "the writer had to wait");
}

/// All that can be read now, and the last word.
fn read(reader: &mut BodyReader) -> (String, Poll<Option<BodyError>>) {
    let mut text = Vec::new();
    loop {
        match poll(reader.next()) {
            Poll::Ready(Some(Ok(chunk))) => text.extend_from_slice(&chunk),
            Poll::Ready(Some(Err(error))) => {
                return (String::from_utf8(text).unwrap(), Poll::Ready(Some(error)));
            }
            Poll::Ready(None) => return (String::from_utf8(text).unwrap(), Poll::Ready(None)),
            Poll::Pending => return (String::from_utf8(text).unwrap(), Poll::Pending),
        }
    }
}

/// Room for two chunks of some bytes each and not for three.
const ROOM: usize = 2 * 100 + 50;

#[test]
fn everybody_reads_all_of_it_at_his_own_pace() {
    let (mut writer, body) = shared_body(1 << 20);
    let mut early = body.reader().unwrap();
    assert_eq!(read(&mut early), (String::new(), Poll::Pending));
    push(&mut writer, "ab");
    let mut late = body.reader().unwrap();
    assert_eq!(read(&mut early), ("ab".into(), Poll::Pending));
    push(&mut writer, "");
    push(&mut writer, "cd");
    assert_eq!(writer.finish().unwrap(), "abcd");
    assert_eq!(read(&mut early), ("cd".into(), Poll::Ready(None)));
    assert_eq!(read(&mut late), ("abcd".into(), Poll::Ready(None)));
    assert_eq!(read(&mut body.reader().unwrap()), ("abcd".into(), Poll::Ready(None)));
}

#[test]
fn a_body_without_its_end_is_no_body() {
    let (mut writer, body) = shared_body(1 << 20);
    let mut reader = body.reader().unwrap();
    push(&mut writer, "ab");
    drop(writer);
    assert_eq!(read(&mut reader), ("ab".into(), Poll::Ready(Some(BodyError::Broken))));
    assert_eq!(read(&mut reader), (String::new(), Poll::Ready(Some(BodyError::Broken))));
    assert_eq!(read(&mut body.reader().unwrap()), ("ab".into(), Poll::Ready(Some(BodyError::Broken))));
}

#[test]
fn readers_are_woken_by_each_chunk_and_by_the_end() {
    let (mut writer, body) = shared_body(1 << 20);
    let (mut reader, woken) = (body.reader().unwrap(), Arc::new(Woken::default()));
    let waker = Waker::from(Arc::clone(&woken));
    let mut wait = || pin!(reader.next()).poll(&mut Context::from_waker(&waker)).is_pending();
    assert!(wait());
    push(&mut writer, "a");
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    assert!(!wait() && wait());
    assert!(writer.finish().is_some());
    assert_eq!(woken.0.load(Ordering::SeqCst), 2);
}

#[test]
fn a_body_that_is_too_large_goes_at_the_pace_of_the_first_reader() {
    let (mut writer, body) = shared_body(ROOM);
    let (mut first, mut second) = (body.reader().unwrap(), body.reader().unwrap());
    push(&mut writer, "a");
    push(&mut writer, "b");
    assert!(poll(writer.push(b"c")).is_pending());
    // The second one's reading makes no room, and his slowness takes none.
    assert_eq!(read(&mut second), ("ab".into(), Poll::Pending));
    assert!(poll(writer.push(b"c")).is_pending());
    assert_eq!(read(&mut first), ("ab".into(), Poll::Pending));
    for chunk in ["c", "d", "e"] {
        push(&mut writer, chunk);
        assert_eq!(read(&mut first), (chunk.into(), Poll::Pending));
    }
    assert!(body.reader().is_none(), "the beginning is gone");
    assert_eq!(read(&mut second), (String::new(), Poll::Ready(Some(BodyError::Lagged))));
    assert_eq!(writer.finish(), None, "it was not kept");
    assert_eq!(read(&mut first), (String::new(), Poll::Ready(None)));
}

#[test]
fn the_writer_goes_on_when_the_first_reader_reads_or_leaves() {
    for leaves in [false, true] {
        let (mut writer, body) = shared_body(ROOM);
        let (mut first, mut second) = (body.reader().unwrap(), body.reader().unwrap());
        push(&mut writer, "a");
        push(&mut writer, "b");
        assert_eq!(read(&mut second), ("ab".into(), Poll::Pending));
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        assert!(pin!(writer.push(b"c")).poll(&mut Context::from_waker(&waker)).is_pending());
        if leaves {
            drop(first);
        } else {
            assert_eq!(read(&mut first).0, "ab");
        }
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        push(&mut writer, "c");
        assert_eq!(read(&mut second), ("c".into(), Poll::Pending));
    }
}

#[test]
fn somebody_who_lost_the_thread_holds_up_nobody() {
    let (mut writer, body) = shared_body(ROOM);
    let (first, _idle, mut third) = (body.reader().unwrap(), body.reader().unwrap(), body.reader().unwrap());
    let mut first = first;
    for chunk in ["a", "b", "c"] {
        push(&mut writer, chunk);
        assert_eq!((read(&mut first).0, read(&mut third).0), (chunk.into(), chunk.into()));
    }
    drop(first);
    for chunk in ["d", "e"] {
        push(&mut writer, chunk);
        assert_eq!(read(&mut third).0, chunk);
    }
}

#[test]
fn a_chunk_larger_than_is_kept_passes_alone() {
    let (mut writer, body) = shared_body(10);
    let mut reader = body.reader().unwrap();
    push(&mut writer, "0123456789");
    assert!(poll(writer.push(b"x")).is_pending());
    assert_eq!(read(&mut reader).0, "0123456789");
    push(&mut writer, "x");
    assert_eq!(writer.finish(), None);
    assert_eq!(read(&mut reader), ("x".into(), Poll::Ready(None)));
}

#[test]
fn a_body_sent_byte_by_byte_is_bounded_by_what_it_costs() {
    let (mut writer, body) = shared_body(10_000);
    let mut pushed = 0;
    while poll(writer.push(b"x")).is_ready() {
        pushed += 1;
    }
    assert!(pushed < 200, "{pushed} chunks for 10 000 bytes");
    drop(body);
}

#[test]
fn it_is_a_body_for_http() {
    let (mut writer, body) = shared_body(1 << 20);
    let mut reader = body.reader().unwrap();
    push(&mut writer, "ab");
    drop(writer);
    let mut frame = || poll(poll_fn(|cx| Pin::new(&mut reader).poll_frame(cx)));
    assert!(
        matches!(frame(), Poll::Ready(Some(Ok(frame))) if frame.data_ref().is_some_and(|data| data == "ab"))
    );
    assert!(matches!(frame(), Poll::Ready(Some(Err(BodyError::Broken)))));
}

#[test]
fn a_writer_learns_that_nobody_can_read_the_rest() {
    let (mut writer, body) = shared_body(ROOM);
    let (mut first, behind) = (body.reader().unwrap(), body.reader().unwrap());
    for chunk in ["a", "b", "c", "d"] {
        push(&mut writer, chunk);
        assert_eq!(read(&mut first).0, chunk);
    }
    drop(first);
    // Who has lost the thread does not count.
    assert_eq!(poll(writer.push(b"e")), Poll::Ready(Err(Abandoned)));
    drop(behind);

    let (mut writer, body) = shared_body(ROOM);
    drop(body.reader());
    push(&mut writer, "a");
    assert_eq!(writer.finish().unwrap(), "a", "what is kept is for the store");
}
