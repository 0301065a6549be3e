//! How many events a second the connector takes, and what a core has to do for it:
//! `cargo run --release -p gristmill-sse-source --example throughput [EVENTS]`.
//!
//! A thread serves generated recentchange frames from memory over loopback; the connector runs with
//! the settings of the shipped pipeline on one thread of its own, whose CPU time is printed.
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Instant;

use gristmill_flow::{LegStats, NoTail, Source, SourceEvent};
use gristmill_replay::{Event, Generator, GeneratorOptions};
use gristmill_sse_source::SseSource;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let events: usize = match std::env::args().nth(1) {
        Some(events) => events.parse()?,
        None => 300_000,
    };
    let mut generator = Generator::new(GeneratorOptions::default());
    let (mut event, mut body) = (Event::default(), Vec::new());
    for _ in 0..events {
        generator.fill(&mut event);
        write!(
            body,
            "event: message\nid: {}\ndata: {}\n\n",
            event.id, event.data
        )?;
    }
    let megabytes = body.len() as f64 / 1e6;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/", listener.local_addr()?);
    std::thread::spawn(move || -> std::io::Result<()> {
        let (mut socket, _) = listener.accept()?;
        let _ = socket.read(&mut [0; 4096])?;
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")?;
        socket.write_all(&body)?;
        // Held open until the process ends: an end of stream is not what is measured.
        std::thread::park();
        Ok(())
    });
    let config = serde_json::from_value(serde_json::json!({
        "url": url, "user-agent": "gristmill-throughput/0.1", "key": "/id", "timestamp": "/meta/dt",
        "drop": {"/meta/domain": "canary"}, "rewind": "1m", "dedupe": {"id": "/meta/id"},
    }))?;
    let stats = Arc::new(LegStats::default());
    let mut source = SseSource::new("throughput".into(), config, NoTail, stats)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (started, cpu) = (Instant::now(), cpu_seconds()?);
        let mut taken = 0;
        while taken < events {
            match source.next().await? {
                SourceEvent::Assigned(lanes) => source.resume(&lanes, &Default::default()).await?,
                SourceEvent::Batch(batch) => taken += batch.records.len(),
                other => return Err(format!("{other:?}").into()),
            }
        }
        let (wall, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
        let rate = |seconds: f64| events as f64 / seconds;
        println!(
            "{events} events, {megabytes:.0} MB: {:.0} events/s, {:.0} MB/s; {:.0} events per \
             CPU second ({:.1} µs each)",
            rate(wall),
            megabytes / wall,
            rate(cpu),
            cpu / events as f64 * 1e6,
        );
        Ok(())
    })
}

/// CPU time of this thread (Linux).
fn cpu_seconds() -> Result<f64, Box<dyn std::error::Error>> {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let on_cpu_ns: f64 = schedstat.split(' ').next().unwrap_or_default().parse()?;
    Ok(on_cpu_ns / 1e9)
}
