//! The table of SSE parsing cases, from socket to record.

use base64::prelude::*;
use gristmill_flow::Source;
use gristmill_sse_source::header;
use serde_json::{Value, json};

use crate::harness::{Reply, read_all};

#[tokio::test]
async fn all_cases_of_the_table_become_records() {
    let table: Value = serde_json::from_str(include_str!("../sse_cases.json")).unwrap();
    let cases = table["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 26);
    for case in cases {
        let bytes = BASE64_STANDARD
            .decode(case["bytes_b64"].as_str().unwrap())
            .unwrap();
        let mut bytewise = Reply::stream("");
        bytewise.chunks = bytes.iter().map(|byte| vec![*byte]).collect();
        for reply in [Reply::stream(bytes), bytewise] {
            let (topic, _, _) = read_all(vec![reply], json!({})).await;
            let topic = topic.0.lock().unwrap();
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let events: Vec<Value> = topic
                .records
                .iter()
                .map(|record| {
                    json!({
                        "type": text(record.headers.get(header::EVENT).unwrap()),
                        "data": text(record.value),
                        "lastEventId": text(record.headers.get(header::ID).unwrap()),
                    })
                })
                .collect();
            assert_eq!(
                Value::from(events),
                case["expected_events"],
                "{}",
                case["name"]
            );
            if let Some(batch) = topic.batches.last() {
                let token: Value = serde_json::from_str(&batch.next.to_string()).unwrap();
                let retry = token.get("retry_ms").cloned().unwrap_or_default();
                let expect = case.get("expected_retry_ms").cloned().unwrap_or_default();
                assert_eq!(retry, expect, "{}", case["name"]);
            }
        }
    }
}

#[tokio::test]
async fn a_source_is_cancel_safe() {
    let body: String = (0..500)
        .map(|n| format!("id: {n}\ndata: {n}\n\n"))
        .collect();
    let server = crate::harness::Server::start([Reply::stream(body).hold()]).await;
    let section = json!({"batch": {"records": 7, "linger": "1ms", "linger-max": "1ms"}});
    let (mut source, _) = crate::harness::source(crate::harness::config(&server.url(), section));
    let topic = crate::harness::Topic::default();
    crate::harness::pump(&mut source, &topic, crate::harness::Until::Holds(7))
        .await
        .unwrap();
    // Calls that are dropped at any point between two batches lose none.
    while topic.len() < 500 {
        let brief = std::time::Duration::from_micros(fastrand::u64(0..300));
        if let Ok(event) = tokio::time::timeout(brief, source.next()).await {
            match event.unwrap() {
                gristmill_flow::SourceEvent::Batch(batch) => topic.write(batch),
                other => panic!("{other:?}"),
            }
        }
    }
    let expect: Vec<String> = (0..500).map(|n| n.to_string()).collect();
    assert_eq!(topic.values(), expect);
}
