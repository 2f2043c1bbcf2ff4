//! Whether the answer of an exchange with an origin may be stored by a shared cache, and on which terms (RFC 9111 §3).
//!
//! The decision: all that a later hit needs to know is worked out here, once, into the few spans of [`Terms`]. A lookup
//! parses no field of the stored answer.
//!
//! Stricter than the RFC in two places, because what is stored is shared by callers who do not know each other: what has
//! to do with cookies needs `public` or `s-maxage`, unless [`Policy::share_cookies`] is set (§7.3 leaves it open); and
//! nothing is served stale unless the origin or the configuration says so (§4.2.4 allows more).
//!
//! What is never stored: answers to other methods than GET, and 206, whose parts are passed through and not combined
//! (§3.3, §3.4 are optional).

use std::time::{Duration, Instant, SystemTime};

use http::{
    HeaderMap, Method, StatusCode,
    header::{AUTHORIZATION, COOKIE, DATE, ETAG, EXPIRES, LAST_MODIFIED, RANGE, SET_COOKIE},
};

use super::{
    age::Received,
    dates::date,
    directives::{RequestDirectives, ResponseDirectives},
    fields,
    freshness::{Lifetime, lifetime},
    vary::Selecting,
};

/// One request as it was sent to an origin, and the head of what came back. Informational answers (1xx) are not the
/// answer: wait for the final one.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// The method that was sent.
    pub method: &'a Method,
    /// The caller's fields as they were sent on, without credentials that the gateway adds for all callers alike: those
    /// belong in the key, and would make every answer one to a request with `Authorization`.
    pub request: &'a HeaderMap,
    /// The final status code.
    pub status: StatusCode,
    /// The fields that came back, as they came.
    pub response: &'a HeaderMap,
    /// When.
    pub received: Received,
}

/// What the configuration adds to the origin's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The longest lifetime that is guessed from `Last-Modified`; 24 h by default. Zero: no guessing.
    pub heuristic_max: Duration,
    /// How long after its lifetime an answer with a validator is kept so that it can be validated; 24 h by default. Zero
    /// drops it at once, unless it may still be used stale.
    pub validate_within: Duration,
    /// For how long after its lifetime an answer may be used while it is refreshed, where the origin does not say; zero
    /// by default.
    pub stale_while_revalidate: Duration,
    /// For how long after its lifetime an answer may stand in for a failed call on the fallback ladder; zero by default.
    pub keep_stale: Duration,
    /// Whether what has to do with cookies is shared as the RFC allows it: the answer to a request with `Cookie`, and
    /// one with `Set-Cookie`, if it has a lifetime that is not guessed. False by default: such an answer needs `public` or
    /// `s-maxage`.
    pub share_cookies: bool,
}

/// What a stored answer may be used for, as spans of its age. Where the origin forbids all use of a stale answer, the spans
/// after the lifetime are zero, but for validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How old it was when it arrived.
    pub initial_age: Duration,
    /// The age up to which it is fresh. Zero with `no-cache`, and where `Age` cannot be read.
    pub lifetime: Duration,
    /// Whether the lifetime was guessed.
    pub heuristic: bool,
    /// How long after its lifetime it may be used while it is refreshed.
    pub stale_while_revalidate: Duration,
    /// How long after its lifetime it may be used in place of an error, whatever the configuration says.
    pub stale_if_error: Duration,
    /// How long after its lifetime it may be used by the fallback ladder.
    pub keep_stale: Duration,
    /// How long after its lifetime it can be validated.
    pub validate_within: Duration,
    /// Not even a caller who asks for it gets it stale.
    pub never_stale: bool,
}

/// An answer that may be stored, all but its body.
#[derive(Clone, Debug)]
pub struct Storable {
    pub(crate) terms: Terms,
    pub(crate) selecting: Selecting,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) received_at: Instant,
    pub(crate) made_on: SystemTime,
}

/// Why an answer is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotStored {
    /// Only the answers to GET are.
    #[error("the answer to this method is not stored")]
    Method,
    /// An informational answer, a part, a 304 or another that is about its request alone.
    #[error("an answer with this status code is not stored")]
    Status,
    /// The request said `no-store` (§5.2.1.5).
    #[error("the request forbids to store its answer")]
    RequestNoStore,
    /// The answer said `no-store` (§5.2.2.5).
    #[error("the origin forbids to store the answer")]
    NoStore,
    /// The answer said `must-understand`, and its status code is not known here (§5.2.2.3).
    #[error("the status code is not understood")]
    NotUnderstood,
    /// The answer said `private` (§5.2.2.7).
    #[error("the answer is for one caller only")]
    Private,
    /// The request carried `Authorization`, and the answer does not say that it may be shared all the same (§3.5).
    #[error("the answer to a request with credentials is not shared")]
    Authorization,
    /// The request carried `Cookie`, or the answer `Set-Cookie`, and nothing says that it may be shared.
    #[error("an answer that has to do with cookies is not shared")]
    Cookie,
    /// `Vary: *`, or more names than are compared (§4.1).
    #[error("no other request can select the answer")]
    Vary,
    /// No lifetime, and a status code for which none may be guessed.
    #[error("the answer has no lifetime")]
    NoLifetime,
    /// Nothing could be done with it: stale on arrival, and no validator.
    #[error("the answer is stale and cannot be validated")]
    Useless,
}

impl Default for Policy {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            heuristic_max: DAY,
            validate_within: DAY,
            stale_while_revalidate: Duration::ZERO,
            keep_stale: Duration::ZERO,
            share_cookies: false,
        }
    }
}

impl Exchange<'_> {
    /// All but the body of what may be stored. To be asked when the head is there: the body need not be collected for an
    /// answer that is not stored.
    ///
    /// # Errors
    /// [`NotStored`], with the first rule that forbids it.
    pub fn storable(&self, policy: &Policy) -> Result<Storable, NotStored> {
        let demanded = ResponseDirectives::of(self.response);
        self.permitted(&demanded, policy)?;
        let selecting = Selecting::of(self.response, self.request).ok_or(NotStored::Vary)?;
        let terms = self.terms(&demanded, policy)?;
        let mut headers = self.response.clone();
        fields::strip(&mut headers, &demanded, self.received.received_on);
        Ok(Storable {
            terms,
            selecting,
            status: self.status,
            made_on: date(&headers, &DATE).unwrap_or(self.received.received_on),
            headers,
            received_at: self.received.received_at,
        })
    }

    fn permitted(&self, demanded: &ResponseDirectives, policy: &Policy) -> Result<(), NotStored> {
        if self.method != Method::GET {
            return Err(NotStored::Method);
        }
        let about_its_request = matches!(self.status.as_u16(), 206 | 304 | 412 | 416);
        let answers_a_range = self.request.contains_key(RANGE) && self.status != StatusCode::OK;
        if self.status.is_informational() || about_its_request || answers_a_range {
            return Err(NotStored::Status);
        }
        if RequestDirectives::of(self.request).no_store {
            return Err(NotStored::RequestNoStore);
        }
        if demanded.must_understand && !is_understood(self.status) {
            return Err(NotStored::NotUnderstood);
        }
        if demanded.no_store && !demanded.must_understand {
            return Err(NotStored::NoStore);
        }
        if demanded.private {
            return Err(NotStored::Private);
        }
        if self.request.contains_key(AUTHORIZATION) && !demanded.for_shared_caches() {
            return Err(NotStored::Authorization);
        }
        let cookies = self.request.contains_key(COOKIE) || self.response.contains_key(SET_COOKIE);
        let has_lifetime = demanded.max_age.is_some() || self.response.contains_key(EXPIRES);
        let shared = demanded.public || demanded.s_maxage.is_some() || (policy.share_cookies && has_lifetime);
        if cookies && !shared {
            return Err(NotStored::Cookie);
        }
        Ok(())
    }

    fn terms(&self, demanded: &ResponseDirectives, policy: &Policy) -> Result<Terms, NotStored> {
        let found =
            lifetime(self.status, self.response, demanded, self.received.received_on, policy.heuristic_max);
        let (given, heuristic) = match found {
            Lifetime::Explicit(given) => (given, false),
            Lifetime::Heuristic(guessed) => (guessed, true),
            Lifetime::Unknown => (Duration::ZERO, false),
            Lifetime::None => return Err(NotStored::NoLifetime),
        };
        let never_stale = demanded.never_stale();
        let unless_forbidden = |span| if never_stale { Duration::ZERO } else { span };
        let validator = self.response.contains_key(ETAG) || self.response.contains_key(LAST_MODIFIED);
        let initial_age = self.received.initial_age(self.response);
        let never_fresh = demanded.no_cache || initial_age.is_none();
        let terms = Terms {
            initial_age: initial_age.unwrap_or_default(),
            lifetime: if never_fresh { Duration::ZERO } else { given },
            heuristic,
            stale_while_revalidate: unless_forbidden(
                demanded.stale_while_revalidate.unwrap_or(policy.stale_while_revalidate),
            ),
            stale_if_error: unless_forbidden(demanded.stale_if_error.unwrap_or_default()),
            keep_stale: unless_forbidden(policy.keep_stale),
            validate_within: if validator { policy.validate_within } else { Duration::ZERO },
            never_stale,
        };
        if terms.initial_age < terms.end() { Ok(terms) } else { Err(NotStored::Useless) }
    }
}

impl Terms {
    /// The age at which it is of no use any more.
    pub(crate) fn end(&self) -> Duration {
        let after = [self.stale_while_revalidate, self.stale_if_error, self.keep_stale, self.validate_within];
        self.lifetime.saturating_add(after.into_iter().max().unwrap_or_default())
    }
}

impl Storable {
    /// The spans that it may be used for.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The provider's status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The requests that it is for. Who waited for this answer with another one cannot have it.
    #[must_use]
    pub fn selecting(&self) -> &Selecting {
        &self.selecting
    }
}

/// The final codes whose rules for caches are carried out here: those that have none of their own.
fn is_understood(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200..=204 | 300..=303 | 307 | 308 | 400..=411 | 413..=415 | 500..=505)
}

#[cfg(test)]
mod tests;
