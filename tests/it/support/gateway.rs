//! A gateway from a configuration, in a folder of its own.

use super::{Answer, Client};
use bascule::{
    app::{Options, Running, StartError},
    config::{Environment, Sources},
    telemetry::{LogFormat, Redactor},
};
use std::{collections::HashMap, fs, path::Path};
use tempfile::TempDir;

/// A running gateway. Its configuration folder goes with it.
pub struct Gateway {
    running: Running,
    folder: TempDir,
}

/// What `bascule.toml` says unless a test says otherwise: free ports, a quiet log.
const BASE: &str = "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n[telemetry]\ncompletion_log = false\n";

impl Gateway {
    /// A gateway with these integrations (name and file text).
    pub async fn start(integrations: &[(&str, &str)]) -> Self {
        Self::with(BASE, integrations, &[]).await
    }

    /// A gateway with its own `bascule.toml` and environment.
    pub async fn with(gateway: &str, integrations: &[(&str, &str)], env: &[(&str, &str)]) -> Self {
        match Self::try_with(gateway, integrations, env).await {
            Ok(gateway) => gateway,
            Err(StartError::Configuration(problems)) => panic!("{}", problems.render_human(false)),
            Err(error) => panic!("{error}"),
        }
    }

    /// The same, for configurations that may be refused.
    pub async fn try_with(
        gateway: &str,
        integrations: &[(&str, &str)],
        env: &[(&str, &str)],
    ) -> Result<Self, StartError> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write_config(folder.path(), gateway, integrations);
        let env: HashMap<String, String> =
            env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let running = Running::start(Options {
            sources: Sources {
                path: Some(folder.path().to_path_buf()),
                env_prefixes: Vec::new(),
                env: Environment::from_map(env),
            },
            log_format: LogFormat::Text,
            plugin_cache: None,
            redactor: Redactor::default(),
            quiet: false,
        })
        .await?;
        Ok(Self { running, folder })
    }

    /// The default `bascule.toml` with more after it.
    pub fn base(more: &str) -> String {
        format!("{BASE}{more}")
    }

    /// The folder of the configuration.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Replaces an integration's file.
    pub fn rewrite(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(format!("integrations/{name}.toml")), text)
            .expect("a writable folder");
    }

    /// A client of the data plane.
    pub fn data(&self) -> Client {
        Client::new(self.running.data)
    }

    /// A client of the admin plane.
    pub fn admin(&self) -> Client {
        Client::new(self.running.admin)
    }

    /// `POST /v1/{integration}/{operation}` with a JSON object.
    pub async fn call(&self, integration: &str, operation: &str, params: serde_json::Value) -> Answer {
        self.data().post(&format!("/v1/{integration}/{operation}"), &params).await
    }

    /// Stops it; returns whether everything drained.
    pub async fn stop(self) -> bool {
        self.running.shutdown().await
    }
}

/// Writes a configuration folder.
pub fn write_config(folder: &Path, gateway: &str, integrations: &[(&str, &str)]) {
    fs::create_dir_all(folder.join("integrations")).expect("a writable folder");
    fs::write(folder.join("bascule.toml"), gateway).expect("a writable folder");
    for (name, text) in integrations {
        fs::write(folder.join(format!("integrations/{name}.toml")), text).expect("a writable folder");
    }
}
