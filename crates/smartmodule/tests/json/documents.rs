//! Documents written down, each of them whole, cut off everywhere, and with each byte changed.

use crate::check;

const PATHS: [&str; 9] = [
    "type",
    "/type",
    "/meta/domain",
    "/length/0",
    "/a/b/c",
    "/",
    "/0",
    "1",
    "/x/01",
];

/// Traps of real and of re-serialised events.
pub(crate) const DOCUMENTS: [&str; 44] = [
    r#"{"$schema":"/mediawiki/recentchange/1.0.0","meta":{"domain":"en.wikipedia.org","offset":4000000001},"id":1,"type":"edit","bot":false,"length":{"old":1,"new":null}}"#,
    r#"{"log_type":"block","log_params":{"type":"nested","a":[{"type":1}]},"type":"log"}"#,
    r#"{"type":"new","x":1,"type":"edit"}"#,
    r#"{"type":"new","type":null}"#,
    r#"{"meta":{"domain":"a"},"meta":{"domain":"b","domain":"c"},"meta":7}"#,
    r#"{"\u0074ype":"edit","type\u0000":1}"#,
    r#"{"type":"caf\u00e9 \ud83d\ude00\n\"\/\b\f\r\t\\"}"#,
    r#"{"type":"café 😀 日本語 \u65e5"}"#,
    r#"{"\ud800":1,"type":"edit"}"#,
    r#"{"type":"\ud800"}"#,
    r#"{"type":"\ud800\n"}"#,
    r#"{"type":"\ud800x"}"#,
    r#"{"type":"\ud800\ud800"}"#,
    r#"{"type":"\udc00"}"#,
    r#"{"x":"\ud800","type":"edit"}"#,
    r#"{"meta":{"\ud800":1,"domain":"d"}}"#,
    r#"{"type":"\u00zz"}"#,
    r#"{"type":"\u12"}"#,
    r#"{"x":"\q","type":1}"#,
    r#"{"comment":"\"type\":\"fake\"","type":"edit","b":"}"}"#,
    r#" { "type" : [ 1 , { } , [ ] , "x" ] , "a" : { "b" : { "c" : 1e5 } } } "#,
    "\t\r\n{\n\"type\"\n:\n\"edit\"\n,\n\"x\"\n:\nnul\n}\n",
    r#"{"type":-0,"a":-1.5e+300,"b":0.0E-0,"c":123456789012345678901234567890}"#,
    r#"{"a":01}"#,
    r#"{"a":1.}"#,
    r#"{"a":.5}"#,
    r#"{"a":1e}"#,
    r#"{"a":+1}"#,
    r#"{"a":-}"#,
    r#"{"a":[1,2,]}"#,
    r#"{"a":{"b":1,}}"#,
    r#"{"a":1,}"#,
    r#"{"a":[}"#,
    r#"{"a":{]}"#,
    r#"{"a" 1}"#,
    r#"{a:1}"#,
    r#"{"a":true,"b":false,"c":null,"d":tru}"#,
    r#"{"a":1}{"#,
    r#"["edit",{"type":1}]"#,
    r#"[]"#,
    r#"{}"#,
    r#""type""#,
    "-12.5e3",
    "{\"type\":\"a\u{1}b\",\"x\":\"\u{7f}\u{80}\"}",
];

#[test]
fn whole() {
    for json in DOCUMENTS {
        for path in PATHS {
            check(path, json.as_bytes());
        }
    }
}

#[test]
fn cut_off_everywhere() {
    for json in DOCUMENTS {
        for end in 0..json.len() {
            check("type", &json.as_bytes()[..end]);
            check("/meta/domain", &json.as_bytes()[..end]);
        }
    }
}

#[test]
fn with_each_byte_changed() {
    for json in DOCUMENTS {
        for at in 0..json.len() {
            let mut bytes = json.as_bytes().to_vec();
            for byte in *b"\0\x1f\n \"\\{}[]:,0-.eu\x7f\x80\xc3\xe2\xed\xf0\xff" {
                bytes[at] = byte;
                check("type", &bytes);
            }
        }
    }
}

/// Strings begin, end and break at every place relative to the 16-byte blocks.
#[test]
fn at_every_alignment() {
    for pad in 0..40 {
        for filling in ["", "x", "é", "\\n", "\\u00e9", "\u{1}", "\\", "\u{fffd}"] {
            let before = " ".repeat(pad);
            for len in 0..40 {
                let text = "y".repeat(len);
                let json =
                    format!(r#"{before}{{"k":"{text}{filling}z","type":"{text}{filling}"}}"#);
                check("type", json.as_bytes());
            }
        }
    }
}

#[test]
fn depth_is_bounded_by_nothing_but_the_document() {
    for deep in [1, 63, 64, 65, 127, 128, 129, 100_000] {
        let (open, close) = ("[".repeat(deep), "]".repeat(deep));
        check(
            "type",
            format!(r#"{{"x":{open}{close},"type":"edit"}}"#).as_bytes(),
        );
        check(
            "type",
            format!(r#"{{"x":{open}{close}],"type":"edit"}}"#).as_bytes(),
        );
        check("type", format!(r#"{{"x":{open}"#).as_bytes());
        let objects = r#"{"a":"#.repeat(deep);
        let mixed = format!("{objects}1{}", "}".repeat(deep));
        check("/a/a", mixed.as_bytes());
        check("/a/a", &mixed.as_bytes()[..mixed.len() - 1]);
    }
}

/// Bad UTF-8 is told before anything else, wherever it is.
#[test]
fn bad_utf8_everywhere() {
    let json = r#"{"type":"edit","comment":"some text that is longer than a block","x":[nul]}"#;
    for json in [json.to_owned(), json.replace("nul", "null")] {
        for at in 0..=json.len() {
            for bad in [
                &b"\xff"[..],
                b"\xc3",
                b"\xed\xa0\x80",
                b"\xf4\x90\x80\x80",
                b"\xc0\xaf",
            ] {
                let mut bytes = json.clone().into_bytes();
                bytes.splice(at..at, bad.iter().copied());
                check("type", &bytes);
            }
        }
    }
}
