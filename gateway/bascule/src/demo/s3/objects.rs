//! The objects of the S3 stand-in, in memory and within bounds.
//!
//! Octets are accounted where they are held: [`Chunks`] reserves them from one [`Budget`] while an upload runs and
//! gives them back when the last reader lets go, so that the sum over finished, running and replaced objects
//! never passes the bound.

mod chunks;

pub(super) use chunks::{Budget, Chunks, Writer};

use super::fault::Fault;
use http::HeaderMap;
use parking_lot::Mutex;
use std::{collections::BTreeMap, ops::Bound, sync::Arc};

/// What all objects together may hold: 48 MiB, so that the demo stays under 64 with everything around them.
const HELD_MAX_BYTES: u64 = 48 * 1024 * 1024;
/// Objects over all buckets.
const OBJECTS_MAX: usize = 10_000;
/// S3's own bound.
const KEY_MAX_BYTES: usize = 1024;

/// One object.
#[derive(Debug)]
pub(super) struct Object {
    /// Its content.
    pub(super) chunks: Chunks,
    /// Its entity tag, quoted. Not an MD5: S3 promises that for some objects only, and clients must not rely on it.
    pub(super) etag: String,
    /// The headers that come back with it.
    pub(super) headers: HeaderMap,
    /// When it was written, in seconds since 1970.
    pub(super) modified: u64,
}

impl Object {
    /// A new object.
    pub(super) fn new(chunks: Chunks, headers: HeaderMap, modified: u64) -> Self {
        let etag = format!("\"{}\"", chunks.tag());
        Self { chunks, etag, headers, modified }
    }
}

type Bucket = BTreeMap<String, Arc<Object>>;

/// All buckets.
pub(super) struct Objects {
    buckets: Mutex<BTreeMap<String, Bucket>>,
    budget: Arc<Budget>,
}

/// One page of a listing.
pub(super) struct Page {
    /// Keys with their objects, in order.
    pub(super) objects: Vec<(String, Arc<Object>)>,
    /// Whether there are more.
    pub(super) truncated: bool,
}

impl Objects {
    /// Empty buckets with these names; there will be no others.
    pub(super) fn with_buckets(names: &[&str]) -> Self {
        let buckets = names.iter().map(|name| ((*name).to_owned(), Bucket::new())).collect();
        Self { buckets: Mutex::new(buckets), budget: Arc::new(Budget::new(HELD_MAX_BYTES)) }
    }

    /// What new content is reserved from.
    pub(super) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Octets held at the moment, uploads that are running included.
    pub(super) fn held_bytes(&self) -> u64 {
        self.budget.held()
    }

    /// Fails when there is no such bucket.
    pub(super) fn require_bucket(&self, bucket: &str) -> Result<(), Fault> {
        self.buckets.lock().contains_key(bucket).then_some(()).ok_or(Fault::NoSuchBucket)
    }

    /// Stores an object; one of the same key is replaced.
    pub(super) fn put(&self, bucket: &str, key: &str, object: Object) -> Result<(), Fault> {
        if key.len() > KEY_MAX_BYTES {
            return Err(Fault::KeyTooLong);
        }
        let mut buckets = self.buckets.lock();
        let count: usize = buckets.values().map(BTreeMap::len).sum();
        let bucket = buckets.get_mut(bucket).ok_or(Fault::NoSuchBucket)?;
        if count >= OBJECTS_MAX && !bucket.contains_key(key) {
            return Err(Fault::SlowDown);
        }
        bucket.insert(key.to_owned(), Arc::new(object));
        Ok(())
    }

    /// The object of that key.
    pub(super) fn get(&self, bucket: &str, key: &str) -> Result<Arc<Object>, Fault> {
        let buckets = self.buckets.lock();
        let bucket = buckets.get(bucket).ok_or(Fault::NoSuchBucket)?;
        bucket.get(key).cloned().ok_or(Fault::NoSuchKey)
    }

    /// Removes the object of that key; that there is none is no error, as at S3.
    pub(super) fn delete(&self, bucket: &str, key: &str) -> Result<(), Fault> {
        let mut buckets = self.buckets.lock();
        buckets.get_mut(bucket).ok_or(Fault::NoSuchBucket)?.remove(key);
        Ok(())
    }

    /// Up to `max` objects whose keys begin with `prefix` and come after `after`.
    pub(super) fn page(&self, bucket: &str, prefix: &str, after: &str, max: usize) -> Result<Page, Fault> {
        let buckets = self.buckets.lock();
        let bucket = buckets.get(bucket).ok_or(Fault::NoSuchBucket)?;
        let start = if after >= prefix { Bound::Excluded(after) } else { Bound::Included(prefix) };
        // The empty key does not exist, so beginning after it begins with everything.
        let mut matching = bucket
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, object)| (key.clone(), Arc::clone(object)));
        let objects = matching.by_ref().take(max).collect();
        Ok(Page { objects, truncated: matching.next().is_some() })
    }
}
