//! The program's own log: tracing events to stderr, as text or JSON, every line without known secrets.
//!
//! Lines go through a bounded queue to a thread of their own, since a stuck pipe behind stderr must
//! not hold up calls; a line that finds it full is dropped and counted. Completion records have a
//! writer of their own and do not pass here.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    str::FromStr,
    time::{Duration, SystemTime},
};

use tracing::{Dispatch, level_filters::LevelFilter};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter, util::SubscriberInitExt};

use super::{
    TelemetryError,
    queue::{Queue, Work},
    redact::Redactor,
    timestamp::rfc3339,
};

/// Most lines waiting to be written.
const QUEUE_MAX: usize = 4096;

/// How long the last lines may take when the program ends.
const LAST_LINES: Duration = Duration::from_secs(1);

/// What is logged when `RUST_LOG` says nothing. The SDK's own messages repeat for every batch while a
/// collector is away; ours say it once.
const QUIET: &str = "opentelemetry=off";

/// How log lines look: `--log-format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl FromStr for LogFormat {
    type Err = UnknownLogFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(UnknownLogFormat),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// Neither `text` nor `json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("use `text` or `json`")]
pub struct UnknownLogFormat;

/// Keeps the log going; when it is dropped, at the end of `main`, the last lines are written out.
#[must_use = "dropped at once, it no longer writes out the last lines at the end"]
pub struct LogHandle {
    lines: Queue<Vec<u8>>,
}

impl LogHandle {
    /// How many lines were dropped because stderr was too slow.
    pub fn dropped(&self) -> u64 {
        self.lines.dropped()
    }
}

impl Drop for LogHandle {
    fn drop(&mut self) {
        self.lines.flush(LAST_LINES);
    }
}

/// Starts the log of this process, to stderr. `RUST_LOG` selects levels; without it `levels` does, e.g. `info`.
///
/// The redactor's rules may be replaced later: secrets are known only once a configuration is loaded.
///
/// # Errors
/// [`TelemetryError::LogsStarted`] when the process has a log already, [`TelemetryError::Thread`] when
/// the operating system gives no thread.
pub fn init_logs(format: LogFormat, levels: &str, redactor: Redactor) -> Result<LogHandle, TelemetryError> {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(wanted) if !wanted.is_empty() => filter.parse_lossy(wanted),
        _ => filter.parse_lossy(format!("{levels},{QUIET}")),
    };
    let lines = lines(format, Box::new(io::stderr())).map_err(TelemetryError::Thread)?;
    let writer = LineWriter { lines: lines.clone(), redactor };
    let colours = io::stderr().is_terminal();
    subscriber(format, filter, colours, writer).try_init().map_err(|_| TelemetryError::LogsStarted)?;
    Ok(LogHandle { lines })
}

fn subscriber(format: LogFormat, filter: EnvFilter, colours: bool, writer: LineWriter) -> Dispatch {
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match format {
        LogFormat::Text => builder.with_ansi(colours).into(),
        LogFormat::Json => {
            builder.json().flatten_event(true).with_current_span(false).with_span_list(false).into()
        }
    }
}

fn lines(format: LogFormat, mut sink: Box<dyn Write + Send>) -> io::Result<Queue<Vec<u8>>> {
    Queue::start("log", QUEUE_MAX, move |work| {
        let line = match work {
            Work::Item(line) => line,
            Work::Dropped(count) => dropped(format, count).into_bytes(),
        };
        // There is nowhere left to report that the log itself cannot be written.
        let _ = sink.write_all(&line);
    })
}

fn dropped(format: LogFormat, count: u64) -> String {
    let now = rfc3339(SystemTime::now());
    match format {
        LogFormat::Text => format!("{now}  WARN bascule::log: log lines dropped dropped={count}\n"),
        LogFormat::Json => format!(
            "{{\"timestamp\":\"{now}\",\"level\":\"WARN\",\"message\":\"log lines dropped\",\"dropped\":{count},\"target\":\"bascule::log\"}}\n"
        ),
    }
}

/// Makes a buffer per event.
struct LineWriter {
    lines: Queue<Vec<u8>>,
    redactor: Redactor,
}

/// Collects one event's line; scrubbed and queued when it is complete.
struct Line<'a> {
    to: &'a LineWriter,
    text: Vec<u8>,
}

impl<'a> MakeWriter<'a> for LineWriter {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line { to: self, text: Vec::new() }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if !self.text.is_empty() {
            let text = String::from_utf8_lossy(&self.text);
            self.to.lines.push(self.to.redactor.text(&text).into_owned().into_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Secret, telemetry::tests::Shared};

    fn logged(format: LogFormat, log: impl FnOnce(&Redactor)) -> String {
        let sink = Shared::default();
        let redactor = Redactor::default();
        let lines = lines(format, Box::new(sink.clone())).unwrap();
        let writer = LineWriter { lines: lines.clone(), redactor: redactor.clone() };
        let subscriber = subscriber(format, EnvFilter::new(format!("info,{QUIET}")), false, writer);
        tracing::dispatcher::with_default(&subscriber, || log(&redactor));
        lines.flush(Duration::from_secs(10));
        sink.text()
    }

    #[test]
    fn text_lines_are_scrubbed_of_secrets_learnt_later() {
        let text = logged(LogFormat::Text, |redactor| {
            tracing::info!("before");
            redactor.replace(&Redactor::new(&[], &[Secret::new("hunter2 \"x\"")], &[]));
            tracing::warn!(key = "hunter2 \"x\"", url = %"/?k=hunter2%20%22x%22", "sent");
        });
        assert!(text.contains("INFO") && text.contains("before"), "{text}");
        assert!(text.contains("key=\"[redacted]\" url=/?k=[redacted]\n"), "{text}");
    }

    #[test]
    fn json_lines_are_flat_objects_and_are_scrubbed() {
        let text = logged(LogFormat::Json, |redactor| {
            redactor.replace(&Redactor::new(&[], &[Secret::new("hunter2 \"x\"")], &[]));
            tracing::error!(key = "hunter2 \"x\"", port = 8080, "cannot listen");
            tracing::debug!("not shown");
        });
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "cannot listen");
        assert_eq!(
            (&line["level"], &line["key"], &line["port"]),
            (&"ERROR".into(), &"[redacted]".into(), &8080.into())
        );
    }

    #[test]
    fn the_report_of_dropped_lines_is_well_formed() {
        let line: serde_json::Value = serde_json::from_str(&dropped(LogFormat::Json, 3)).unwrap();
        assert_eq!(line["dropped"], 3);
        assert!(dropped(LogFormat::Text, 3).ends_with("dropped=3\n"));
    }

    #[test]
    fn formats_parse_as_they_print() {
        for format in [LogFormat::Text, LogFormat::Json] {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert_eq!("xml".parse::<LogFormat>(), Err(UnknownLogFormat));
    }
}
