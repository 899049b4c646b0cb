//! What a person sees when the server serves: where the tree is, and one line to try for each kind.

use ballast_api::Status;

pub fn lines(status: &Status) -> Vec<String> {
    let mut lines = vec![format!("Ballast {} on {}", status.version, status.bucket), String::new()];
    let entries = [
        ("files", status.mount.clone(), status.mount.as_ref().map(|mount| format!("echo hello > {mount}/hello.txt"))),
        ("streams", status.listeners.kafka.clone(), status.listeners.kafka.as_deref().map(try_kafka)),
        ("tables", status.listeners.postgres.clone(), status.listeners.postgres.as_deref().map(try_postgres)),
        ("api", Some(status.listeners.http.clone()), Some(try_http(&status.listeners.http))),
    ];
    for (kind, place, example) in entries {
        let Some(place) = place else {
            lines.push(format!("  {kind:<8} off"));
            continue;
        };
        lines.push(format!("  {kind:<8} {place}"));
        lines.push(format!("           {}", example.unwrap_or_default()));
    }
    lines.push(String::new());
    lines.push(format!("ready in {:.2} s; Ctrl-C stops", status.start_seconds));
    lines
}

fn try_kafka(address: &str) -> String {
    format!("echo hello | kcat -b {address} -t greetings -P")
}

fn try_postgres(address: &str) -> String {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "5432"));
    let host = host.trim_matches(['[', ']']);
    format!("psql -h {host} -p {port} -c 'create table notes (id int primary key, note text)'")
}

fn try_http(address: &str) -> String {
    match address {
        "http://127.0.0.1:8765" => "ballast ls -l /".to_owned(),
        other => format!("ballast ls -l / --server {other}"),
    }
}
