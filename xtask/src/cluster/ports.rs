//! Ports that stay ours while a broker is down.

use std::net::TcpListener;

use anyhow::{Result, bail};

const LOW: u16 = 15_000;

/// `count` free loopback ports below the ephemeral range: a restarted broker must find its port
/// free, and the kernel gives ports of that range to any outgoing connection meanwhile.
pub(crate) fn free(count: usize) -> Result<Vec<u16>> {
    let high = ephemeral_low().max(LOW + 1000);
    let span = u32::from(high - LOW);
    let seed = std::process::id().wrapping_mul(2_654_435_761);
    // Held until all are found, so that none is given twice.
    let mut held: Vec<(TcpListener, u16)> = Vec::new();
    for step in 0..span {
        let port = LOW + (seed.wrapping_add(step) % span) as u16;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            held.push((listener, port));
        }
        if held.len() == count {
            return Ok(held.into_iter().map(|(_, port)| port).collect());
        }
    }
    bail!("no {count} free ports on 127.0.0.1 between {LOW} and {high}")
}

fn ephemeral_low() -> u16 {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or(32_768)
}
