//! A replica that lagged is made the master: what it did not have is counted again.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::time::Duration;

use common::{config, counts, run, sink_with, truth};
use gristmill_flow_testing::redis::RedisServer;
use tokio::net::{TcpListener, TcpStream};

/// A name that leads to the master, whoever it is: what a service address or a Sentinel-aware proxy
/// does.
async fn service(master: Arc<AtomicU16>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let master = master.load(Relaxed);
            tokio::spawn(async move {
                if let Ok(mut server) = TcpStream::connect(("127.0.0.1", master)).await {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_to_a_lagging_replica_counts_again() {
    let (Some(mut master), Some(replica)) = (RedisServer::start(), RedisServer::start()) else {
        return;
    };
    let port = master.port().to_string();
    assert_eq!(replica.command(&["REPLICAOF", "127.0.0.1", &port]), "OK");
    let leads_to = Arc::new(AtomicU16::new(master.port()));
    let service = service(Arc::clone(&leads_to)).await;
    let mut sink = sink_with(config(&format!("redis://127.0.0.1:{service}/0")));
    run(&mut sink, 1000, 2).await;
    for attempt in 0.. {
        if master.command(&["WAIT", "1", "100"]) == "1" {
            break;
        }
        assert!(attempt < 200, "the replica never caught up");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Cut off from its master, which answers the sink all the same.
    assert_eq!(replica.command(&["REPLICAOF", "NO", "ONE"]), "OK");
    run(&mut sink, 2000, 3).await;
    assert_eq!(counts(&master).await, truth(2000));
    assert_eq!(counts(&replica).await, truth(1000));
    leads_to.store(replica.port(), Relaxed);
    master.kill();
    // The leg goes on at 2000, is told that Redis is at 1000, and goes back there.
    let error = common::write(&mut sink, &common::batch(2000, &["edit"]))
        .await
        .unwrap_err();
    assert_eq!(common::stored(error), Some(1000));
    run(&mut sink, 3000, 4).await;
    assert_eq!(counts(&replica).await, truth(3000));
}
