//! The first messages of a connection.

use super::Shared;
use super::message::{Body, Wire};
use ballast_tables::Session;
use ballast_types::{Call, Kind, TreePath};
use bytes::{Buf, BufMut};
use std::io;
use std::sync::Arc;

const PROTOCOL_3: u32 = 3;
const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;

/// Settings that a client is told at the start and whenever they change.
pub const REPORTED: [(&str, &str); 13] = [
    ("application_name", "application_name"),
    ("client_encoding", "client_encoding"),
    ("DateStyle", "datestyle"),
    ("default_transaction_read_only", "default_transaction_read_only"),
    ("in_hot_standby", "in_hot_standby"),
    ("integer_datetimes", "integer_datetimes"),
    ("IntervalStyle", "intervalstyle"),
    ("is_superuser", "is_superuser"),
    ("search_path", "search_path"),
    ("server_encoding", "server_encoding"),
    ("server_version", "server_version"),
    ("standard_conforming_strings", "standard_conforming_strings"),
    ("TimeZone", "timezone"),
];

/// Greets the client; `None` if the connection was only to cancel another's query, or was refused.
pub async fn greet(wire: &mut Wire, shared: &Arc<Shared>) -> io::Result<Option<Session>> {
    loop {
        let (code, mut body) = wire.read_startup().await?;
        match code {
            SSL_REQUEST | GSS_REQUEST => wire.write_raw(b"N").await?,
            CANCEL_REQUEST => {
                if body.remaining() >= 8 {
                    shared.cancel.cancel(body.get_i32(), body.get_i32());
                }
                return Ok(None);
            }
            version if version >> 16 == PROTOCOL_3 => return start(wire, shared, version, Body(body)).await,
            _ => {
                wire.fatal("0A000", "unsupported frontend protocol: this server speaks 3.0");
                wire.flush().await?;
                return Ok(None);
            }
        }
    }
}

async fn start(wire: &mut Wire, shared: &Arc<Shared>, version: u32, mut body: Body) -> io::Result<Option<Session>> {
    let mut options = Vec::new();
    while let Ok(name) = body.text() {
        if name.is_empty() {
            break;
        }
        let Ok(value) = body.text() else { break };
        options.push((name, value));
    }
    let find = |wanted: &str| options.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    if find("replication").is_some_and(|value| !["off", "false", "no", "0"].contains(&value.as_str())) {
        wire.fatal("0A000", "replication connections are not supported");
        wire.flush().await?;
        return Ok(None);
    }
    let user = find("user").unwrap_or_default();
    let database = find("database").filter(|name| !name.is_empty()).unwrap_or_else(|| user.clone());
    let call = Call::new(shared.settings.caller.clone());
    let directory = directory(shared, &call, &database).await;
    let mut session = Session::new(shared.tables.clone(), call, directory);
    session.variables().user = user.clone();
    session.variables().database = database;

    let unknown: Vec<&str> =
        options.iter().map(|(name, _)| name.as_str()).filter(|name| name.starts_with("_pq_.")).collect();
    if version & 0xffff != 0 || !unknown.is_empty() {
        wire.message(b'v', |out| {
            out.put_u32(0);
            out.put_u32(u32::try_from(unknown.len()).unwrap_or(0));
            unknown.iter().for_each(|name| super::message::put_text(out, name));
        });
    }
    for (name, value) in settings(&options) {
        if let Err(error) = session.variables().set(&name, &value) {
            wire.fatal(super::sqlstate::of(&error), &error.to_string());
            wire.flush().await?;
            return Ok(None);
        }
    }
    wire.message(b'R', |out| out.put_u32(0));
    for (shown, name) in REPORTED {
        let value = session.variables().get(name).unwrap_or_default().to_owned();
        wire.parameter(shown, &value);
    }
    wire.parameter("session_authorization", &user);
    Ok(Some(session))
}

/// Settings among the options: the plain ones, and those inside `options=-c name=value`.
fn settings(options: &[(String, String)]) -> Vec<(String, String)> {
    let mut settings = Vec::new();
    for (name, value) in options {
        match name.as_str() {
            "user" | "database" | "replication" => {}
            "options" => {
                let text = value.replace("\\ ", "\u{1}").replace("-c ", "-c").replace("--", "-c");
                let parts = text.split_whitespace().filter_map(|part| part.strip_prefix("-c"));
                let pairs = parts.filter_map(|part| part.split_once('='));
                settings.extend(pairs.map(|(name, value)| (name.to_owned(), value.replace('\u{1}', " "))));
            }
            name if name.starts_with("_pq_.") => {}
            name => settings.push((name.to_owned(), value.clone())),
        }
    }
    settings
}

/// A database is a directory: `bars` is /bars, `/a/b` that path. Anything unknown is the root.
async fn directory(shared: &Shared, call: &Call, database: &str) -> TreePath {
    let text = if database.starts_with('/') { database.to_owned() } else { format!("/{database}") };
    let Ok(path) = TreePath::parse(&text) else { return TreePath::root() };
    match shared.tables.tree().resolve(call, &path).await {
        Ok(inode) if inode.kind == Kind::Directory => path,
        _ => TreePath::root(),
    }
}
