//! What the demo prints for a person: addresses, and commands that can be pasted as they stand.
//!
//! Where a command only makes sense after something has happened (an answer grew stale), the one before it is a
//! loop that waits for that, so that pasting everything at once works too.

use super::{
    fleet::{Fleet, S3_BUCKET},
    standin::{CONTROL_PATH, StandIn},
    tour::Place,
};
use std::io::{self, Write};

type Out<'a> = &'a mut (dyn Write + Send);

/// Prints everything.
///
/// # Errors
/// When `out` cannot be written to.
pub(crate) fn print(place: &Place, fleet: &Fleet, out: Out<'_>) -> io::Result<()> {
    addresses(place, fleet, out)?;
    github(place, fleet, out)?;
    weather(place, fleet, out)?;
    stripe(place, fleet, out)?;
    storage(place, fleet, out)?;
    section(out, "What operators see", &[&status(place)])?;
    writeln!(out, "\nCtrl-C stops everything.")?;
    out.flush()
}

fn addresses(place: &Place, fleet: &Fleet, out: Out<'_>) -> io::Result<()> {
    let rows = [
        ("gateway", format!("http://{}", place.data)),
        ("admin", format!("http://{}", place.admin)),
        ("GitHub stand-in", fleet.github.url("")),
        ("OpenWeather stand-in", fleet.weather.url("")),
        ("Stripe stand-in", fleet.stripe.url("")),
        ("S3 stand-in", fleet.s3.url("")),
    ];
    rows.into_iter().try_for_each(|(name, url)| writeln!(out, "{name:<22}{url}"))
}

fn github(place: &Place, fleet: &Fleet, out: Out<'_>) -> io::Result<()> {
    let user = |name: &str| call(place, "GitHubAPI/get_user", &format!("{{\"username\":\"{name}\"}}"));
    let octocat = user("octocat");
    section(
        out,
        "A mapped call; once more, and it comes from the cache (Bascule-Source)",
        &[&octocat, &octocat],
    )?;
    let fail = switch(&fleet.github, r#"{"fail_next":1}"#);
    section(out, "A retry: the provider fails once (Bascule-Attempts: 2)", &[&fail, &user("hubot")])?;
    let proxied = get(&format!("http://{}/proxy/GitHubAPI/users/monalisa", place.data));
    section(out, "The same provider for an existing client: only the base URL changes", &[&proxied])
}

fn weather(place: &Place, fleet: &Fleet, out: Out<'_>) -> io::Result<()> {
    let weather = |city: &str| call(place, "WeatherAPI/get_current", &format!("{{\"city\":\"{city}\"}}"));
    let until = |call: &str, source: &str| {
        format!("until {call} | grep -i 'bascule-source: {source}'; do sleep 1; done")
    };
    let (berlin, oslo, status) = (weather("Berlin"), weather("Oslo"), status(place));
    section(out, "Weather, good for 10 s", &[&berlin])?;
    section(
        out,
        "The provider goes down: after 10 s answers are stale, after 5 failed calls the circuit is open",
        &[
            &switch(&fleet.weather, r#"{"outage":true}"#),
            &until(&berlin, "stale"),
            &format!("for i in 1 2 3 4 5; do {berlin}; done"),
            &status,
        ],
    )?;
    section(out, "Never asked before: the last rung of the ladder answers", &[&oslo])?;
    section(
        out,
        "The provider comes back: once it is tried again, three good calls close the circuit",
        &[
            &switch(&fleet.weather, r#"{"outage":false}"#),
            &until(&weather("Rome"), "upstream"),
            &weather("Paris"),
            &oslo,
            &status,
        ],
    )
}

fn stripe(place: &Place, fleet: &Fleet, out: Out<'_>) -> io::Result<()> {
    let charge =
        call(place, "StripeAPI/create_charge", r#"{"amount":1250,"currency":"eur","source":"tok_visa"}"#);
    let lose = switch(&fleet.stripe, r#"{"lose_answers":1}"#);
    let counters = get(&fleet.stripe.url(CONTROL_PATH));
    section(out, "A charge whose answer gets lost: two attempts, one charge", &[&lose, &charge, &counters])
}

fn storage(place: &Place, fleet: &Fleet, out: Out<'_>) -> io::Result<()> {
    let object = |operation: &str| {
        let query = format!("bucket={S3_BUCKET}&key=notes/hello.txt");
        format!("'http://{}/v1/StorageService/{operation}?{query}'", place.data)
    };
    let upload = format!(
        "echo 'Welcome to Bascule.' | curl -si -X PUT {} -H 'content-type: text/plain' --data-binary @-",
        object("put_object")
    );
    let download = format!("curl -s {}", object("get_object"));
    section(
        out,
        "A signed upload and download; the signing plugin never sees the keys",
        &[&upload, &download],
    )?;
    let unsigned = get(&fleet.s3.url(&format!("/{S3_BUCKET}/notes/hello.txt")));
    section(out, "The same without the gateway: no signature, no object", &[&unsigned])
}

/// Calls an operation, headers shown.
fn call(place: &Place, operation: &str, parameters: &str) -> String {
    let url = format!("http://{}/v1/{operation}", place.data);
    format!("curl -si -w '\\n' {url} -H 'content-type: application/json' -d '{parameters}'")
}

/// Makes a stand-in misbehave, or behave again.
fn switch(stand_in: &StandIn, switches: &str) -> String {
    format!("{} -d '{switches}'", get(&stand_in.url(CONTROL_PATH)))
}

fn status(place: &Place) -> String {
    let url = format!("http://{}/integrations/status", place.admin);
    format!("{} -H 'authorization: Bearer {}'", get(&url), place.admin_token)
}

fn get(url: &str) -> String {
    format!("curl -s -w '\\n' {url}")
}

fn section(out: Out<'_>, title: &str, commands: &[&str]) -> io::Result<()> {
    writeln!(out, "\n# {title}")?;
    commands.iter().try_for_each(|command| writeln!(out, "{command}"))
}
