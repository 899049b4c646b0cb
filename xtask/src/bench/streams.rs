//! Streams: Kafka's own producer against both servers, durable before the acknowledgement.

use super::compare::{self, Line};
use super::kafka::{self, Kafka};
use super::page::Section;
use super::{Bench, machine};
use crate::program::Program;
use crate::served::Place;
use anyhow::Context;
use std::time::Duration;

const RECORD_BYTES: u32 = 1024;
/// Records for each second that a round may take; a quarter as many go before and are not counted.
const RECORDS_PER_SECOND: u32 = 40_000;
/// The pace at which latency is measured, and for how many records.
const PACE: u32 = 2000;
const PACED_RECORDS: u32 = 4000;
const TOPIC: &str = "bench";

pub fn run(bench: &Bench) -> anyhow::Result<Section> {
    let kafka = Kafka::fetch().context("the producer is Kafka's own, from Maven")?;
    let mut place = Place::new(&bench.place("streams")?)?;
    place.binary.clone_from(&bench.ballast);
    let served = place.start()?;
    let create = Program::new(&bench.ballast).arguments(&["create", "stream", &format!("/{TOPIC}")]);
    create.variable("BALLAST_SERVER", format!("http://{}", served.http())).quiet()?;
    let (broker, address) = kafka.start(&bench.place("kafka")?)?;
    let (ours, theirs) = (served.kafka(), address.to_string());
    let topic = ["--bootstrap-server", &theirs, "--create", "--topic", TOPIC, "--partitions", "1"];
    kafka.tool("TopicCommand", &topic)?;
    let addresses = [ours.as_str(), theirs.as_str()];
    let processes = [served.process(), broker.process()];
    for address in addresses {
        produce(&kafka, address, RECORDS_PER_SECOND, 0, &["batch.size=65536", "linger.ms=5"])?;
    }
    let idle = Duration::from_secs(1);
    let idle = [machine::cpu_share(processes[0], idle)?, machine::cpu_share(processes[1], idle)?];
    let mut rate = Line::rate("produce 1 KiB records, acks=all, flat out", "MB/s").aim(1.0);
    let mut cpu = Line::cost("of that, CPU of the server", "s/GB");
    let mut middle = Line::cost("produce 2,000 records a second, p50", "ms");
    let mut late = Line::cost("of that, p99", "ms");
    let records = RECORDS_PER_SECOND * bench.seconds;
    compare::interleave(bench.rounds, &["Ballast", "Kafka"], |which| {
        let before = machine::cpu_seconds(processes[which])?;
        let flat = produce(&kafka, addresses[which], records, 0, &["batch.size=65536", "linger.ms=5"])?;
        let gigabytes = f64::from(records) * f64::from(RECORD_BYTES) / 1e9;
        cpu.add(which, (machine::cpu_seconds(processes[which])? - before) / gigabytes);
        rate.add(which, flat.megabytes_per_second);
        let paced = produce(&kafka, addresses[which], PACED_RECORDS, PACE, &["linger.ms=0"])?;
        middle.add(which, paced.p50);
        late.add(which, paced.p99);
        Ok(())
    })?;
    drop(broker);
    served.stop()?;
    let spread = compare::spread(std::slice::from_ref(&rate));
    let table = compare::table("Kafka", &[rate, cpu, middle, late]);
    let body = format!(
        "Kafka's own producer (`ProducerPerformance`, batch.size=65536, linger.ms=5; linger.ms=0 where paced) into one \
         partition of each; Kafka {} with log.flush.interval.messages=1, so that both acknowledge what is on the disk. \
         The first quarter of the records warms the client and is not counted; the client's JVM shares the cores with the \
         server. It prints whole milliseconds. Idle, Ballast used {:.1} % of a core and Kafka {:.1} %.\n\n{table}",
        kafka::VERSION,
        idle[0] * 100.0,
        idle[1] * 100.0
    );
    Ok(Section { title: "Streams: produce against Apache Kafka", body, spread })
}

struct Produced {
    megabytes_per_second: f64,
    /// Milliseconds.
    p50: f64,
    p99: f64,
}

/// Sends records, at a pace or, with 0, as fast as they go.
fn produce(kafka: &Kafka, address: &str, records: u32, pace: u32, settings: &[&str]) -> anyhow::Result<Produced> {
    let warm_up = (records / 4).to_string();
    let (records, size) = (records.to_string(), RECORD_BYTES.to_string());
    let pace = if pace == 0 { "-1".to_owned() } else { pace.to_string() };
    let mut words = vec!["--bootstrap-server", address, "--topic", TOPIC, "--num-records", &records];
    words.extend(["--record-size", &size, "--throughput", &pace, "--warmup-records", &warm_up]);
    words.extend(["--command-property", "acks=all"]);
    words.extend(settings);
    let text = kafka.tool("ProducerPerformance", &words)?;
    parse(&text).with_context(|| format!("read what the producer said:\n{}", crate::program::tail(&text)))
}

/// The last line that sums up:
/// `90000 records sent, 41000.2 records/sec (40.04 MB/sec), …, 3 ms 50th, 9 ms 95th, 20 ms 99th, 31 ms 99.9th.`
fn parse(text: &str) -> Option<Produced> {
    let line = text.lines().rfind(|line| line.contains("99.9th"))?;
    let mebibytes: f64 = line.split_once(" MB/sec")?.0.rsplit('(').next()?.parse().ok()?;
    let percentile =
        |name: &str| -> Option<f64> { line.split_once(&format!(" ms {name}"))?.0.rsplit(' ').next()?.parse().ok() };
    let megabytes_per_second = mebibytes * f64::from(1 << 20) / 1e6;
    Some(Produced { megabytes_per_second, p50: percentile("50th")?, p99: percentile("99th")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_producers_last_line_is_understood() {
        let text = "100 records sent, 50.0 records/sec (0.05 MB/sec), 1.0 ms avg latency, 2.0 ms max latency.\n\
                    90000 records sent, 41000.2 records/sec (40.04 MB/sec), 7.10 ms avg latency, 60.00 ms max latency, \
                    3 ms 50th, 9 ms 95th, 20 ms 99th, 31 ms 99.9th.\n";
        let produced = parse(text).unwrap();
        assert_eq!((produced.p50, produced.p99), (3.0, 20.0));
        assert!((produced.megabytes_per_second - 41.98).abs() < 0.01);
    }
}
