//! What the suites need of this machine, and how to get it.

use crate::program::{Program, find};
use crate::report::Outcome;
use crate::{served, workspace};
use std::path::PathBuf;

/// A program that a suite needs, and the Debian package that brings it.
const PROGRAMS: [(&str, &str); 4] =
    [("kcat", "kcat"), ("psql", "postgresql-client"), ("python3", "python3-venv"), ("fusermount3", "fuse3")];

/// Clients in Python, at the versions that the suites were written for.
const PYTHON: [&str; 3] = ["confluent-kafka==2.16.1", "kafka-python==3.0.12", "psycopg[binary]==3.2.10"];

/// Installs what is missing, as far as that is allowed, and says what is still missing then.
pub fn prepare() -> anyhow::Result<Outcome> {
    let missing: Vec<_> = PROGRAMS.iter().filter(|(program, _)| find(program).is_none()).collect();
    if !missing.is_empty() {
        let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
        println!("missing: {}", packages.join(" "));
        install(&packages);
    }
    let mut absent = Vec::new();
    for (program, package) in PROGRAMS {
        match find(program) {
            Some(path) => println!("{program}: {}", path.display()),
            None => absent.push(format!("{program} (package {package})")),
        }
    }
    match python() {
        Ok(python) => println!("python clients: {}", python.display()),
        Err(error) => absent.push(format!("python clients ({error:#})")),
    }
    match served::can_mount() {
        true => println!("mount: possible"),
        false => absent.push("a mount (/dev/fuse and fusermount3, or root)".to_owned()),
    }
    match absent.is_empty() {
        true => Ok(Outcome::one(true)),
        false => Ok(Outcome::Absent(format!("this machine lacks {}", absent.join(", ")))),
    }
}

/// Tries apt as root, or through sudo where that asks for no password.
pub fn install(packages: &[&str]) {
    // SAFETY: geteuid takes nothing and cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    let mut words = if root { Vec::new() } else { vec!["sudo", "--non-interactive"] };
    words.extend(["apt-get", "install", "--yes", "--no-install-recommends"]);
    words.extend(packages);
    let run = |words: &[&str]| {
        let apt = Program::new(words[0]).arguments(&words[1..]).variable("DEBIAN_FRONTEND", "noninteractive");
        apt.quiet()
    };
    if find("apt-get").is_none() || (!root && find("sudo").is_none()) {
        return println!("they cannot be installed from here: there is no apt-get, or no right to use it");
    }
    if run(&words).is_err() {
        // Perhaps its lists are old or empty.
        let prefix = if root { 0 } else { 2 };
        let mut update = words[..prefix].to_vec();
        update.extend(["apt-get", "update"]);
        if let Err(error) = run(&update).and_then(|_| run(&words)) {
            println!("they could not be installed: {error:#}");
        }
    }
}

/// An interpreter with the Python clients: the user's own, or one in the cache.
pub fn python() -> anyhow::Result<PathBuf> {
    let works = |python: &PathBuf| {
        let import = Program::new(python).arguments(&["-c", "import kafka, psycopg"]);
        matches!(import.capture(), Ok((true, _)))
    };
    let directory = workspace::cache().join("python");
    let python = directory.join("bin/python");
    if python.exists() && works(&python) {
        return Ok(python);
    }
    std::fs::create_dir_all(workspace::cache())?;
    Program::new("python3").arguments(&["-m", "venv"]).arguments(&[&directory]).quiet()?;
    Program::new(&python).arguments(&["-m", "pip", "install", "--quiet"]).arguments(&PYTHON).quiet()?;
    anyhow::ensure!(works(&python), "the clients were installed and cannot be imported");
    Ok(python)
}
