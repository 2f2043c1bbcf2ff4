//! Commands, scripts, and how a call fails.

use redis::RedisError;

/// A command with its arguments.
#[derive(Clone)]
pub struct Command(pub(crate) redis::Cmd);

impl Command {
    /// A command by its name, without arguments: `Command::new("GET").arg(key)`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut command = redis::Cmd::new();
        command.arg(name);
        Self(command)
    }

    /// With one more argument, of any octets.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<[u8]>) -> Self {
        self.0.arg(argument.as_ref());
        self
    }

    /// With one more argument, a number.
    #[must_use]
    pub fn number(mut self, number: u64) -> Self {
        self.0.arg(number);
        self
    }
}

/// A script in Lua that runs on the server, in one step with respect to all other calls.
///
/// The server is sent its digest, and the text once, when it does not know it.
#[derive(Clone)]
pub struct Script(redis::Script);

impl Script {
    /// A script of that text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(redis::Script::new(text))
    }

    pub(crate) fn invocation<'a>(
        &'a self,
        keys: &[impl AsRef<[u8]>],
        arguments: &[impl AsRef<[u8]>],
    ) -> redis::ScriptInvocation<'a> {
        let mut invocation = self.0.prepare_invoke();
        for key in keys {
            invocation.key(key.as_ref());
        }
        for argument in arguments {
            invocation.arg(argument.as_ref());
        }
        invocation
    }
}

/// Why a call has no answer. Whoever called goes on without the server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// There is no connection. Nothing was sent, and no time was lost.
    #[error("the shared server is away")]
    Away,
    /// As many calls as may be are out. Nothing was sent, and no time was lost.
    #[error("too many calls wait for the shared server")]
    Busy,
    /// No answer within the bound. The server may have done what it was asked, or may yet do it.
    #[error("the shared server did not answer in time")]
    TimedOut,
    /// The connection ended before the answer. The server may have done what it was asked.
    #[error("the connection to the shared server was lost")]
    Lost,
    /// The server answered with an error of this code, as in `WRONGTYPE`.
    #[error("the shared server refused: {code}")]
    Refused {
        /// The first word of its answer.
        code: String,
    },
    /// The answer is not what the command or script should give.
    #[error("the shared server gave an answer of another kind")]
    Unexpected,
}

impl CallError {
    /// The server's own error, if it answered at all.
    pub(crate) fn answered(error: &RedisError) -> Option<Self> {
        error.code().map(|code| Self::Refused { code: code.to_owned() })
    }

    /// Whether a server that says so is of no use for now, and a new connection may find another.
    pub(crate) fn ends_connection(&self) -> bool {
        match self {
            Self::Lost => true,
            Self::Refused { code } => {
                matches!(code.as_str(), "LOADING" | "READONLY" | "MASTERDOWN" | "CLUSTERDOWN" | "NOAUTH")
            }
            _ => false,
        }
    }
}
