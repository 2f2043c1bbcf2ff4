//! Shared bodies under a scheduler that chooses, at every lock, who goes on.
//!
//! A wait that nobody ends is found as a deadlock, whatever a scenario checks besides. `SCHEDULES` runs more of them.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what is wrong here fails the test")]

use std::{sync::Arc, time::Instant};

use bascule_cache::{
    BodyError, BodyReader, BodyWriter, Coalescer, Fetched, Flight, KeyBuilder, Landed, SharedBody,
    shared_body,
};
use shuttle::{
    future::{block_on, spawn, yield_now},
    rand::{Rng, thread_rng},
};

const CHUNKS: usize = 5;

fn pick<T: Copy>(from: &[T]) -> T {
    from[thread_rng().gen_range(0..from.len())]
}

/// Each chunk is its own number.
fn chunk(number: usize) -> [u8; 1] {
    [u8::try_from(number).unwrap()]
}

/// Writes all chunks and their end, or breaks off after some. The whole body, if it was kept.
async fn write(mut writer: BodyWriter, breaks_off_after: Option<usize>) -> Option<bytes::Bytes> {
    for number in 0..breaks_off_after.unwrap_or(CHUNKS) {
        writer.push(&chunk(number)).await.ok()?;
        if pick(&[true, false]) {
            yield_now().await;
        }
    }
    match breaks_off_after {
        Some(_) => None,
        None => writer.finish(),
    }
}

/// What one reader got: the chunks in order from the first one, and how it ended.
async fn read(mut reader: BodyReader, leaves_after: Option<usize>) -> (usize, Option<Result<(), BodyError>>) {
    let mut got = 0;
    loop {
        if leaves_after == Some(got) {
            return (got, None);
        }
        match reader.next().await {
            Some(Ok(next)) => {
                assert_eq!(&next[..], chunk(got), "a chunk is missing, or out of order");
                got += 1;
            }
            Some(Err(error)) => return (got, Some(Err(error))),
            None => return (got, Some(Ok(()))),
        }
        if pick(&[true, false]) {
            yield_now().await;
        }
    }
}

fn scenario(room: usize) {
    let (writer, body) = shared_body(room);
    let breaks_off_after = pick(&[None, None, Some(0), Some(2)]);
    let readers: Vec<_> = (0..pick(&[1, 2, 3]))
        .map(|index| {
            let (body, leaves_after) = (body.clone(), pick(&[None, None, Some(0), Some(1)]));
            spawn(async move {
                // The first one is there from the start: a body that is not kept waits for somebody.
                if index > 0 && pick(&[true, false]) {
                    yield_now().await;
                }
                match body.reader() {
                    Some(reader) => Some((index, read(reader, leaves_after).await)),
                    None => None,
                }
            })
        })
        .collect();
    let last = spawn({
        let body = body.clone();
        async move { read_to_the_end(&body).await }
    });
    let writing = spawn(write(writer, breaks_off_after));
    block_on(async {
        for reader in readers {
            match reader.await.unwrap() {
                // Nobody takes a part for the whole.
                Some((_, (got, Some(Ok(()))))) => assert!(got == CHUNKS && breaks_off_after.is_none()),
                Some((_, (got, Some(Err(BodyError::Broken))))) => assert_eq!(Some(got), breaks_off_after),
                Some((_, (_, Some(Err(BodyError::Lagged))))) | None => {
                    assert!(room < usize::MAX, "it was all kept")
                }
                Some((_, (_, None))) => {}
            }
        }
        last.await.unwrap();
        let whole = writing.await.unwrap();
        if room == usize::MAX && breaks_off_after.is_none() {
            assert_eq!(whole.unwrap().len(), CHUNKS);
        }
    });
}

/// Somebody who stays keeps the writer going whatever the others do.
async fn read_to_the_end(body: &SharedBody) {
    while let Some(reader) = body.reader() {
        if !matches!(read(reader, None).await.1, Some(Err(BodyError::Lagged))) {
            return;
        }
    }
}

fn explore(schedules: usize, scenario: impl Fn() + Send + Sync + Copy + 'static) {
    let schedules = std::env::var("SCHEDULES").ok().and_then(|text| text.parse().ok()).unwrap_or(schedules);
    shuttle::check_random(scenario, schedules);
    shuttle::check_pct(scenario, schedules, 3);
}

#[test]
fn a_body_that_is_kept_reaches_everybody_whole_or_broken() {
    explore(10_000, || scenario(usize::MAX));
}

#[test]
fn a_body_that_is_too_large_reaches_the_first_reader_and_tells_the_others() {
    // Room for two of the chunks, each with what it costs.
    explore(10_000, || scenario(2 * 100));
}

#[test]
fn the_whole_way_from_the_flight_to_the_last_chunk() {
    explore(5_000, || {
        let flights: Arc<Coalescer<SharedBody>> = Coalescer::new(1024);
        let (key, now) = (KeyBuilder::new("github", "get").finish(), Instant::now());
        let callers: Vec<_> = (0..3)
            .map(|_| {
                let (flights, leaves_after) = (Arc::clone(&flights), pick(&[None, None, Some(0), Some(2)]));
                spawn(async move {
                    let mut flight: Flight<SharedBody> = flights
                        .join_heralded(key, now, |herald| async move {
                            let (writer, body) = shared_body(usize::MAX);
                            let answer = Arc::new(body);
                            herald.announce(Arc::clone(&answer));
                            write(writer, None).await.unwrap();
                            Fetched::Shared(answer)
                        })
                        .unwrap();
                    let Landed::Shared(body) = flight.arrive().await else { panic!("no answer") };
                    let (got, end) = read(body.reader().unwrap(), leaves_after).await;
                    // Whoever stays keeps the fetch alive to its end, whoever else leaves.
                    assert!(leaves_after.is_some() || (got, end) == (CHUNKS, Some(Ok(()))));
                })
            })
            .collect();
        block_on(async {
            for caller in callers {
                caller.await.unwrap();
            }
            flights.idle().await;
            while Arc::weak_count(&flights) > 0 {
                yield_now().await;
            }
        });
        assert_eq!(flights.in_flight(), 0);
    });
}
