//! An address to listen on: `127.0.0.1:9464`, or a port alone, which means loopback.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::format::Wrong;
use crate::text::quote;

/// Reads an address to listen on. A port alone and `localhost` mean loopback: whoever wants to be
/// reached from elsewhere says so with an address (`0.0.0.0:9464`). No name is resolved.
///
/// # Errors
/// What is wrong with it, and the remedy, in one line.
pub fn listen_addr(text: &str) -> Result<SocketAddr, String> {
    parse(text).map_err(|wrong| format!("{}; {}", wrong.what, wrong.help))
}

pub(crate) fn check(text: &str) -> Result<(), Wrong> {
    parse(text).map(drop)
}

fn parse(text: &str) -> Result<SocketAddr, Wrong> {
    let text = text.trim();
    let fail = |what: String, help: &str| {
        let help = help.to_owned();
        Err(Wrong { what, help })
    };
    let (host, port) = match text.rsplit_once(':') {
        // An IPv6 address without brackets has colons and no port.
        Some((host, _)) if host.contains(':') && !host.starts_with('[') => {
            return fail(
                "has an IPv6 address without brackets".to_owned(),
                "write `[::1]:9464`",
            );
        }
        Some((host, port)) => (host, port),
        None if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => ("localhost", text),
        None => {
            return fail(
                "has no port".to_owned(),
                "write an address and a port: `127.0.0.1:9464`",
            );
        }
    };
    let Ok(port) = port.parse::<u16>() else {
        return fail(
            format!("has the port {}", quote(port)),
            "a port is a number up to 65535; 0 takes a free one",
        );
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let ip = match bare {
        "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        bare => bare.parse().ok(),
    };
    match ip {
        Some(ip) => Ok(SocketAddr::new(ip, port)),
        None if bare.is_empty() => fail(
            "does not say on which address".to_owned(),
            "write `127.0.0.1:9464`, or `0.0.0.0:9464` for every interface",
        ),
        None => fail(
            format!("has the host {}", quote(bare)),
            "name one of this machine's addresses: `127.0.0.1:9464`, or `0.0.0.0:9464` for all",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, expect) in [
            ("127.0.0.1:9464", "127.0.0.1:9464"),
            ("9464", "127.0.0.1:9464"),
            ("localhost:0", "127.0.0.1:0"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::1]:9464", "[::1]:9464"),
        ] {
            assert_eq!(listen_addr(text).unwrap().to_string(), expect, "{text}");
        }
    }

    #[test]
    fn mistakes_name_the_remedy() {
        for (text, expect) in [
            ("", "has no port"),
            (":9464", "does not say on which address"),
            ("::1", "write `[::1]:9464`"),
            ("127.0.0.1", "has no port"),
            ("127.0.0.1:99999", "has the port `99999`"),
            ("example.org:9464", "has the host `example.org`"),
            ("http://127.0.0.1:9464", "address"),
        ] {
            let error = listen_addr(text).unwrap_err();
            assert!(error.contains(expect), "{text}: {error}");
        }
    }
}
