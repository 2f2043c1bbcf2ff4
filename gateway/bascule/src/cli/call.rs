//! `bascule call`: one operation through the whole pipeline, in-process.

use super::{
    exit::{Exit, complain, print, start_failed},
    options::{ConfigArg, options, runtime},
};
use crate::{
    app::assemble,
    config::BodyKind,
    model::{Code, Payload, Place, Problem},
    pipeline::{
        self, Call, Ended, Input, InputBody, LiveIntegration, LiveOperation, Origin, Progress, Services,
    },
    telemetry::{LogFormat, Redactor, init_logs},
};
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::{Map, Value};
use std::{
    io::{self, Read, Write},
    sync::Arc,
    time::SystemTime,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// The integration
    integration: String,
    /// Its operation
    operation: String,
    /// Parameters; values are read as the operation declares them
    #[arg(value_name = "NAME=VALUE")]
    parameters: Vec<String>,
    /// All parameters as a JSON object, or the payload of a raw operation; `-` reads standard input
    #[arg(long, value_name = "BODY")]
    json: Option<String>,
    /// Print attempts and decisions to standard error
    #[arg(long, short)]
    verbose: bool,
}

pub(super) fn run(args: Args, format: LogFormat) -> Exit {
    let redactor = Redactor::default();
    let levels = if args.verbose { "info,bascule=debug" } else { "warn" };
    let _log = match init_logs(format, levels, redactor.clone()) {
        Ok(log) => log,
        Err(error) => {
            complain(&format!("error: {error}"));
            return Exit::Bug;
        }
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("error: no runtime: {error}"));
            return Exit::Bug;
        }
    };
    runtime.block_on(async {
        let assembled = match assemble(&options(args.config.sources(), format, redactor, true)) {
            Ok(assembled) => assembled,
            Err(error) => return start_failed(&error),
        };
        let span = assembled.services.telemetry.call_span(None, SystemTime::now());
        let progress = Progress::new(span, assembled.services.now(), false);
        let ended = match prepare(&args, &assembled.services, &progress) {
            Ok(call) => pipeline::handle(call).await,
            Err(Refusal::Usage(text)) => {
                complain(&format!("error: {text}"));
                return Exit::Usage;
            }
            Err(Refusal::Problem(problem)) => {
                Ended { result: Err(problem), failure: None, cause: None, rung: None }
            }
        };
        show(ended, &progress, args.verbose).await
    })
}

enum Refusal {
    Usage(String),
    Problem(Box<Problem>),
}

fn prepare(args: &Args, services: &Arc<Services>, progress: &Arc<Progress>) -> Result<Call, Refusal> {
    let (integration, operation) = find(services, &args.integration, &args.operation)?;
    let raw = operation.declared.as_ref().is_some_and(|declared| declared.body == BodyKind::Raw);
    let given = match args.json.as_deref() {
        Some("-") => {
            let mut octets = Vec::new();
            let read = io::stdin().lock().read_to_end(&mut octets);
            read.map_err(|error| Refusal::Usage(format!("standard input cannot be read: {error}")))?;
            Some(octets)
        }
        other => other.map(|text| text.as_bytes().to_vec()),
    };
    let mut params = Map::new();
    for parameter in &args.parameters {
        let (name, value) = parameter
            .split_once('=')
            .ok_or_else(|| Refusal::Usage(format!("`{parameter}` is no NAME=VALUE")))?;
        params.insert(name.to_owned(), Value::from(value));
    }
    let (params, texts, body) = match given {
        Some(octets) if raw => (params, true, Some(InputBody::Held(octets.into()))),
        None => (params, true, None),
        Some(_) if !params.is_empty() => {
            return Err(Refusal::Usage("give either NAME=VALUE or --json, not both".into()));
        }
        Some(octets) => match serde_json::from_slice(&octets) {
            Ok(Value::Object(params)) => (params, false, None),
            Ok(_) => return Err(Refusal::Usage("--json takes an object".into())),
            Err(error) => return Err(Refusal::Usage(format!("--json is no JSON: {error}"))),
        },
    };
    let input = Input::Declared { params, texts, body };
    let generation = services.generation.load_full();
    let call = Call::by_gateway(services, &generation, &integration, &operation, input, Origin::Caller);
    Ok(Call { progress: Arc::clone(progress), ..call })
}

fn find(
    services: &Services,
    integration: &str,
    operation: &str,
) -> Result<(Arc<LiveIntegration>, Arc<LiveOperation>), Refusal> {
    let generation = services.generation.load();
    let unknown = |code, text: String| Refusal::Problem(Box::new(Problem::new(code, text)));
    let found = generation.integrations.get(integration).ok_or_else(|| {
        let mut names: Vec<&str> = generation.integrations.keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        unknown(Code::UnknownIntegration, format!("no `{integration}`; there are: {}", names.join(", ")))
    })?;
    let chosen = found.operations.get(operation).ok_or_else(|| {
        let mut names: Vec<&str> = found.operations.keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        unknown(Code::UnknownOperation, format!("no `{operation}`; {integration} has: {}", names.join(", ")))
    })?;
    Ok((Arc::clone(found), Arc::clone(chosen)))
}

async fn show(ended: Ended, progress: &Progress, verbose: bool) -> Exit {
    let totals = progress.totals();
    if verbose {
        let (status, source, cache) = match &ended.result {
            Ok(answer) => (
                answer.status.as_u16(),
                answer.source.to_string(),
                answer.cache.as_ref().map(ToString::to_string).unwrap_or_default(),
            ),
            Err(problem) => {
                (problem.status.as_u16(), format!("problem {}", problem.code.as_str()), String::new())
            }
        };
        complain(&format!(
            "status {status}  source {source}  attempts {}  upstream {:.1} ms  plugin {:.3} ms  {cache}",
            totals.attempts,
            totals.upstream.as_secs_f64() * 1000.0,
            totals.plugin.as_secs_f64() * 1000.0
        ));
        if let Some(failure) = ended.failure {
            complain(&format!("failure {failure}  rung {}", ended.rung.unwrap_or("none")));
        }
    }
    match ended.result {
        Err(problem) => {
            let place = Place { attempts: Some(totals.attempts), ..Place::default() };
            let document = problem.to_json(place);
            print(&String::from_utf8_lossy(&document));
            print("\n");
            Exit::Failure
        }
        Ok(answer) => {
            let succeeded = answer.status.is_success();
            let written = match answer.body {
                Payload::Full(octets) => write(&octets),
                Payload::Stream(mut body) => loop {
                    match body.frame().await {
                        None => break Ok(()),
                        Some(Ok(frame)) => {
                            if let Ok(octets) = frame.into_data()
                                && let Err(error) = write(&octets)
                            {
                                break Err(error.to_string());
                            }
                        }
                        Some(Err(error)) => break Err(error.to_string()),
                    }
                }
                .map_err(io::Error::other),
            };
            if let Err(error) = written {
                complain(&format!("error: {error}"));
                return Exit::Failure;
            }
            if succeeded { Exit::Success } else { Exit::Failure }
        }
    }
}

fn write(octets: &Bytes) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(octets)?;
    out.flush()
}
