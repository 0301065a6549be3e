//! The server as clients see it: greeting, resume, ends, pacing, faults.

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

mod client;

use std::time::{Duration, Instant};

use client::{End, SseEvent, get, get_with, read, start, status, text};
use gristmill_replay::{
    AtEnd, Event, Generator, GeneratorOptions, ReplayError, Resume, Server, ServerOptions, Source,
};

fn generated(events: u64) -> Source {
    Source::Generate {
        options: GeneratorOptions::default(),
        events: Some(events),
    }
}

fn disordered() -> GeneratorOptions {
    GeneratorOptions {
        disorder: Duration::from_secs(15),
        ..GeneratorOptions::default()
    }
}

fn expected(options: &GeneratorOptions, events: usize) -> Vec<SseEvent> {
    let sse = |event: Event| SseEvent {
        event: event.event.into(),
        id: event.id,
        data: event.data.into_bytes(),
    };
    Generator::new(options.clone())
        .take(events)
        .map(sse)
        .collect()
}

#[tokio::test]
async fn a_stream_is_the_generators_events_byte_for_byte() {
    let server = start(generated(5_000), |it| it.at_end = AtEnd::Close).await;
    let (events, rest, end) = read(get(&server.url(), None).await, usize::MAX).await;
    assert_eq!(end, End::Clean);
    assert!(rest.is_empty());
    assert!(events == expected(&GeneratorOptions::default(), 5_000));
    let stats = server.stats();
    assert_eq!(
        (stats.connections, stats.events, stats.high_water),
        (1, 5_000, 5_000)
    );
}

#[tokio::test]
async fn the_wire_looks_like_wikimedias() {
    let server = start(generated(2), |it| it.at_end = AtEnd::Close).await;
    let wire = text(get(&server.url(), None).await).await;
    let events = expected(&GeneratorOptions::default(), 2);
    let block = |it: &SseEvent| {
        format!(
            "event: message\nid: {}\ndata: {}\n\n",
            it.id,
            String::from_utf8_lossy(&it.data)
        )
    };
    assert_eq!(
        wire,
        format!(":ok\n\n{}{}", block(&events[0]), block(&events[1]))
    );
}

#[tokio::test]
async fn a_client_cut_at_every_event_gets_each_once() {
    const EVENTS: usize = 60;
    for cut_mid_event in [false, true] {
        for cut_after in 1..=12 {
            let server = start(generated(EVENTS as u64), |it| {
                it.cut_after = Some(cut_after);
                it.faults.cut_mid_event = cut_mid_event;
                it.at_end = AtEnd::NoContent;
            })
            .await;
            let mut all: Vec<SseEvent> = Vec::new();
            loop {
                let id = all.last().map(|event| event.id.clone());
                let response = get(&server.url(), id.as_deref()).await;
                if response.status() == 204 {
                    break;
                }
                let (events, rest, end) = read(response, usize::MAX).await;
                let last = all.len() + events.len() == EVENTS;
                assert!(events.len() as u64 <= cut_after);
                assert!(last || (end == End::Broken && events.len() as u64 == cut_after));
                assert_eq!(
                    cut_mid_event && !last,
                    !rest.is_empty(),
                    "after {}",
                    all.len()
                );
                all.extend(events);
            }
            assert!(
                all == expected(&GeneratorOptions::default(), EVENTS),
                "cut {cut_after}"
            );
        }
    }
}

/// A cut behind more than sockets can buffer still delivers every event before it.
#[tokio::test]
async fn a_cut_loses_nothing_that_was_sent() {
    let server = start(generated(u64::MAX), |it| it.cut_after = Some(9_000)).await;
    let response = get(&server.url(), None).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (events, _, end) = read(response, usize::MAX).await;
    assert_eq!((events.len(), end), (9_000, End::Broken));
}

/// Wikimedia's way: the last id alone neither keeps nor avoids everything, a rewound one keeps it.
#[tokio::test]
async fn inexact_resume_loses_and_repeats_and_a_rewind_does_not_lose() {
    const EVENTS: usize = 6_000;
    let options = disordered();
    let all = expected(&options, EVENTS);
    let source = Source::Generate {
        options: options.clone(),
        events: Some(EVENTS as u64),
    };
    let server = start(source, |it| it.resume = Resume::Wikimedia).await;
    let (mut lost, mut repeated) = (0, 0);
    for index in (3_000..3_400).step_by(10) {
        let id = &all[index].id;
        let (events, ..) = read(get(&server.url(), Some(id)).await, 1).await;
        let resumed = all
            .iter()
            .position(|event| event.data == events[0].data)
            .unwrap();
        lost += resumed.saturating_sub(index + 1);
        repeated += (index + 1).saturating_sub(resumed);

        let rewound = rewind(id, 60_000);
        let (events, ..) = read(get(&server.url(), Some(&rewound)).await, 1).await;
        let resumed = all
            .iter()
            .position(|event| event.data == events[0].data)
            .unwrap();
        assert!(
            resumed <= index + 1,
            "{resumed} leaves out some behind {index}"
        );
        assert!(
            index - resumed < 60 * 40 + 15 * 40 + 40,
            "{resumed} is too far back"
        );
    }
    assert!(lost > 0 && repeated > 0, "lost {lost}, repeated {repeated}");
}

/// As the SSE source does it: every entry gets a timestamp.
fn rewind(id: &str, by_ms: i64) -> String {
    let mut entries: serde_json::Value = serde_json::from_str(id).unwrap();
    let at = entries[0]["timestamp"].as_i64().unwrap() - by_ms;
    for entry in entries.as_array_mut().unwrap() {
        entry.as_object_mut().unwrap().remove("offset");
        entry["timestamp"] = at.into();
    }
    entries.to_string()
}

#[tokio::test]
async fn ids_times_and_offsets_lead_to_their_event() {
    let server = start(generated(1_000), |_| {}).await;
    let all = expected(&GeneratorOptions::default(), 1_000);
    let start_ms = GeneratorOptions::default().start_ms;
    let entry = |position: &str| {
        format!(r#"[{{"topic":"eqiad.mediawiki.recentchange","partition":0,{position}}}]"#)
    };
    // 40 events a second: one every 25 ms.
    for (id, index) in [
        (all[0].id.clone(), 1),
        (all[998].id.clone(), 999),
        (rewind(&all[500].id, 1_000), 461),
        (entry(&format!(r#""timestamp":{}"#, start_ms + 250)), 10),
        (entry(&format!(r#""timestamp":{}"#, start_ms + 251)), 11),
        (entry(r#""timestamp":0"#), 0),
        (entry(r#""offset":4000000007"#), 7),
    ] {
        let (events, ..) = read(get(&server.url(), Some(&id)).await, 1).await;
        assert!(
            events[0] == all[index],
            "{id} leads to {}, not to {index}",
            events[0].id
        );
    }
    for (since, index) in [
        (start_ms.to_string(), 0),
        ((start_ms + 1_000).to_string(), 40),
        ("2026-01-01T00:00:02Z".into(), 80),
        ("2026-01-01".into(), 0),
        ("1999-12-31".into(), 0),
    ] {
        let url = format!("{}?since={since}", server.url());
        let (events, ..) = read(get(&url, None).await, 1).await;
        assert!(events[0] == all[index], "since={since}");
        let (events, ..) = read(get(&url, Some(&all[41].id)).await, 1).await;
        assert!(
            events[0] == all[42],
            "Last-Event-ID wins over since={since}"
        );
    }
}

#[tokio::test]
async fn wrong_requests_are_refused_with_a_reason() {
    let server = start(generated(10), |_| {}).await;
    let response = get_with(&server.url(), &[]).await;
    assert_eq!(response.status(), 403);
    assert!(text(response).await.contains("User-Agent"));
    for id in [
        "x",
        "[]",
        "7",
        r#"[{"topic":"t","partition":0,"offset":3}]"#,
    ] {
        let response = get(&server.url(), Some(id)).await;
        assert_eq!(response.status(), 400, "{id}");
        assert!(text(response).await.contains("Last-Event-ID"), "{id}");
    }
    let response = get(&format!("{}?since=tomorrow", server.url()), None).await;
    assert_eq!(response.status(), 400);
    assert!(text(response).await.contains("tomorrow"));
    assert_eq!(
        status(&format!("http://{}/nowhere", server.addr()), None).await,
        404
    );
    let help = text(get(&format!("http://{}/", server.addr()), None).await).await;
    assert!(help.ends_with('\n') && help.lines().count() == 1, "{help}");
    assert_eq!(server.stats().refused, 6);

    let relaxed = start(generated(10), |it| it.require_user_agent = false).await;
    assert_eq!(get_with(&relaxed.url(), &[]).await.status(), 200);
}

#[tokio::test]
async fn ends_are_as_asked_for() {
    let last = expected(&GeneratorOptions::default(), 3).pop().unwrap().id;
    let server = start(generated(3), |it| it.at_end = AtEnd::NoContent).await;
    let (events, _, end) = read(get(&server.url(), None).await, usize::MAX).await;
    assert_eq!((events.len(), end), (3, End::Clean));
    assert_eq!(status(&server.url(), Some(&last)).await, 204);

    let server = start(generated(3), |it| it.at_end = AtEnd::Close).await;
    let (events, _, end) = read(get(&server.url(), Some(&last)).await, usize::MAX).await;
    assert_eq!((events.len(), end), (0, End::Clean));

    let server = start(generated(3), |it| it.at_end = AtEnd::Hold).await;
    let response = get(&server.url(), None).await;
    let held = tokio::time::timeout(Duration::from_millis(300), read(response, 4)).await;
    assert!(held.is_err(), "the connection stays open");
}

#[tokio::test]
async fn rates_are_kept() {
    for (rate, events) in [(50.0, 60_usize), (2_000.0, 2_400)] {
        let server = start(generated(u64::MAX), |it| it.rate = Some(rate)).await;
        let response = get(&server.url(), None).await;
        let begin = Instant::now();
        read(response, events).await;
        let took = begin.elapsed().as_secs_f64();
        let should = (events - 1) as f64 / rate;
        // Never early; how late is the machine's load.
        assert!(
            took > should - 0.05 && took < should + 1.0,
            "{rate}/s: {took} s for {should} s"
        );
    }
}

#[tokio::test]
async fn stamps_are_the_time_of_sending() {
    let server = start(generated(u64::MAX), |it| it.stamp = true).await;
    let before = jiff::Timestamp::now().as_millisecond();
    let (events, ..) = read(get(&server.url(), None).await, 200).await;
    let after = jiff::Timestamp::now().as_millisecond();
    for (event, plain) in events
        .iter()
        .zip(expected(&GeneratorOptions::default(), 200))
    {
        let mut value: serde_json::Value = serde_json::from_slice(&event.data).unwrap();
        let plain: serde_json::Value = serde_json::from_slice(&plain.data).unwrap();
        let dt: jiff::Timestamp = value["meta"]["dt"].as_str().unwrap().parse().unwrap();
        assert!((before..=after).contains(&dt.as_millisecond()), "{dt}");
        value["meta"]["dt"] = plain["meta"]["dt"].clone();
        assert_eq!(value, plain, "nothing else changes");
    }
}

#[tokio::test]
async fn faults_come_from_the_seed_and_lose_nothing() {
    const EVENTS: usize = 1_500;
    let mut runs = Vec::new();
    for seed in [1, 1, 2] {
        let server = start(generated(EVENTS as u64), |it| {
            it.at_end = AtEnd::NoContent;
            it.faults.seed = seed;
            it.faults.cut_every = Some(200);
            it.faults.cut_mid_event = true;
            it.faults.duplicate_every = Some(50);
            it.faults.stall_every = Some(500);
            it.faults.stall = Duration::from_millis(30);
            it.faults.refuse_every = Some(4);
        })
        .await;
        let (mut seen, mut refusals, mut cuts) = (Vec::new(), 0, 0);
        loop {
            let id = seen.last().map(|event: &SseEvent| event.id.clone());
            let response = get(&server.url(), id.as_deref()).await;
            match response.status().as_u16() {
                204 => break,
                429 | 503 => {
                    assert_eq!(response.headers()["retry-after"], "1");
                    refusals += 1;
                }
                _ => {
                    let (events, _, end) = read(response, usize::MAX).await;
                    cuts += usize::from(end == End::Broken);
                    seen.extend(events);
                }
            }
        }
        let all = expected(&GeneratorOptions::default(), EVENTS);
        let mut unique = seen.clone();
        unique.sort_by(|a, b| a.id.cmp(&b.id));
        unique.dedup();
        assert_eq!(unique.len(), EVENTS);
        assert!(
            unique.iter().zip(&all).all(|(a, b)| a == b),
            "nothing lost or altered"
        );
        let duplicates = seen.len() - EVENTS;
        assert!(
            duplicates > 0 && refusals > 0 && cuts > 0,
            "{duplicates} {refusals} {cuts}"
        );
        runs.push((
            seen.iter()
                .map(|event| event.id.clone())
                .collect::<Vec<_>>(),
            refusals,
        ));
    }
    assert!(runs[0] == runs[1], "equal seeds, equal faults");
    assert!(runs[0] != runs[2], "other seeds, other faults");
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_stream() {
    for rate in [None, Some(10.0)] {
        let server = start(generated(u64::MAX), |it| it.rate = rate).await;
        let response = get(&server.url(), None).await;
        assert_eq!(server.stats().open, 1);
        drop(response);
        let gone = async {
            while server.stats().open > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), gone)
            .await
            .expect("still open");
    }
}

#[tokio::test]
async fn stopping_ends_streams_and_frees_the_port() {
    let server = Server::start(ServerOptions::new(generated(3)))
        .await
        .unwrap();
    let (addr, url) = (server.addr(), server.url());
    let held = tokio::spawn(async move { read(get(&url, None).await, usize::MAX).await });
    while server.stats().events < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.stop().await;
    let (events, rest, end) = held.await.unwrap();
    assert_eq!((events.len(), rest.len(), end), (3, 0, End::Clean));

    // A client that does not read cannot hold a stop up for ever.
    let options = ServerOptions {
        listen: addr,
        ..ServerOptions::new(generated(u64::MAX))
    };
    let server = Server::start(options).await.unwrap();
    let response = get(&server.url(), None).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    tokio::time::timeout(Duration::from_secs(10), server.stop())
        .await
        .expect("hangs");
    drop(response);
}

#[tokio::test]
async fn a_taken_port_and_wrong_options_are_named() {
    let first = start(generated(1), |_| {}).await;
    let options = ServerOptions {
        listen: first.addr(),
        ..ServerOptions::new(generated(1))
    };
    let error = Server::start(options).await.unwrap_err();
    assert!(matches!(error, ReplayError::AddressTaken { addr } if addr == first.addr()));
    assert!(
        error.to_string().contains(&first.addr().to_string()),
        "{error}"
    );
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let options = ServerOptions {
            rate: Some(rate),
            ..ServerOptions::new(generated(1))
        };
        assert!(
            matches!(
                Server::start(options).await,
                Err(ReplayError::Option { .. })
            ),
            "{rate}"
        );
    }
}
