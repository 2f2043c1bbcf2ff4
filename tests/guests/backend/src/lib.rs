//! A component that serves requests by itself (`wasi:http/incoming-handler`), made with the crate of the standard and
//! nothing of Bascule's. The path says what it does.
//!
//! | path | what happens |
//! | --- | --- |
//! | `/echo` | 200 with the request's method, target and headers as lines, an empty line, and its body as it comes |
//! | `/environment` | its environment variables as lines |
//! | `/call?URL` | a request of its own: status and body of the answer, or 599 and the name of the error |
//! | `/post?URL` | the same with POST, the header `x-from-guest: yes`, and the request's body |
//! | `/calls?URL` | five of the first kind, one after the other: the last one's |
//! | `/half?URL` | begins a POST of its own, and panics in the middle of its body |
//! | `/status?CODE` | that status |
//! | `/sleep?MS` | 200 after so many milliseconds |
//! | `/lines` | 200; writes a line to its output and one to its error stream |
//! | `/random` | 200 with a random number, for which it takes a grant |
//! | `/large?N` | N times 64 KiB |
//! | `/headers?N` | N headers |
//! | `/fault` | the error `connection-refused` in place of an answer |
//! | `/silent` | no answer |
//! | `/trap` | panics |
//! | `/late?N` | answers, writes a line and N times 64 KiB, and panics before the end of the body |
//! | `/loop` | runs without end |
//! | `/hog` | takes memory without end |

mod http;

use std::io::Write as _;

use http::{Answer, body_of, respond};
use wasip2::http::types::{ErrorCode, Fields, IncomingRequest, Method, ResponseOutparam};

/// The handler. Public, since only wasm has the export that uses it.
pub struct Backend;

#[cfg(target_arch = "wasm32")]
wasip2::http::proxy::export!(Backend);

impl wasip2::exports::http::incoming_handler::Guest for Backend {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        match path {
            "/echo" => echo(&request, &target, out),
            "/environment" => text(out, &environment()),
            "/call" => show(out, http::call(&Method::Get, query, None)),
            "/post" => show(out, http::call(&Method::Post, query, body_of(&request))),
            "/calls" => {
                let none = Err(ErrorCode::ConfigurationError);
                show(out, (0..5).fold(none, |_, _| http::call(&Method::Get, query, None)));
            }
            "/half" => {
                let mut begun = http::begin(query);
                if let Some((_, body)) = &mut begun {
                    let _ = body.write_all(b"the first half");
                    let _ = body.flush();
                }
                trap();
            }
            "/status" => bare(out, u16::try_from(number(query)).unwrap_or(500), Fields::new()),
            "/sleep" => {
                wasip2::clocks::monotonic_clock::subscribe_duration(number(query) * 1_000_000).block();
                text(out, "slept\n");
            }
            "/lines" => {
                http::say(&wasip2::cli::stdout::get_stdout(), "said aloud\n");
                http::say(&wasip2::cli::stderr::get_stderr(), "complained\n");
                text(out, "");
            }
            "/random" => text(out, &wasip2::random::random::get_random_u64().to_string()),
            "/large" => large(out, number(query)),
            "/headers" => {
                let fields = Fields::new();
                for index in 0..number(query) {
                    let _ = fields.append(&format!("x-{index}"), b"value");
                }
                bare(out, 200, fields);
            }
            "/fault" => ResponseOutparam::set(out, Err(ErrorCode::ConnectionRefused)),
            "/silent" => {}
            "/trap" => trap(),
            "/late" => {
                if let Some(mut body) = respond(out, 200, Fields::new()) {
                    let _ = body.write_all(b"the first half\n");
                    let _ = body.flush();
                    pieces(&mut body, number(query));
                }
                trap();
            }
            "/loop" => loop {
                std::hint::black_box(path);
            },
            "/hog" => hog(),
            _ => bare(out, 404, Fields::new()),
        }
    }
}

#[expect(clippy::panic, reason = "panicking is what this path is for")]
fn trap() {
    panic!("asked to");
}

fn hog() {
    let mut hoard = Vec::new();
    loop {
        hoard.push(vec![1_u8; 1 << 20]);
        // Without this the compiler may find that nobody ever looks at the hoard.
        std::hint::black_box(&hoard);
    }
}

/// A number by itself or as the value of a parameter.
fn number(query: &str) -> u64 {
    query.rsplit('=').next().and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn bare(out: ResponseOutparam, status: u16, fields: Fields) {
    let _ = respond(out, status, fields).map(http::Sent::end);
}

fn text(out: ResponseOutparam, text: &str) {
    if let Some(mut body) = respond(out, 200, Fields::new()) {
        let _ = body.write_all(text.as_bytes());
        let _ = body.end();
    }
}

fn environment() -> String {
    let variables = wasip2::cli::environment::get_environment();
    variables.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
}

/// The head of the request, and its body in pieces as they come.
fn echo(request: &IncomingRequest, target: &str, out: ResponseOutparam) {
    let Some(mut to) = respond(out, 200, Fields::new()) else { return };
    let authority = request.authority().unwrap_or_default();
    let mut head = format!("{:?} {target} {authority}\n", request.method());
    for (name, value) in request.headers().entries() {
        head += &format!("{name}: {}\n", String::from_utf8_lossy(&value));
    }
    let _ = writeln!(to, "{head}");
    if let Some(mut body) = body_of(request) {
        let _ = std::io::copy(&mut body, &mut to);
    }
    let _ = to.end();
}

fn large(out: ResponseOutparam, times: u64) {
    let Some(mut body) = respond(out, 200, Fields::new()) else { return };
    pieces(&mut body, times);
    let _ = body.end();
}

/// Writes so many pieces, while somebody takes them.
fn pieces(body: &mut http::Sent, times: u64) {
    for _ in 0..times {
        if body.write_all(&[b'x'; 64 << 10]).is_err() {
            return;
        }
    }
}

fn show(out: ResponseOutparam, answer: Result<Answer, ErrorCode>) {
    let (status, octets) = match answer {
        Ok(answer) => (answer.status, answer.octets),
        Err(error) => (599, format!("{error:?}").into_bytes()),
    };
    if let Some(mut body) = respond(out, status, Fields::new()) {
        let _ = body.write_all(&octets);
        let _ = body.end();
    }
}
