//! Addresses to listen on, and sockets bound to them.

use crate::failure::advised;
use ballast_server::identity::refuse_foreign;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use tokio::net::TcpListener;

/// Where to listen, if anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    Off,
    At(SocketAddr),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if matches!(text, "none" | "off") {
            return Ok(Self::Off);
        }
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        if let Ok(port) = text.trim_start_matches(':').parse() {
            return Ok(Self::At(SocketAddr::new(loopback, port)));
        }
        let text = text.strip_prefix("localhost:").map_or(text.to_owned(), |port| format!("{loopback}:{port}"));
        text.parse().map(Self::At).map_err(|_| "write it as 127.0.0.1:9092, as a port, or as none".to_owned())
    }
}

/// A socket bound to the address of the option `flag`; a port in use becomes a sentence with a way out.
pub async fn bind(flag: &str, address: &Address) -> anyhow::Result<Option<TcpListener>> {
    let Address::At(address) = *address else { return Ok(None) };
    if let Some(why) = refuse_foreign(address) {
        return Err(advised(why, format!("--{flag} 127.0.0.1:{}", address.port())));
    }
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let other = SocketAddr::new(address.ip(), free_port_near(address.port()));
            let off = if flag == "http" { String::new() } else { format!(", or --{flag} none") };
            Err(advised(format!("{address} is in use by another program"), format!("--{flag} {other}{off}")))
        }
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            let other = SocketAddr::new(address.ip(), free_port_near(address.port()));
            Err(advised(format!("you may not listen on {address}"), format!("--{flag} {other}")))
        }
        Err(error) => Err(advised(format!("cannot listen on {address}: {error}"), format!("another --{flag} ADDR"))),
    }
}

/// A port to propose: ten thousand higher, where nothing usual listens.
fn free_port_near(port: u16) -> u16 {
    port.checked_add(10_000).unwrap_or(port - 10_000)
}

pub fn http_is_needed() -> anyhow::Error {
    advised("the ballast command needs the HTTP listener", "--http 127.0.0.1:0 for any free port")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_may_be_short() {
        let parse = |text: &str| text.parse::<Address>();
        let at = |text: &str| Ok(Address::At(text.parse().unwrap()));
        assert_eq!(parse("none"), Ok(Address::Off));
        assert_eq!(parse("19092"), at("127.0.0.1:19092"));
        assert_eq!(parse(":19092"), at("127.0.0.1:19092"));
        assert_eq!(parse("localhost:1"), at("127.0.0.1:1"));
        assert_eq!(parse("[::1]:5"), at("[::1]:5"));
        assert!(parse("nowhere").is_err());
    }
}
