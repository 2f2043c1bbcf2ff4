//! The servers that the tests run against: PostgreSQL and Redis, from Debian's packages.
//!
//! Each test starts a server of its own from the programs; whatever the packages would start or set up is not used, and
//! no daemon is started for it. Programs that are there, from wherever, are taken as they are.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::{run, say};

/// A program that the tests run, and the package that has it.
const PROGRAMS: [(&str, &str); 4] = [
    ("initdb", "postgresql"),
    ("pg_ctl", "postgresql"),
    ("postgres", "postgresql"),
    ("redis-server", "redis-server"),
];

/// Debian keeps PostgreSQL's server programs below this, by version, and not on PATH.
const DEBIAN_POSTGRESQL: &str = "/usr/lib/postgresql";

/// Installs the packages of the programs that are not there.
///
/// # Errors
/// When there is no apt-get, or when it fails.
pub(crate) fn install_missing() -> Result<()> {
    let packages = missing(&folders());
    if packages.is_empty() {
        return Ok(());
    }
    let names = packages.join(" ");
    let has_apt = run::is_there("apt-get", &["--version"]);
    ensure!(has_apt, "the tests need {names}, and there is no apt-get to install them with: install them");
    say(&format!("installing {names}, once"));
    run::run(apt_get(&["update"])?)?;
    let mut install = apt_get(&["install", "--yes", "--no-install-recommends"])?;
    install.args(&packages);
    run::run(install)?;
    let still = missing(&folders()).join(" ");
    ensure!(still.is_empty(), "{still}: installed, and yet its programs are not on PATH");
    Ok(())
}

/// The packages of the programs that none of the folders has, each once.
fn missing(folders: &[PathBuf]) -> Vec<&'static str> {
    let is_there = |program: &str| folders.iter().any(|folder| folder.join(program).is_file());
    let mut packages: Vec<&str> =
        PROGRAMS.iter().filter(|(program, _)| !is_there(program)).map(|(_, package)| *package).collect();
    packages.dedup();
    packages
}

/// Where the tests look for programs: PATH, then Debian's folders of PostgreSQL.
fn folders() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let versions = fs::read_dir(DEBIAN_POSTGRESQL).into_iter().flatten().flatten();
    env::split_paths(&path).chain(versions.map(|version| version.path().join("bin"))).collect()
}

/// apt-get as root, asking nothing and starting no daemon.
fn apt_get(args: &[&str]) -> Result<Command> {
    let id = Command::new("id").arg("-u").output().context("`id` cannot be started")?;
    let is_root = id.stdout.trim_ascii() == b"0";
    let mut command = Command::new(if is_root { "env" } else { "sudo" });
    if !is_root {
        command.arg("env");
    }
    // In run level 1, Debian's packages start nothing when they are installed.
    command.args(["DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get", "--quiet=2"]).args(args);
    command.current_dir("/").stdout(Stdio::null());
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_missed_once_whichever_of_its_programs_is_not_there() {
        let folder = env::temp_dir().join(format!("bascule-xtask-servers-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("pg_ctl"), "").unwrap();
        assert_eq!(missing(std::slice::from_ref(&folder)), ["postgresql", "redis-server"]);
        for program in ["initdb", "postgres"] {
            fs::write(folder.join(program), "").unwrap();
        }
        assert_eq!(missing(std::slice::from_ref(&folder)), ["redis-server"]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
