//! Invented text: no person, page or place of these lists exists as such.
//!
//! Phrases are fragments of a JSON string as they go on the wire, escapes included, so that filling
//! a comment is a copy. Words and names are plain text, escaped where they are written.

/// A wiki: its database name and its host.
pub(super) struct Wiki {
    pub(super) name: &'static str,
    pub(super) host: &'static str,
}

/// Wikis with the weight that they have among each other, in percent.
pub(super) const WIKIS: &[(u32, Wiki)] = &[
    (
        38,
        Wiki {
            name: "commonswiki",
            host: "commons.wikimedia.org",
        },
    ),
    (
        27,
        Wiki {
            name: "wikidatawiki",
            host: "www.wikidata.org",
        },
    ),
    (
        13,
        Wiki {
            name: "enwiki",
            host: "en.wikipedia.org",
        },
    ),
    (
        5,
        Wiki {
            name: "dewiki",
            host: "de.wikipedia.org",
        },
    ),
    (
        4,
        Wiki {
            name: "frwiki",
            host: "fr.wikipedia.org",
        },
    ),
    (
        3,
        Wiki {
            name: "jawiki",
            host: "ja.wikipedia.org",
        },
    ),
    (
        3,
        Wiki {
            name: "arwiki",
            host: "ar.wikipedia.org",
        },
    ),
    (
        3,
        Wiki {
            name: "ruwiki",
            host: "ru.wikipedia.org",
        },
    ),
    (
        2,
        Wiki {
            name: "enwiktionary",
            host: "en.wiktionary.org",
        },
    ),
    (
        2,
        Wiki {
            name: "metawiki",
            host: "meta.wikimedia.org",
        },
    ),
];

/// Namespace number and title prefix of pages that are edited.
pub(super) const NAMESPACES: &[(u32, &str)] = &[
    (0, ""),
    (0, ""),
    (0, ""),
    (0, ""),
    (1, "Talk:"),
    (2, "User:"),
    (4, "Project:"),
    (6, "File:"),
    (10, "Template:"),
];

/// First halves of titles.
pub(super) const TITLE_HEADS: &[&str] = &[
    "Millstone",
    "Granary",
    "Old Weir",
    "Harvest",
    "Sluice Gate",
    "Barley",
    "Quarry",
    "Lantern",
    "Harbour",
    "Causeway",
    "Bellows",
    "Paper Lantern",
    "Tidal Mill",
    "Copper Kettle",
    "Windlass",
    "Rye Field",
    "Stone Bridge",
    "Chaff & Grain",
    "What is Flour?",
    "Ferry \"Osprey\"",
    "50% Bran",
    "Mühlenbach",
    "Élévateur à grains",
    "Žitné pole",
    "Зерновой склад",
    "Мельница",
    "水車小屋",
    "穀物倉庫",
    "방앗간",
    "طاحونة الماء",
    "טחנת קמח",
    "चक्की",
    "Cafe\u{301} Windrad",
    "🌾 Harvest",
];

/// Second halves of titles.
pub(super) const TITLE_TAILS: &[&str] = &[
    "",
    " (station)",
    " Festival",
    " River",
    " at Dawn",
    " in Winter",
    " (album)",
    " No. 7",
    " Railway",
    " County",
    " 1907",
    " 1911.jpg",
    " Museum",
    " Trail",
    " (disambiguation)",
];

/// User names, completed by a number.
pub(super) const USERS: &[&str] = &[
    "QuietHeron",
    "Mill Keeper ",
    "RyeAndOats",
    "Lantern-Bearer",
    "Sluice.Warden",
    "Barleycorn_",
    "Kornblume ",
    "Étoile du moulin ",
    "Рожь",
    "風車",
    "حبة قمح ",
    "Grain\"Sifter\"",
    "FlourPower🌾",
];

/// Names of bots.
pub(super) const BOTS: &[&str] = &[
    "GristSortBot",
    "WeirCleanerBot",
    "ChaffBot",
    "CategoryMillBot",
    "HopperBot",
];

/// Phrases of comments, most of them ASCII as in the field.
pub(super) const PHRASES: &[&str] = &[
    "fixed a link to the weir",
    "copyedit",
    "added a reference",
    "see talk page",
    "reverted",
    "updated the harvest figures",
    "clean up after the merge",
    "moved the section on mills",
    "typo",
    "sources for the second paragraph",
    "image of the old granary",
    "per discussion",
    "short description",
    "category sorted",
    "template parameters renamed",
    "stub sorting",
    "coordinates of the bridge",
    "new section",
    "interwiki",
    "population of the county, 1907",
    "one sentence less",
    "style",
    "date format",
    "table of opening hours",
    "no longer in use",
    "language link",
    "wbsetclaim-create:2||1",
    "property P31 set",
    "the river's upper course",
    "batch 7 of 12",
    "upload of scans",
    "better crop",
    "licence review",
    "archived the thread",
];

/// Phrases that a parser must survive: escapes, other scripts, text that looks like fields.
pub(super) const ODD_PHRASES: &[&str] = &[
    r#"the \"old\" weir"#,
    r"C:\\mill\\grain",
    r"caf\u00e9 at the lock",
    r"harvest \ud83d\ude00",
    r"\/* History *\/ dates",
    r"first line\nsecond line",
    r"column\tcolumn",
    r#"{\"type\":\"decoy\"}"#,
    r#"\"type\":\"edit\","#,
    r"nul \u0000 and bell \u0007",
    "水車の写真を追加",
    "穀物倉庫の歴史を整理",
    "방앗간 문서 정리",
    "إضافة مصدر عن الطاحونة",
    "\u{200f}תיקון קישור\u{200e} (mill)",
    "चक्की का चित्र जोड़ा",
    "правка раздела о мельнице",
    "🌾🚜 👩\u{200d}🌾 harvest time 🇺🇳",
    "Cafe\u{301} and nai\u{308}ve, combining",
    "line\u{2028}separator",
    "data: not a field",
    "}{][",
];

/// Pieces of a parsed comment: rendered wikitext, quotes escaped.
pub(super) const MARKUP: &[&str] = &[
    r#"<a href=\"/wiki/Millstone\" title=\"Millstone\">Millstone</a>"#,
    r#"<span class=\"autocomment\">History: </span>"#,
    r#"<span dir=\"auto\">copyedit</span>"#,
    r#"<a href=\"/wiki/Special:MyLanguage/Help\" class=\"mw-redirect\">help</a>"#,
    "&quot;granary&quot;",
    "<i>weir</i>",
];

/// `log_type`, `log_action` and `log_params` of log events: every shape that the field has seen,
/// with nested keys named `type` that are not the event's.
pub(super) const LOGS: &[(&str, &str, &str)] = &[
    (
        "delete",
        "restore",
        r#"{"count":{"revisions":3,"files":0}}"#,
    ),
    (
        "block",
        "block",
        r#"{"duration":"31 hours","flags":["anononly","nocreate"],"sitewide":true}"#,
    ),
    (
        "patrol",
        "patrol",
        r#"{"curid":71624001,"previd":0,"auto":0}"#,
    ),
    (
        "upload",
        "upload",
        r#"{"img_sha1":"0gristmill0example0","img_timestamp":"20260101000000"}"#,
    ),
    (
        "move",
        "move",
        r#"{"target":"Granary \"East\"","noredir":"0","type":"decoy"}"#,
    ),
    (
        "abusefilter",
        "hit",
        r#"{"action":"edit","filter":"7","actions":"","log":1001}"#,
    ),
    ("newusers", "create", r#"{"userid":70000001}"#),
    ("newusers", "autocreate", "[]"),
    ("thanks", "thank", r#"[]"#),
    ("delete", "delete", r#"["",{"type":"edit"},["type","new"]]"#),
    (
        "renameuser",
        "renameuser",
        r#"{"olduser":"Mill Keeper 1","newuser":"Mill Keeper 2","edits":4}"#,
    ),
    ("massmessage", "send", r#""""#),
    (
        "pagetranslation",
        "mark",
        r#""a:1:{s:4:\"type\";s:5:\"decoy\";}""#,
    ),
    ("import", "interwiki", r#""Mill\nWeir\n\u00e9""#),
    (
        "rights",
        "rights",
        r#"{"oldgroups":[],"newgroups":["autoreview"],"metadata":[{"type":{"type":[{"type":"deep"}]}}]}"#,
    ),
    (
        "tag",
        "update",
        r#"{"type":"new","tagsAdded":["mobile edit"],"tagsRemoved":[],"initialTags":null,"n":1.5e3,"ok":false}"#,
    ),
];
