//! Addresses to listen on, and sockets bound to them.

use crate::failure::advised;
use crate::limits::{BIND_INTERVAL, BIND_PATIENCE};
use ballast_server::identity::refuse_foreign;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use tokio::net::TcpListener;
use tokio::time::Instant;

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
    match bind_patiently(address).await {
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

/// Binds an address, waiting a moment for a server that was killed to leave it.
async fn bind_patiently(address: SocketAddr) -> std::io::Result<TcpListener> {
    let deadline = Instant::now() + BIND_PATIENCE;
    loop {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                tokio::time::sleep(BIND_INTERVAL).await;
            }
            done => return done,
        }
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
    use std::time::Duration;

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

    #[tokio::test(start_paused = true)]
    async fn an_address_that_a_killed_server_is_about_to_leave_is_waited_for() {
        let leaving = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::At(leaving.local_addr().unwrap());
        let leave = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            drop(leaving);
        };
        let (bound, ()) = tokio::join!(bind("http", &address), leave);
        assert_eq!(bound.unwrap().unwrap().local_addr().map(Address::At).unwrap(), address);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_stays_in_use_is_told_of_soon() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let begun = Instant::now();
        let error = bind("kafka", &Address::At(address)).await.unwrap_err();
        assert!(error.to_string().contains(&format!("{address} is in use by another program")), "{error}");
        assert!(begun.elapsed() <= BIND_PATIENCE + BIND_INTERVAL, "{:?}", begun.elapsed());
    }
}
