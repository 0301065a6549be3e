//! A stand-in for a Fluvio cluster, to try a pipeline against: `cargo run -p gristmill-fluvio-topic --features
//! stand-in --example stand_in [ADDRESS]`; its topics are gone when it ends.

#![allow(clippy::print_stdout)]

use gristmill_fluvio_topic::stand_in::StandIn;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:9003");
    let stand_in = StandIn::start_at(address).await?;
    println!("{}", stand_in.config().endpoint);
    tokio::signal::ctrl_c().await
}
