//! Tables: pgbench with one script against both servers.

use super::compare::{self, Line};
use super::page::Section;
use super::postgres::Postgres;
use super::{Bench, machine, peer};
use crate::program::Program;
use crate::served::Place;
use anyhow::Context;
use std::path::Path;
use std::time::Duration;

const CLIENTS: u32 = 64;
const TABLE: &str = "CREATE TABLE bench_upserts (id bigint PRIMARY KEY, n bigint, t text)";
const UPSERT: &str = r"\set id random(1, 100000)
INSERT INTO bench_upserts (id, n, t) VALUES (:id, 1, 'a row that is written again and again')
    ON CONFLICT (id) DO UPDATE SET n = bench_upserts.n + 1;
";
const POINT: &str = r"\set id random(1, 100000)
SELECT n, t FROM bench_upserts WHERE id = :id;
";

/// A server that pgbench can reach.
struct Target {
    host: String,
    port: String,
    database: &'static str,
    process: u32,
}

pub fn run(bench: &Bench) -> anyhow::Result<Section> {
    let pgbench = peer::program("pgbench", "postgresql")?;
    let mut place = Place::new(&bench.place("tables")?)?;
    place.binary.clone_from(&bench.ballast);
    let served = place.start()?;
    let (host, port) = served
        .postgres()
        .rsplit_once(':')
        .map(|(host, port)| (host.to_owned(), port.to_owned()))
        .context("the address has a port")?;
    let mut targets = vec![Target { host, port, database: "/", process: served.process() }];
    // Without a peer, our own figure stands alone.
    let postgres = Postgres::start(&bench.place("postgresql")?);
    let name = match &postgres {
        Ok(postgres) => {
            let (host, port) = (postgres.address.ip().to_string(), postgres.address.port().to_string());
            targets.push(Target { host, port, database: "postgres", process: postgres.peer.process() });
            postgres.name.clone()
        }
        Err(error) => {
            println!("there is no PostgreSQL to compare with: {error:#}");
            "PostgreSQL".to_owned()
        }
    };
    let scripts = bench.place("scripts")?;
    let (upsert, point) = (scripts.join("upsert.sql"), scripts.join("point.sql"));
    std::fs::write(&upsert, UPSERT)?;
    std::fs::write(&point, POINT)?;
    for target in &targets {
        Program::new("psql")
            .arguments(&["-X", "-q", "-h", &target.host, "-p", &target.port, "-U", "postgres"])
            .arguments(&["-d", target.database, "-c", TABLE])
            .quiet()?;
        // The first rows, and whatever is slow only once.
        transactions(&pgbench, target, CLIENTS, 1, &upsert)?;
    }
    let idle = targets.iter().map(|target| machine::cpu_share(target.process, Duration::from_secs(1)));
    let idle = idle.collect::<anyhow::Result<Vec<f64>>>()?;
    let mut upserts = Line::rate("upsert by key, durable, 64 clients", "tx/s").aim(0.5);
    let mut latency = Line::cost("of that, average latency", "ms");
    let mut cpu = Line::cost("of that, CPU of the server", "µs/tx");
    let mut points = Line::rate("select by key, 8 clients", "tx/s");
    let names = ["Ballast", name.as_str()];
    compare::interleave(bench.rounds, &names[..targets.len()], |which| {
        let target = &targets[which];
        let before = machine::cpu_seconds(target.process)?;
        let done = transactions(&pgbench, target, CLIENTS, bench.seconds, &upsert)?;
        crate::program::pause(Duration::from_millis(200)); // until the server has reaped its children
        cpu.add(which, (machine::cpu_seconds(target.process)? - before) / done.count * 1e6);
        upserts.add(which, done.per_second);
        latency.add(which, done.latency);
        points.add(which, transactions(&pgbench, target, 8, 1, &point)?.per_second);
        Ok(())
    })?;
    served.stop()?;
    let spread = compare::spread(std::slice::from_ref(&upserts));
    let table = compare::table(&name, &[upserts, latency, cpu, points]);
    let absent =
        postgres.as_ref().err().map(|error| format!("\nPostgreSQL was not measured: {error:#}\n")).unwrap_or_default();
    let shares: Vec<String> =
        names.iter().zip(&idle).map(|(name, share)| format!("{name} used {:.1} % of a core", share * 100.0)).collect();
    let body = format!(
        "pgbench with one script for both, statements prepared (`-M prepared`), over loopback; 100,000 keys; PostgreSQL with \
         its own defaults (fsync and synchronous_commit on). pgbench shares the cores with the server. Idle, {}.\n\n{table}{absent}",
        shares.join(" and ")
    );
    Ok(Section { title: "Tables: upserts against PostgreSQL", body, spread })
}

struct Done {
    count: f64,
    per_second: f64,
    /// Milliseconds.
    latency: f64,
}

fn transactions(pgbench: &Path, target: &Target, clients: u32, seconds: u32, script: &Path) -> anyhow::Result<Done> {
    let (clients, seconds) = (clients.to_string(), seconds.to_string());
    let words = ["-n", "-M", "prepared", "-U", "postgres", "-h", &target.host, "-p", &target.port];
    let text = Program::new(pgbench)
        .arguments(&words)
        .arguments(&["-c", &clients, "-j", "2", "-T", &seconds, "-f"])
        .arguments(&[script])
        .arguments(&[target.database])
        .quiet()?;
    parse(&text).with_context(|| format!("read what pgbench said:\n{}", crate::program::tail(&text)))
}

fn parse(text: &str) -> anyhow::Result<Done> {
    let number = |name: &str| {
        let rest = text.lines().find_map(|line| line.trim().strip_prefix(name)).with_context(|| name.to_owned())?;
        rest.split_whitespace().next().unwrap_or_default().parse::<f64>().with_context(|| name.to_owned())
    };
    anyhow::ensure!(number("number of failed transactions: ")? == 0.0, "transactions failed");
    Ok(Done {
        count: number("number of transactions actually processed: ")?,
        per_second: number("tps = ")?,
        latency: number("latency average = ")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pgbench_is_understood_and_failures_are_not_hidden() {
        let text = "number of transactions actually processed: 1234\nnumber of failed transactions: 0 (0.000%)\n\
                    latency average = 4.426 ms\ntps = 1807.627055 (without initial connection time)\n";
        let done = parse(text).unwrap();
        assert_eq!((done.count, done.latency, done.per_second), (1234.0, 4.426, 1807.627055));
        assert!(parse(&text.replace(": 0 (0.000%)", ": 3 (0.1%)")).is_err());
    }
}
