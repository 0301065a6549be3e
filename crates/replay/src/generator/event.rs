//! The JSON of one event, key by key in wire order.

use fastrand::Rng;

use super::{
    TOPIC,
    text::{Comment, Title, pick, push_json, put, write_page_url, write_time, write_uuid},
    words::{BOTS, LOGS, USERS, WIKIS, Wiki},
};

/// Bytes of `data` that 0, 50, 90, 97, 99 and 100 % of all events stay within, as measured.
/// Comments are filled up to a size drawn from here.
const SIZE_QUANTILES: [(u32, u32); 6] = [
    (0, 780),
    (5_000, 1_018),
    (9_000, 1_165),
    (9_700, 1_420),
    (9_900, 2_226),
    (10_000, 3_205),
];
/// From the end of the comment to the end of the event without the parsed comment, on average.
const TAIL_BYTES: usize = 330;

/// What an event is, as far as its keys go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Edit,
    Categorize,
    Log,
    New,
    External,
    /// A type that no schema lists and that the field has all the same.
    Number,
    Untyped,
    Canary,
    Malformed,
}

/// Where and when an event stands in the stream.
pub(super) struct Moment {
    pub(super) index: u64,
    pub(super) offset: u64,
    pub(super) timestamp_ms: i64,
    pub(super) unique: u64,
}

impl Kind {
    /// By the mix of one capture: edit 63, categorize 30, log 5, new 2 %, the others in traces.
    pub(super) fn draw(rng: &mut Rng) -> Self {
        match rng.u32(..10_000) {
            0..6_280 => Self::Edit,
            6_280..9_270 => Self::Categorize,
            9_270..9_770 => Self::Log,
            9_770..9_965 => Self::New,
            9_965..9_980 => Self::External,
            9_980..9_990 => Self::Number,
            _ => Self::Untyped,
        }
    }

    pub(super) fn event_type(self) -> Option<&'static str> {
        match self {
            Self::Edit => Some("edit"),
            Self::Categorize => Some("categorize"),
            Self::Log => Some("log"),
            Self::New => Some("new"),
            Self::External => Some("external"),
            Self::Number => Some("142"),
            Self::Untyped | Self::Canary | Self::Malformed => None,
        }
    }
}

/// Appends the event to `out`, which is empty.
pub(super) fn write(out: &mut String, rng: &mut Rng, kind: Kind, moment: &Moment) {
    match kind {
        Kind::Canary => write_canary(out, rng, moment),
        Kind::Malformed => {
            write_change(out, rng, Kind::Edit, moment);
            spoil(out, rng);
        }
        _ => write_change(out, rng, kind, moment),
    }
}

fn write_change(out: &mut String, rng: &mut Rng, kind: Kind, moment: &Moment) {
    let size = draw_size(rng);
    let wiki = draw_wiki(rng);
    let title = Title::draw(rng, kind);
    let log = pick(rng, LOGS);
    // Some producers write keys in an order of their own: a scanner must not take `log_type` or a
    // nested `type` for the real one.
    let type_last = kind == Kind::Log && rng.u32(..40) == 0;

    write_meta(out, rng, moment, wiki, &title);
    if kind != Kind::Log || rng.bool() {
        put(
            out,
            format_args!(r#","id":{}"#, 1_700_000_000 + moment.index),
        );
    }
    if !type_last {
        write_type(out, kind);
    }
    put(
        out,
        format_args!(r#","namespace":{},"title":""#, title.namespace),
    );
    title.write_json(out);
    out.push_str(r#"","title_url":"#);
    write_page_url(out, wiki, &title);
    let comment = Comment::draw(rng);
    out.push_str(r#","comment":""#);
    let room = size.saturating_sub(out.len() + TAIL_BYTES);
    comment.write(out, rng, room * 2 / 5);
    put(
        out,
        format_args!(r#"","timestamp":{}"#, moment.timestamp_ms.div_euclid(1000)),
    );
    let bot = rng.u32(..100) < 40;
    let user_missing = rng.u32(..if kind == Kind::Log { 40 } else { 1_500 }) == 0;
    if !user_missing {
        write_user(out, rng, bot);
    }
    put(out, format_args!(r#","bot":{bot}"#));
    match kind {
        Kind::Log => {
            let (log_type, log_action, log_params) = log;
            put(
                out,
                format_args!(r#","log_id":{}"#, 150_000_000 + moment.index),
            );
            put(
                out,
                format_args!(r#","log_type":"{log_type}","log_action":"{log_action}""#),
            );
            put(
                out,
                format_args!(r#","log_params":{log_params},"log_action_comment":""#),
            );
            title.write_json(out);
            out.push('"');
        }
        Kind::Categorize | Kind::External => {}
        _ => write_revision(out, rng, kind, moment),
    }
    if type_last {
        write_type(out, kind);
    }
    put(
        out,
        format_args!(
            r#","server_url":"https://{0}","server_name":"{0}""#,
            wiki.host
        ),
    );
    put(
        out,
        format_args!(r#","server_script_path":"/w","wiki":"{}""#, wiki.name),
    );
    out.push_str(r#","parsedcomment":""#);
    let notify = kind != Kind::Log;
    let after = if notify { 80 + wiki.host.len() } else { 2 };
    comment.write_parsed(out, rng, size.saturating_sub(out.len() + after));
    out.push('"');
    if notify {
        put(
            out,
            format_args!(r#","notify_url":"https://{}/w/index.php?"#, wiki.host),
        );
        let revision = 1_200_000_000 + moment.index;
        put(
            out,
            format_args!(
                r#"diff={revision}&oldid={}&rcid={}""#,
                revision - 7,
                moment.index
            ),
        );
    }
    out.push('}');
}

/// Sent by Wikimedia about hourly to test the stream itself.
fn write_canary(out: &mut String, rng: &mut Rng, moment: &Moment) {
    let wiki = Wiki {
        name: "canary",
        host: "canary",
    };
    let title = Title {
        namespace: 0,
        prefix: "",
        head: "Canary",
        tail: "",
    };
    write_meta(out, rng, moment, &wiki, &title);
    put(
        out,
        format_args!(r#","timestamp":{}"#, moment.timestamp_ms.div_euclid(1000)),
    );
    out.push_str(r#","comment":"canary event","bot":true}"#);
}

fn write_meta(out: &mut String, rng: &mut Rng, moment: &Moment, wiki: &Wiki, title: &Title) {
    out.push_str(r#"{"$schema":"/mediawiki/recentchange/1.0.0","meta":{"uri":"#);
    write_page_url(out, wiki, title);
    out.push_str(r#","request_id":""#);
    let (high, low) = (rng.u64(..), rng.u64(..));
    write_uuid(out, high, low);
    out.push_str(r#"","id":""#);
    // The version takes four bits of the first half: they move to the second, nothing is lost.
    write_uuid(
        out,
        moment.unique,
        (moment.unique >> 12 & 0xf) << 48 | rng.u64(..1 << 48),
    );
    out.push_str(r#"","dt":""#);
    write_time(out, moment.timestamp_ms);
    put(
        out,
        format_args!(
            r#"","domain":"{}","stream":"mediawiki.recentchange""#,
            wiki.host
        ),
    );
    put(
        out,
        format_args!(
            r#","topic":"{TOPIC}","partition":0,"offset":{}}}"#,
            moment.offset
        ),
    );
}

fn write_type(out: &mut String, kind: Kind) {
    if let Some(event_type) = kind.event_type() {
        put(out, format_args!(r#","type":"{event_type}""#));
    }
}

fn write_revision(out: &mut String, rng: &mut Rng, kind: Kind, moment: &Moment) {
    put(out, format_args!(r#","minor":{}"#, rng.bool()));
    if rng.u32(..4) != 0 {
        put(out, format_args!(r#","patrolled":{}"#, rng.bool()));
    }
    let (old, new) = (rng.u32(200..60_000), rng.u32(200..60_000));
    let revision = 1_200_000_000 + moment.index;
    if kind == Kind::New {
        put(
            out,
            format_args!(r#","length":{{"new":{new}}},"revision":{{"new":{revision}}}"#),
        );
    } else {
        put(
            out,
            format_args!(r#","length":{{"old":{old},"new":{new}}}"#),
        );
        put(
            out,
            format_args!(r#","revision":{{"old":{},"new":{revision}}}"#, revision - 7),
        );
    }
}

/// Registered names, bots, and addresses of the documentation ranges (RFC 5737, RFC 3849).
fn write_user(out: &mut String, rng: &mut Rng, bot: bool) {
    out.push_str(r#","user":""#);
    match rng.u32(..20) {
        _ if bot => out.push_str(pick(rng, BOTS)),
        0 => put(out, format_args!("192.0.2.{}", rng.u8(1..255))),
        1 => put(
            out,
            format_args!("2001:DB8:0:{:X}:0:0:0:{:X}", rng.u16(1..), rng.u16(1..)),
        ),
        _ => {
            push_json(out, pick(rng, USERS));
            put(out, format_args!("{}", rng.u32(1..10_000)));
        }
    }
    out.push('"');
}

/// Makes `out` something other than JSON, without ever adding a line end.
fn spoil(out: &mut String, rng: &mut Rng) {
    match rng.u32(..4) {
        0 => {
            let mut half = out.len() / 2;
            while !out.is_char_boundary(half) {
                half -= 1;
            }
            out.truncate(half);
        }
        1 => out.push('}'),
        2 => out.insert(1, ','),
        _ => {
            out.clear();
            out.push_str("upstream connect error or disconnect/reset before headers");
        }
    }
}

fn draw_size(rng: &mut Rng) -> usize {
    let at = rng.u32(..10_000);
    let upper = SIZE_QUANTILES
        .iter()
        .position(|&(share, _)| at < share)
        .unwrap_or(1)
        .max(1);
    let ((from, low), (to, high)) = (SIZE_QUANTILES[upper - 1], SIZE_QUANTILES[upper]);
    (low + (high - low) * (at - from) / (to - from)) as usize
}

fn draw_wiki(rng: &mut Rng) -> &'static Wiki {
    let mut left = rng.u32(..100);
    for (weight, wiki) in WIKIS {
        if left < *weight {
            return wiki;
        }
        left -= weight;
    }
    &WIKIS[0].1
}
