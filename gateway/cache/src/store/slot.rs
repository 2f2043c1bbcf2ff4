//! What is stored under one key: an answer by rule, or the variants of an answer by HTTP.
//!
//! The decision: the variants of a key are one value, weighed and given up together. Their number is small, the search for
//! the right one is a walk, and the choice of the newest among several that match needs all of them at once anyway.

use std::{sync::Arc, time::Instant};

use http::HeaderMap;

use crate::{
    entry::{Entry, Freshness},
    purges::Purges,
    record::{Contents, Kept},
    rfc9111::Forward,
    scope::{Epoch, Scope},
    space::Occupant,
    tags::Tags,
    variant::Variant,
};

/// The variants of one key. An origin that varies by more, such as by `User-Agent`, keeps the latest.
const VARIANTS_MAX: usize = 16;

#[derive(Clone)]
pub(super) enum Slot {
    Entry(Arc<Entry>, Tags, Epoch),
    /// From the one stored first to the one stored last, at least one.
    Variants(Vec<Stamped>),
}

/// A variant beside the epoch from before its fetch.
#[derive(Clone)]
pub(super) struct Stamped {
    variant: Arc<Variant>,
    epoch: Epoch,
}

#[derive(Clone, Copy)]
pub(super) struct SlotLimits {
    /// In bytes, for all variants of a key.
    pub(super) weight_max: u64,
}

impl Slot {
    pub(super) fn of_entry(entry: Entry, tags: Tags, epoch: Epoch) -> Self {
        Self::Entry(Arc::new(entry), tags, epoch)
    }

    /// The variants of a key with one more, in place of what the same requests selected, and of what is gone by the time
    /// that the new one came.
    pub(super) fn with_variant(
        held: Option<&Self>,
        variant: Arc<Variant>,
        epoch: Epoch,
        purges: &Purges,
        limits: SlotLimits,
    ) -> Self {
        let (now, scope) = (variant.reply().stored_at, &variant.reply().scope);
        let mut variants: Vec<Stamped> = match held {
            Some(Self::Variants(held)) => held.clone(),
            Some(Self::Entry(..)) | None => Vec::new(),
        };
        variants.retain(|other| {
            other.variant.reply().scope.is(scope)
                && other.variant.selecting() != variant.selecting()
                && !other.is_gone(purges, now)
        });
        variants.push(Stamped { variant, epoch });
        let weighs = |variants: &[Stamped]| variants.iter().map(Stamped::weight).sum::<u64>();
        while variants.len() > VARIANTS_MAX || (variants.len() > 1 && weighs(&variants) > limits.weight_max) {
            variants.remove(0);
        }
        Self::Variants(variants)
    }

    pub(super) fn entry(&self, scope: &Scope) -> Option<Arc<Entry>> {
        match self {
            Self::Entry(entry, ..) if entry.scope.is(scope) => Some(Arc::clone(entry)),
            Self::Entry(..) | Self::Variants(_) => None,
        }
    }

    pub(super) fn select(
        &self,
        scope: &Scope,
        request: &HeaderMap,
        purges: &Purges,
        now: Instant,
    ) -> Result<Arc<Variant>, Forward> {
        let Self::Variants(variants) = self else { return Err(Forward::UriMiss) };
        let of_scope = |stamped: &&Stamped| stamped.variant.reply().scope.is(scope);
        let mut why = Forward::UriMiss;
        variants
            .iter()
            .filter(of_scope)
            .filter(|stamped| !stamped.is_gone(purges, now))
            .inspect(|_| why = Forward::VaryMiss)
            .filter(|stamped| stamped.variant.selecting().matches(request))
            // Of two made in the same second, the last one is the one stored last.
            .max_by_key(|stamped| stamped.variant.made_on())
            .map(|stamped| Arc::clone(&stamped.variant))
            .ok_or(why)
    }

    /// What of it is to be served yet; None if nothing is.
    pub(super) fn kept(&self, purges: &Purges, now: Instant) -> Option<Kept> {
        match self.without_gone_parts(purges, now)? {
            Self::Entry(entry, tags, _) => Some(Kept::new(entry.scope.clone(), Contents::Entry(entry, tags))),
            Self::Variants(variants) => {
                let scope = variants.first()?.variant.reply().scope.clone();
                let variants = variants.into_iter().map(|stamped| stamped.variant).collect();
                Some(Kept::new(scope, Contents::Variants(variants)))
            }
        }
    }

    /// What was kept elsewhere beside what is held; None if nothing of it is news. Of two entries the younger one stays, of
    /// two variants for the same requests the one that was made later.
    pub(super) fn restored(
        held: Option<&Self>,
        contents: Contents,
        epoch: Epoch,
        purges: &Purges,
        now: Instant,
        limits: SlotLimits,
    ) -> Option<Self> {
        let held = held.and_then(|slot| slot.without_gone_parts(purges, now));
        match (held, contents) {
            (None, Contents::Entry(entry, tags)) => Some(Self::Entry(entry, tags, epoch)),
            (Some(Self::Entry(held, ..)), Contents::Entry(entry, tags)) if entry.age(now) < held.age(now) => {
                Some(Self::Entry(entry, tags, epoch))
            }
            (Some(_), Contents::Entry(..)) | (Some(Self::Entry(..)), Contents::Variants(_)) => None,
            (held, Contents::Variants(variants)) => {
                let mut slot = held;
                let mut news = false;
                for variant in variants.into_iter().filter(|variant| !variant.is_dead(now)) {
                    if slot.as_ref().is_none_or(|slot| !slot.has_newer(&variant)) {
                        slot = Some(Self::with_variant(slot.as_ref(), variant, epoch, purges, limits));
                        news = true;
                    }
                }
                slot.filter(|_| news)
            }
        }
    }

    /// Whether the same requests select one that was not made before this.
    fn has_newer(&self, variant: &Variant) -> bool {
        let Self::Variants(variants) = self else { return false };
        variants.iter().any(|held| {
            held.variant.selecting() == variant.selecting() && held.variant.made_on() >= variant.made_on()
        })
    }

    /// Nothing of it is to be served any more.
    pub(super) fn is_gone(&self, purges: &Purges, now: Instant) -> bool {
        match self {
            Self::Entry(entry, tags, epoch) => {
                entry.freshness(now) == Freshness::Dead || is_purged(&entry.scope, tags, *epoch, purges)
            }
            Self::Variants(variants) => variants.iter().all(|stamped| stamped.is_gone(purges, now)),
        }
    }

    pub(super) fn has_gone_parts(&self, purges: &Purges, now: Instant) -> bool {
        match self {
            Self::Entry(..) => self.is_gone(purges, now),
            Self::Variants(variants) => variants.iter().any(|stamped| stamped.is_gone(purges, now)),
        }
    }

    /// What is left of it; None if nothing is.
    pub(super) fn without_gone_parts(&self, purges: &Purges, now: Instant) -> Option<Self> {
        if self.is_gone(purges, now) {
            return None;
        }
        Some(match self {
            Self::Entry(..) => self.clone(),
            Self::Variants(variants) => {
                let alive = variants.iter().filter(|stamped| !stamped.is_gone(purges, now));
                Self::Variants(alive.cloned().collect())
            }
        })
    }
}

impl Occupant for Slot {
    fn weight(&self) -> u64 {
        match self {
            Self::Entry(entry, tags, _) => entry.weight().saturating_add(tags.weight()) as u64,
            Self::Variants(variants) => variants.iter().map(Stamped::weight).sum(),
        }
    }

    fn owner(&self) -> &str {
        match self {
            Self::Entry(entry, ..) => entry.scope.integration(),
            Self::Variants(variants) => {
                variants.first().map_or("", |stamped| stamped.variant.reply().scope.integration())
            }
        }
    }
}

impl Stamped {
    fn is_gone(&self, purges: &Purges, now: Instant) -> bool {
        self.variant.is_dead(now)
            || is_purged(&self.variant.reply().scope, self.variant.tags(), self.epoch, purges)
    }

    fn weight(&self) -> u64 {
        self.variant.weight() as u64
    }
}

/// Purges of the key itself take it out of the store, and need no look here.
fn is_purged(scope: &Scope, tags: &Tags, epoch: Epoch, purges: &Purges) -> bool {
    scope.was_purged_since(epoch) || purges.tag_since(tags, epoch.keys_and_tags())
}
