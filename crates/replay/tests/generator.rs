//! What generated events are like: reproducible, valid, of the field's sizes, mix and oddities.

use std::{collections::HashSet, time::Duration};

use gristmill_replay::{Event, Generator, GeneratorOptions, Tally};
use serde_json::Value;

const EVENTS: usize = 20_000;

fn events() -> Vec<Event> {
    Generator::new(GeneratorOptions::default())
        .take(EVENTS)
        .collect()
}

fn parsed(events: &[Event]) -> Vec<Value> {
    let parse = |event: &Event| {
        serde_json::from_str(&event.data).unwrap_or_else(|error| panic!("{error}: {}", event.data))
    };
    events.iter().map(parse).collect()
}

fn as_measured() -> GeneratorOptions {
    GeneratorOptions {
        disorder: Duration::from_secs(15),
        ..GeneratorOptions::default()
    }
}

/// FNV-1a over ids and data: any byte that changes anywhere shows.
fn hash(options: GeneratorOptions, events: usize) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for event in Generator::new(options).take(events) {
        for byte in event
            .id
            .bytes()
            .chain([0])
            .chain(event.data.bytes())
            .chain([0])
        {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash
}

/// Runs on different machines and dates must compare, so these numbers change only on purpose, with
/// a line in the changelog.
#[test]
fn the_first_events_are_pinned() {
    assert_eq!(
        hash(GeneratorOptions::default(), 10_000),
        11_480_614_830_556_629_095,
        "in order"
    );
    assert_eq!(
        hash(as_measured(), 10_000),
        157_086_392_811_791_595,
        "out of order"
    );
}

#[test]
fn seeds_differ_and_seeking_changes_nothing() {
    let mut generator = Generator::new(as_measured());
    let straight: Vec<Event> = generator.by_ref().take(500).collect();
    for index in [0, 1, 250, 499] {
        generator.seek(index as u64);
        assert_eq!(generator.next().unwrap(), straight[index]);
    }
    let other = GeneratorOptions {
        seed: 1,
        ..as_measured()
    };
    let same = Generator::new(other)
        .take(500)
        .zip(&straight)
        .filter(|(a, b)| a.data == b.data);
    assert_eq!(same.count(), 0);
}

#[test]
fn sizes_are_those_measured() {
    let mut sizes: Vec<usize> = events().iter().map(|event| event.data.len()).collect();
    sizes.sort_unstable();
    let mean = sizes.iter().sum::<usize>() as f64 / sizes.len() as f64;
    let at = |share: f64| sizes[((sizes.len() - 1) as f64 * share) as usize] as f64;
    let near = |name: &str, is: f64, should: f64, tolerance: f64| {
        println!("{name} {is}, measured {should}");
        assert!(
            (is - should).abs() <= should * tolerance,
            "{name} is {is}, should be {should}"
        );
    };
    println!("min {} ", sizes[0]);
    near("mean", mean, 1_064.0, 0.03);
    near("p50", at(0.5), 1_030.0, 0.03);
    near("p99", at(0.99), 2_226.0, 0.05);
    near("max", at(1.0), 3_205.0, 0.03);
}

#[test]
fn the_mix_is_the_one_measured() {
    let tally = Tally::of(&GeneratorOptions::default(), EVENTS as u64);
    let share = |name: &str| tally.by_type[name] as f64 / EVENTS as f64;
    for (name, should) in [
        ("edit", 0.63),
        ("categorize", 0.30),
        ("log", 0.05),
        ("new", 0.02),
    ] {
        assert!(
            (share(name) - should).abs() < 0.01,
            "{name}: {}",
            share(name)
        );
    }
    assert!(tally.by_type["142"] > 0 && tally.by_type["external"] > 0 && tally.untyped > 0);
}

/// The tally is what a JSON parser finds, not what the generator believes.
#[test]
fn the_tally_agrees_with_the_data() {
    let options = GeneratorOptions {
        canary_every: Some(100),
        malformed_every: Some(150),
        ..GeneratorOptions::default()
    };
    let mut found = Tally::default();
    let mut said = Tally::default();
    for event in Generator::new(options.clone()).take(EVENTS) {
        said.add(&event);
        found.events += 1;
        match serde_json::from_str::<Value>(&event.data) {
            Err(_) => found.malformed += 1,
            Ok(value) if value["meta"]["domain"] == "canary" => {
                assert_eq!(value.get("type"), None);
                found.canaries += 1;
            }
            Ok(value) => match value.get("type") {
                None => found.untyped += 1,
                Some(name) => {
                    *found
                        .by_type
                        .entry(name.as_str().unwrap().to_owned())
                        .or_default() += 1;
                }
            },
        }
        assert!(
            !event.data.contains(['\n', '\r']),
            "one line: {}",
            event.data
        );
    }
    assert_eq!(found, said);
    assert_eq!(found, Tally::of(&options, EVENTS as u64));
    assert_eq!(found.malformed, EVENTS as u64 / 150);
    assert!(found.canaries > 100);
}

#[test]
fn meta_is_unique_consecutive_and_agrees_with_the_id() {
    let events = events();
    let mut ids = HashSet::new();
    let mut last = None;
    for (event, value) in events.iter().zip(parsed(&events)) {
        let meta = &value["meta"];
        assert!(
            ids.insert(meta["id"].as_str().unwrap().to_owned()),
            "{meta}"
        );
        assert_eq!(meta["id"].as_str().unwrap().len(), 36);
        assert_eq!(meta["topic"], "eqiad.mediawiki.recentchange");
        let offset = meta["offset"].as_u64().unwrap();
        assert!(last.is_none_or(|last| offset == last + 1), "{offset}");
        last = Some(offset);
        let dt: jiff::Timestamp = meta["dt"].as_str().unwrap().parse().unwrap();
        assert_eq!(dt.as_millisecond(), event.timestamp_ms);
        assert_eq!(value["timestamp"], event.timestamp_ms / 1000);
        let id: Value = serde_json::from_str(&event.id).unwrap();
        assert_eq!(id[0]["timestamp"], event.timestamp_ms + 1);
        assert_eq!(id[1]["offset"], -1);
    }
    assert!(events.is_sorted_by(|a, b| a.timestamp_ms < b.timestamp_ms));
}

#[test]
fn keys_come_in_wire_order() {
    const ORDER: [&str; 27] = [
        "$schema",
        "meta",
        "id",
        "type",
        "namespace",
        "title",
        "title_url",
        "comment",
        "timestamp",
        "user",
        "bot",
        "log_id",
        "log_type",
        "log_action",
        "log_params",
        "log_action_comment",
        "minor",
        "patrolled",
        "length",
        "revision",
        "server_url",
        "server_name",
        "server_script_path",
        "wiki",
        "parsedcomment",
        "notify_url",
        "",
    ];
    let mut type_behind_log_type = 0;
    for value in parsed(&events()) {
        let mut keys: Vec<&str> = value
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let place = |name: &str| ORDER.iter().position(|&key| key == name);
        assert!(keys.iter().all(|key| place(key).is_some()), "{keys:?}");
        if !keys.is_sorted_by_key(|key| place(key)) {
            keys.retain(|&key| key != "type");
            type_behind_log_type += 1;
        }
        assert!(keys.is_sorted_by_key(|key| place(key)), "{keys:?}");
    }
    assert!(
        (1..EVENTS / 100).contains(&type_behind_log_type),
        "{type_behind_log_type}"
    );
}

#[test]
fn every_oddity_occurs() {
    let events = events();
    let values = parsed(&events);
    let some = |what: &str, holds: &dyn Fn(&Value) -> bool| {
        assert!(values.iter().any(holds), "no event with {what}");
    };
    some("no user", &|it| it.get("user").is_none());
    some("an IPv4 user", &|it| {
        it["user"]
            .as_str()
            .is_some_and(|user| user.starts_with("192.0.2."))
    });
    some("an IPv6 user", &|it| {
        it["user"]
            .as_str()
            .is_some_and(|user| user.starts_with("2001:DB8"))
    });
    some("an object in log_params", &|it| {
        it["log_params"].is_object()
    });
    some("an empty array in log_params", &|it| {
        it["log_params"] == Value::Array(vec![])
    });
    some("a nested array in log_params", &|it| {
        it["log_params"][2][0] == "type"
    });
    some("an empty string in log_params", &|it| {
        it["log_params"] == ""
    });
    some("a decoy type", &|it| it["log_params"]["type"] == "decoy");
    some("a deep decoy", &|it| {
        it["log_params"]["metadata"][0]["type"]["type"][0]["type"] == "deep"
    });
    let logs: Vec<&Value> = values.iter().filter(|it| it["type"] == "log").collect();
    let without_id = logs.iter().filter(|it| it.get("id").is_none()).count() as f64;
    assert!(
        (without_id / logs.len() as f64 - 0.5).abs() < 0.1,
        "{without_id}"
    );
    assert!(
        values
            .iter()
            .all(|it| it["type"] == "log" || it.get("id").is_some())
    );

    for needle in [
        "\\\"",
        "\\\\",
        "\\u00e9",
        "\\ud83d\\ude00",
        "\\/",
        "\\n",
        "\\t",
        "\\u0000",
        "水車",
        "방앗간",
        "طاحونة",
        "🌾",
        "e\u{301}",
        "\u{200f}",
        "\u{2028}",
        "Z\",\"domain",
    ] {
        assert!(
            events.iter().any(|event| event.data.contains(needle)),
            "nowhere {needle:?}"
        );
    }
    let whole_second = events
        .iter()
        .filter(|event| event.timestamp_ms % 1000 == 0)
        .count();
    assert!(
        whole_second > 0 && whole_second < EVENTS,
        "dt with and without milliseconds"
    );
}

/// What was measured: 707 backward steps in 1,950 events; a client that resumes by its last id
/// alone loses 3.4 events and sees 51 again, on average; none is later than 15 s.
#[test]
fn disorder_is_the_one_measured() {
    let generator = Generator::new(as_measured());
    let times: Vec<i64> = generator
        .clone()
        .take(EVENTS)
        .map(|event| event.timestamp_ms)
        .collect();
    let steps = times.windows(2).filter(|pair| pair[1] < pair[0]).count() as f64 / EVENTS as f64;
    let mut latest = i64::MIN;
    let mut lateness_ms = 0;
    for &time in &times {
        latest = latest.max(time);
        lateness_ms = lateness_ms.max(latest - time);
    }
    let (mut lost, mut repeated) = (0, 0);
    let resumes = 1_000..EVENTS - 1_000;
    for index in resumes.clone() {
        let resumed = generator.first_at(times[index] + 1) as usize;
        let linear = times.iter().position(|&time| time > times[index]).unwrap();
        assert_eq!(resumed, linear, "first_at against a linear search");
        lost += resumed.saturating_sub(index + 1);
        repeated += (index + 1).saturating_sub(resumed);
    }
    let (lost, repeated) = (
        lost as f64 / resumes.len() as f64,
        repeated as f64 / resumes.len() as f64,
    );
    println!("backward {steps:.3}, lost {lost:.1}, repeated {repeated:.1}, late {lateness_ms} ms");
    assert!((10_000..=15_000).contains(&lateness_ms), "{lateness_ms}");
    assert!((0.32..0.40).contains(&steps), "{steps}");
    assert!((3.0..8.0).contains(&lost), "{lost}");
    assert!((40.0..60.0).contains(&repeated), "{repeated}");
}

#[test]
fn lookups_by_time_hold_at_the_edges() {
    let generator = Generator::new(GeneratorOptions::default());
    let start_ms = generator.options().start_ms;
    assert_eq!(generator.first_at(i64::MIN), 0);
    assert_eq!(generator.first_at(start_ms), 0);
    assert_eq!(generator.first_at(start_ms + 1), 1);
    assert!(generator.first_at(i64::MAX) > 1_000_000_000);
    assert_eq!(generator.last_with(start_ms + 25), Some(1));
    assert_eq!(generator.last_with(start_ms + 26), None);
    assert_eq!(generator.last_with(start_ms - 1), None);
}
