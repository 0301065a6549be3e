//! What eventsource-client leaves to its transport, and what goes wrong on the wire.

use std::time::{Duration, Instant};

use gristmill_flow::{LegStats, SourceError, Status};
use serde_json::json;

use crate::harness::{
    Reply, Server, Topic, Until, config, header, pump, read_all, source, with_tail,
};

async fn fatal(reply: Reply) -> String {
    let server = Server::start([reply]).await;
    let (mut source, _) = source(config(&server.url(), json!({})));
    match pump(&mut source, &Topic::default(), Until::End).await {
        Err(SourceError::Fatal(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn requests_say_who_asks_and_for_what() {
    let more = json!({"headers": {"Authorization": "Bearer secret"}, "since": "2026-01-31"});
    let (_, _, server) = read_all(vec![Reply::stream("id: 5\ndata: a\n\n")], more).await;
    let requests = server.requests();
    let first = &requests[0];
    assert!(
        first.starts_with("GET /stream?since=1769817600000 HTTP/1.1"),
        "{first}"
    );
    assert_eq!(
        header(first, "user-agent"),
        Some("gristmill-test/0.1 (https://example.org; you@example.org)")
    );
    assert_eq!(header(first, "accept"), Some("text/event-stream"));
    assert_eq!(header(first, "authorization"), Some("Bearer secret"));
    assert_eq!(header(first, "last-event-id"), None);
    let second = &requests[1];
    assert!(second.starts_with("GET /stream HTTP/1.1"), "{second}");
    assert_eq!(header(second, "last-event-id"), Some("5"));
}

#[tokio::test]
async fn every_redirect_is_followed_relative_ones_too() {
    for status in [301, 302, 303, 307, 308] {
        let redirect = |to: &str| Reply::new(&format!("{status} There\r\nLocation: {to}"));
        let more = json!({"headers": {"x-key": "k"}});
        let replies = vec![
            redirect("other/place?x=1"),
            redirect("../top"),
            redirect("?q"),
            Reply::stream("data: a\n\n"),
        ];
        let (topic, _, server) = read_all(replies, more).await;
        assert_eq!(topic.values(), ["a"]);
        let requests = server.requests();
        let lines: Vec<_> = requests.iter().filter_map(|r| r.lines().next()).collect();
        assert_eq!(
            lines[1..4],
            [
                "GET /other/place?x=1 HTTP/1.1",
                "GET /top HTTP/1.1",
                "GET /top?q HTTP/1.1"
            ]
        );
        assert!(
            requests
                .iter()
                .all(|request| header(request, "x-key") == Some("k"))
        );
    }
}

#[tokio::test]
async fn credentials_stay_with_their_origin() {
    let other = Server::start([Reply::stream("data: a\n\n").hold()]).await;
    let first = Server::start([Reply::new(&format!(
        "302 Found\r\nLocation: {}",
        other.url()
    ))])
    .await;
    let section = json!({"headers": {"Authorization": "Bearer secret"}});
    let (mut source, _) = source(config(&first.url(), section));
    pump(&mut source, &Topic::default(), Until::Holds(1))
        .await
        .unwrap();
    assert_eq!(
        header(&first.requests()[0], "authorization"),
        Some("Bearer secret")
    );
    assert_eq!(header(&other.requests()[0], "authorization"), None);
    assert!(header(&other.requests()[0], "user-agent").is_some());
}

#[tokio::test]
async fn answers_that_will_not_change_are_final() {
    for (reply, part) in [
        (Reply::new("403 Forbidden"), "sse.user-agent"),
        (Reply::new("401 Unauthorized"), "sse.headers"),
        (Reply::new("404 Not Found"), "sse.url"),
        (Reply::new("418 Teapot"), "418"),
        (
            Reply::new("200 OK\r\nContent-Type: text/html").body("<html>"),
            "`text/html`",
        ),
        (Reply::new("200 OK"), "no Content-Type"),
        (
            Reply::new("200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip"),
            "gzip",
        ),
        (
            Reply::new("302 Found\r\nLocation: stream"),
            "more than 10 times",
        ),
        (Reply::new("302 Found"), "without a Location"),
        (
            Reply::new("302 Found\r\nLocation: ftp://example.org/"),
            "not HTTP",
        ),
    ] {
        let reason = fatal(reply).await;
        assert!(
            reason.contains(part) && reason.contains("/stream"),
            "{part} not in: {reason}"
        );
    }
}

#[tokio::test]
async fn busy_servers_are_asked_again_when_they_say() {
    let started = Instant::now();
    let replies = vec![
        Reply::new("503 Unavailable"),
        Reply::new("500 Oops"),
        Reply::new("429 Too Many\r\nRetry-After: 1"),
        Reply::stream("data: a\n\n"),
    ];
    let (topic, stats, _) = read_all(replies, json!({})).await;
    assert!(
        started.elapsed() >= Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(topic.values(), ["a"]);
    assert_eq!(stats.status(), Status::Running, "not waiting any more");
    assert_eq!(LegStats::get(&stats.reconnects), 0, "none of them stood");
}

#[tokio::test]
async fn an_unreachable_server_is_waited_for() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "http://{}/stream?token=secret",
        listener.local_addr().unwrap()
    );
    drop(listener);
    let (mut source, stats) = source(config(&url, json!({})));
    let topic = Topic::default();
    pump(
        &mut source,
        &topic,
        Until::Quiet(Duration::from_millis(300)),
    )
    .await
    .unwrap();
    match stats.status() {
        Status::Waiting(reason) => {
            assert!(
                reason.starts_with("cannot reach http://127.0.0.1:"),
                "{reason}"
            );
            assert!(
                reason.contains("refused") && !reason.contains("secret"),
                "{reason}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_cut_in_an_event_passes_nothing_of_it() {
    let replies = vec![
        Reply::stream("id: 1\ndata: one\n\nid: 2\ndata: two, but this is not all of i"),
        Reply::stream("id: 2\ndata: two\n"),
        Reply::stream("id: 2\ndata: two\n\n"),
    ];
    let (topic, stats, server) = read_all(replies, json!({})).await;
    assert_eq!(topic.values(), ["one", "two"]);
    let requests = server.requests();
    let ids: Vec<_> = requests
        .iter()
        .map(|r| header(r, "last-event-id"))
        .collect();
    assert_eq!(ids, [None, Some("1"), Some("1"), Some("2")]);
    assert_eq!(LegStats::get(&stats.reconnects), 2);
}

#[tokio::test]
async fn silence_ends_a_connection() {
    let replies = vec![
        Reply::stream("id: 1\ndata: one\n\n").hold(),
        Reply::stream("").hold(),
        Reply::stream("id: 2\ndata: two\n\n"),
    ];
    let (topic, stats, _) = read_all(replies, json!({"read-timeout": "200ms"})).await;
    assert_eq!(topic.values(), ["one", "two"]);
    assert_eq!(LegStats::get(&stats.reconnects), 2);
}

#[tokio::test]
async fn a_server_that_never_answers_is_waited_for() {
    let mute = Reply {
        head: String::new(),
        chunks: Vec::new(),
        hold: true,
        pause: std::time::Duration::ZERO,
    };
    let section = json!({"read-timeout": "100ms", "connect-timeout": "100ms"});
    let (topic, _, _) = read_all(vec![mute, Reply::stream("data: a\n\n")], section).await;
    assert_eq!(topic.values(), ["a"]);
}

#[tokio::test]
async fn the_server_sets_the_reconnection_time() {
    let started = Instant::now();
    let replies = vec![
        Reply::stream("retry: 600\n\ndata: a\n\n"),
        Reply::stream("data: b\n\n"),
    ];
    let (topic, _, _) = read_all(replies, json!({})).await;
    assert_eq!(topic.values(), ["a", "b"]);
    // It counts after both connections.
    assert!(
        started.elapsed() >= Duration::from_millis(1200),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(topic.token()["retry_ms"], 600);
}

/// Requests of three lives of a second each to a server that answers with `body` and closes. The
/// position keeps its reconnection time.
async fn asked_within_three_seconds(body: &str, more: serde_json::Value) -> usize {
    let mut section = json!({"retry": {"initial": "100ms", "max": "1s"}});
    section
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let server = Server::start([Reply::stream(body)]).await;
    let topic = Topic::default();
    for _ in 0..3 {
        let (mut source, _) = with_tail(config(&server.url(), section.clone()), topic.clone());
        let second = tokio::time::sleep(Duration::from_secs(1));
        tokio::select! {
            () = second => {}
            ended = pump(&mut source, &topic, Until::End) => panic!("{ended:?}"),
        }
    }
    server.requests().len()
}

#[tokio::test]
async fn a_server_that_gives_nothing_is_not_asked_at_once() {
    for body in [
        "retry: 0\n\n",
        "retry: 0\n\nevent: error\ndata: {}\n\n",
        // Known already after the first time.
        "retry: 0\n\nid: 1\ndata: {\"id\":1}\n\n",
    ] {
        let asked = asked_within_three_seconds(body, json!({"dedupe": {"id": "/id"}})).await;
        assert!((4..200).contains(&asked), "{asked} times after {body:?}");
    }
}

#[tokio::test]
async fn a_server_that_gives_events_says_when_to_come_again() {
    let replies: Vec<_> = (1..20)
        .map(|n| Reply::stream(format!("retry: 0\n\nid: {n}\ndata: a\n\n")))
        .collect();
    let started = Instant::now();
    let section = json!({"retry": {"initial": "1m", "max": "1m"}});
    let (topic, _, _) = read_all(replies, section).await;
    assert_eq!(topic.len(), 19);
    let took = started.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test]
async fn an_id_that_no_header_can_hold_is_not_sent() {
    let replies = vec![Reply::stream("id: 1\ndata: a\n\nid: 2\u{1}\ndata: b\n\n")];
    let (topic, _, server) = read_all(replies, json!({})).await;
    assert_eq!(topic.values(), ["a", "b"]);
    assert_eq!(header(&server.requests()[1], "last-event-id"), Some("1"));
}

#[tokio::test]
async fn ids_without_events_move_the_position() {
    let replies = vec![
        Reply::stream("id: 1\ndata: a\n\nid: 9\n\n"),
        Reply::stream(":ok\n\n"),
    ];
    let (_, _, server) = read_all(replies, json!({})).await;
    let requests = server.requests();
    assert_eq!(header(&requests[1], "last-event-id"), Some("9"));
    assert_eq!(
        header(&requests[2], "last-event-id"),
        Some("9"),
        "an empty connection keeps it"
    );
}
