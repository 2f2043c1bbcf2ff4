//! The validated configuration: what the rest of the gateway works with.
//!
//! Every value here has been checked and every default filled in, so that no code behind it needs to
//! ask "is it set?" or "can it be zero?". Operations carry their *resolved* policies: an operation
//! that does not say anything has its integration's.

mod fan_out;
mod gateway;
mod integration;
mod operation;
mod template;
mod vary_by;

pub use fan_out::Branch;
pub use gateway::{
    AdminSettings, AdminToken, ApiKey, CacheSettings, JournalSettings, OutboxSettings, RegistryLogin,
    RegistrySettings, Role, ServerSettings, SharedSettings, SkipSet, SourceRules, TelemetrySettings,
    TlsFiles,
};
pub use integration::{
    ApiKeyPlace, Auth, BaseUrl, FallbackCauses, HeaderSetting, Integration, OAuth2, Origin, PluginSettings,
    PluginSource, RateLimit, Rung, Timeouts,
};
pub use operation::{
    BodyKind, CachePolicy, CacheRule, ErrorMapping, HttpCache, Idempotency, Operation, Parameter,
    ParameterType, Parameters, QueryEntry, RetrySettings,
};
pub use template::{PathPart, PathTemplate, TemplateError, TextPart, TextTemplate};
pub use vary_by::VaryBy;

use crate::model::{BreakerName, IntegrationName, Secret};
use bascule_resilience::BreakerConfig;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

/// A whole configuration, immutable once loaded.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder of `bascule.toml`; relative paths start here.
    pub root: PathBuf,
    /// The data plane's listener.
    pub server: ServerSettings,
    /// The admin plane's listener.
    pub admin: AdminSettings,
    /// Traces, metrics and logs.
    pub telemetry: TelemetrySettings,
    /// The response store that all integrations share.
    pub cache: CacheSettings,
    /// Records of calls in files; none: they are not kept.
    pub journal: Option<JournalSettings>,
    /// Where calls wait for their provider; none: they do not, and no ladder says so.
    pub outbox: Option<OutboxSettings>,
    /// `[breakers.NAME]`: circuits that integrations and operations share.
    pub breakers: BTreeMap<BreakerName, BreakerConfig>,
    /// Those of them whose openings are announced to other gateways.
    pub announced_breakers: BTreeSet<BreakerName>,
    /// How plugins are taken from elsewhere.
    pub source_rules: SourceRules,
    /// Integrations by name.
    pub integrations: BTreeMap<IntegrationName, Arc<Integration>>,
    /// Every secret that occurs anywhere, for scrubbing texts that leave the gateway.
    pub secrets: Vec<Secret>,
}
