//! The use of a stored answer, by table and by generated spans.

use proptest::prelude::*;

use super::*;

fn terms() -> Terms {
    Terms {
        initial_age: Duration::ZERO,
        lifetime: secs(60),
        heuristic: false,
        stale_while_revalidate: secs(10),
        stale_if_error: secs(20),
        keep_stale: secs(30),
        validate_within: secs(100),
        never_stale: false,
    }
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const PLAIN: RequestDirectives = RequestDirectives {
    no_cache: false,
    no_store: false,
    only_if_cached: false,
    max_age: None,
    min_fresh: None,
    max_stale: None,
    stale_if_error: None,
};

#[test]
fn a_request_gets_what_it_asks_for_and_no_more_than_is_allowed() {
    let (stale, request) = (Use::Validate(Forward::Stale), Use::Validate(Forward::Request));
    let max_age = |age| RequestDirectives { max_age: Some(secs(age)), ..PLAIN };
    let min_fresh = |least| RequestDirectives { min_fresh: Some(secs(least)), ..PLAIN };
    let max_stale = |most| RequestDirectives { max_stale: Some(most), ..PLAIN };
    for (asked, age, expected) in [
        (PLAIN, 0, Use::Fresh),
        (PLAIN, 59, Use::Fresh),
        (PLAIN, 60, Use::StaleAndRefresh),
        (PLAIN, 69, Use::StaleAndRefresh),
        (PLAIN, 70, stale),
        (RequestDirectives { no_cache: true, ..PLAIN }, 0, request),
        (RequestDirectives { no_cache: true, ..PLAIN }, 61, stale),
        (RequestDirectives { no_store: true, only_if_cached: true, ..PLAIN }, 5, Use::Fresh),
        (max_age(0), 0, Use::Fresh),
        (max_age(0), 1, request),
        (max_age(30), 30, Use::Fresh),
        (max_age(30), 31, request),
        // Who names an age wants nothing stale, however old it may be.
        (max_age(100), 65, stale),
        (RequestDirectives { max_stale: Some(secs(100)), ..max_age(100) }, 65, Use::StaleAndRefresh),
        (min_fresh(10), 50, Use::Fresh),
        (min_fresh(10), 51, request),
        (min_fresh(1), 65, stale),
        (max_stale(secs(15)), 75, Use::Stale),
        (max_stale(secs(15)), 76, stale),
        (max_stale(Duration::MAX), 1 << 40, Use::Stale),
    ] {
        assert_eq!(terms().use_at(secs(age), &asked), expected, "{asked:?} at {age}");
    }
}

#[test]
fn what_must_not_be_used_stale_is_not_for_anybody() {
    let never = Terms {
        never_stale: true,
        stale_while_revalidate: secs(0),
        stale_if_error: secs(0),
        keep_stale: secs(0),
        ..terms()
    };
    let asked =
        RequestDirectives { max_stale: Some(Duration::MAX), stale_if_error: Some(Duration::MAX), ..PLAIN };
    assert_eq!(never.use_at(secs(59), &asked), Use::Fresh);
    assert_eq!(never.use_at(secs(60), &asked), Use::Validate(Forward::Stale));
    assert!(!never.in_place_of_error_at(secs(60), &asked) && !never.fallback_at(secs(60)));
}

#[test]
fn an_error_is_covered_up_for_as_long_as_origin_or_caller_say() {
    let asked = RequestDirectives { stale_if_error: Some(secs(40)), ..PLAIN };
    assert!(
        terms().in_place_of_error_at(secs(79), &PLAIN) && !terms().in_place_of_error_at(secs(80), &PLAIN)
    );
    assert!(
        terms().in_place_of_error_at(secs(99), &asked) && !terms().in_place_of_error_at(secs(100), &asked)
    );
    assert!(terms().fallback_at(secs(89)) && !terms().fallback_at(secs(90)));
}

fn span() -> impl Strategy<Value = Duration> {
    prop_oneof![4 => 0_u64..200, 1 => any::<u64>()].prop_map(Duration::from_secs)
}

fn asked() -> impl Strategy<Value = RequestDirectives> {
    let maybe = || prop::option::of(span());
    (any::<bool>(), maybe(), maybe(), maybe(), maybe()).prop_map(
        |(no_cache, max_age, min_fresh, max_stale, stale_if_error)| RequestDirectives {
            no_cache,
            max_age,
            min_fresh,
            max_stale,
            stale_if_error,
            ..PLAIN
        },
    )
}

fn any_terms() -> impl Strategy<Value = Terms> {
    (span(), span(), span(), span(), any::<bool>()).prop_map(|(lifetime, swr, error, keep, never_stale)| {
        let unless = |span| if never_stale { Duration::ZERO } else { span };
        Terms {
            lifetime,
            stale_while_revalidate: unless(swr),
            stale_if_error: unless(error),
            keep_stale: unless(keep),
            never_stale,
            ..terms()
        }
    })
}

/// From best to worst. What is stale by leave of the caller may follow or come before what is refreshed meanwhile.
fn rank(found: Use) -> u8 {
    match found {
        Use::Fresh => 0,
        Use::StaleAndRefresh | Use::Stale => 1,
        Use::Validate(_) => 2,
    }
}

proptest! {
    #[test]
    fn waiting_never_makes_an_answer_better(terms in any_terms(), asked in asked(), ages in prop::collection::vec(span(), 1..8)) {
        let mut ages = ages;
        ages.sort();
        let found: Vec<_> = ages.iter().map(|age| rank(terms.use_at(*age, &asked))).collect();
        prop_assert!(found.is_sorted(), "{found:?} at {ages:?}");
        let covered: Vec<_> = ages.iter().map(|age| !terms.in_place_of_error_at(*age, &asked)).collect();
        prop_assert!(covered.is_sorted());
    }

    #[test]
    fn asking_for_less_never_yields_more(terms in any_terms(), asked in asked(), age in span()) {
        let strict = RequestDirectives { max_stale: None, stale_if_error: None, ..asked };
        let lax = RequestDirectives { no_cache: false, max_age: None, min_fresh: None, ..asked };
        let rank_of = |asked| rank(terms.use_at(age, asked));
        prop_assert!(rank_of(&strict) >= rank_of(&asked) && rank_of(&asked) >= rank_of(&lax));
    }

    #[test]
    fn nothing_stale_is_used_where_it_is_forbidden(terms in any_terms(), asked in asked(), age in span()) {
        if terms.never_stale && age >= terms.lifetime {
            prop_assert_eq!(terms.use_at(age, &asked), Use::Validate(Forward::Stale));
            prop_assert!(!terms.in_place_of_error_at(age, &asked) && !terms.fallback_at(age));
        }
    }
}
