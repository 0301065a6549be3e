//! Diagnostics as text for a terminal.

use std::fmt::Write as _;

use crate::diagnostic::{Diagnostic, Label, Origin, Severity};

/// Longer lines are cut around the underlined part.
const LINE_CHARS_MAX: usize = 140;

struct Paint(bool);

impl Paint {
    fn wrap(&self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    fn severity(&self, severity: Severity, text: &str) -> String {
        let code = match severity {
            Severity::Error => "1;31",
            Severity::Warning => "1;33",
        };
        self.wrap(code, text)
    }

    fn gutter(&self, text: &str) -> String {
        self.wrap("1;34", text)
    }

    fn bold(&self, text: &str) -> String {
        self.wrap("1", text)
    }
}

/// One line of text with its control characters made visible: what a file or a stream holds must
/// not drive the terminal that shows it.
pub fn printable(text: &str) -> String {
    let visible = |c: char| match c {
        '\t' => ' ',
        '\u{7f}' => '\u{2421}',
        c if (c as u32) < 0x20 => char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}'),
        // C1 controls and the marks that reorder a line.
        '\u{80}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c => c,
    };
    text.chars().map(visible).collect()
}

/// `what`, or its plural unless there is one: `topic` and `topics`, `copy` and `copies`.
pub fn plural(n: u64, what: &str) -> String {
    if n == 1 {
        return what.to_owned();
    }
    match what.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ => format!("{what}s"),
    }
}

pub(crate) fn diagnostic(diagnostic: &Diagnostic, color: bool) -> String {
    let paint = Paint(color);
    let labels = std::iter::once(&diagnostic.primary).chain(&diagnostic.secondary);
    let gutter = labels
        .clone()
        .map(|label| match &label.origin {
            Origin::File { line, .. } => line.to_string().len(),
            Origin::Override => 0,
        })
        .max()
        .unwrap_or(0);
    let pad = " ".repeat(gutter);
    let mut out = format!(
        "{}{}\n",
        paint.severity(diagnostic.severity, &diagnostic.severity.to_string()),
        paint.bold(&format!(": {}", printable(&diagnostic.message)))
    );
    for (index, label) in labels.enumerate() {
        let arrow = if index == 0 { "-->" } else { ":::" };
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{pad}{} {}",
            paint.gutter(arrow),
            match &label.origin {
                Origin::File { .. } => printable(&label.to_string()),
                Origin::Override => "the command line".to_owned(),
            }
        );
        snippet(&mut out, label, &pad, &paint, diagnostic.severity, index);
    }
    for help in &diagnostic.help {
        let _ = writeln!(
            out,
            "{pad} {} {} {}",
            paint.gutter("="),
            paint.bold("help:"),
            printable(help)
        );
    }
    out
}

fn snippet(
    out: &mut String,
    label: &Label,
    pad: &str,
    paint: &Paint,
    severity: Severity,
    index: usize,
) {
    let bar = paint.gutter("|");
    let (number, prefix) = match &label.origin {
        Origin::File { line, .. } => (line.to_string(), ""),
        Origin::Override => (String::new(), "--set "),
    };
    let line = format!("{prefix}{}", printable(&masked(&label.text)));
    let start = prefix.len() + label.column - 1;
    let (line, start) = crop(&line, start);
    let lead: usize = line.chars().take(start).map(columns).sum();
    let marked = line.chars().skip(start).take(label.width).map(columns);
    let (mark, carets) = if index == 0 { ("^", 1) } else { ("-", 1) };
    let carets = mark.repeat(marked.sum::<usize>().max(carets));
    let note = label.note.as_deref().map(printable).unwrap_or_default();
    let under = format!("{carets} {note}");
    let under = match index {
        0 => paint.severity(severity, under.trim_end()),
        _ => paint.gutter(under.trim_end()),
    };
    let _ = writeln!(out, "{pad} {bar}");
    let number = paint.gutter(&format!("{number:>width$}", width = pad.len()));
    let _ = writeln!(out, "{}", format!("{number} {bar} {line}").trim_end());
    let _ = writeln!(out, "{pad} {bar} {}{under}", " ".repeat(lead));
}

/// What the keys of secrets end in.
const SECRET_KEYS: [&str; 6] = [
    "password",
    "passphrase",
    "secret",
    "token",
    "authorization",
    "cookie",
];

/// The line with what looks like a secret blacked out, character by character so that carets stay
/// where they are: a terminal's log outlives the mistake that it shows. A `${{ … }}` is none yet.
pub(crate) fn masked(line: &str) -> String {
    let mut chars: Vec<char> = line.chars().collect();
    let mut word = String::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        at += 1;
        let is_secret = SECRET_KEYS.iter().any(|key| word.ends_with(key));
        if matches!(c, ':' | '=') && is_secret {
            at = mask_value(&mut chars, at);
            word.clear();
        } else if c == ':' && chars[at..].starts_with(&['/', '/']) {
            mask_user(&mut chars, at + 2);
        } else if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') {
            word.extend(c.to_lowercase());
        } else if !matches!(c, '"' | '\'') {
            word.clear();
        }
    }
    chars.into_iter().collect()
}

/// Black out the YAML scalar that begins at `from`; returns where it ends.
fn mask_value(chars: &mut [char], from: usize) -> usize {
    let blank = |c: &&char| c.is_whitespace();
    let start = from + chars[from..].iter().take_while(blank).count();
    let quote = chars
        .get(start)
        .filter(|c| matches!(c, '"' | '\''))
        .copied();
    let start = start + usize::from(quote.is_some());
    if chars[start..].starts_with(&['$', '{']) {
        return start;
    }
    let ends = |c: &char| match quote {
        Some(quote) => *c == quote,
        None => matches!(c, ',' | '}' | ']'),
    };
    let length = chars[start..].iter().position(ends);
    let end = length.map_or(chars.len(), |length| start + length);
    for c in &mut chars[start..end] {
        if !c.is_whitespace() {
            *c = '*';
        }
    }
    end
}

/// Black out the password of a URL whose authority begins at `from`.
fn mask_user(chars: &mut [char], from: usize) {
    let ends = |c: &char| matches!(c, '/' | '"' | '\'' | ',' | '}') || c.is_whitespace();
    let end = chars[from..].iter().position(ends);
    let end = end.map_or(chars.len(), |length| from + length);
    let authority = &mut chars[from..end];
    let Some(at) = authority.iter().rposition(|c| *c == '@') else {
        return;
    };
    let user = authority[..at].iter().take_while(|c| **c != ':').count();
    let password = &mut authority[(user + 1).min(at)..at];
    if !password.starts_with(&['$', '{']) {
        password.fill('*');
    }
}

/// A window of the line around `start` (a character index), and where `start` is in it.
fn crop(line: &str, start: usize) -> (String, usize) {
    let chars: Vec<char> = line.chars().collect();
    if chars.len() <= LINE_CHARS_MAX {
        return (line.to_owned(), start);
    }
    let from = start.saturating_sub(LINE_CHARS_MAX / 3);
    let to = (from + LINE_CHARS_MAX).min(chars.len());
    let (head, tail) = (from > 0, to < chars.len());
    let mut text = String::new();
    if head {
        text.push('…');
    }
    text.extend(&chars[from.min(to)..to]);
    if tail {
        text.push('…');
    }
    (text, start - from + usize::from(head))
}

/// How many terminal columns a character takes, well enough to place a caret.
fn columns(c: char) -> usize {
    match u32::from(c) {
        0x0300..=0x036f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

pub(crate) fn all(diagnostics: &[Diagnostic], color: bool) -> String {
    let mut out = String::new();
    for each in diagnostics {
        out.push_str(&diagnostic(each, color));
        out.push('\n');
    }
    let count = |severity| {
        let of = diagnostics.iter().filter(|d| d.severity == severity);
        let n = of.count();
        (n > 0).then(|| format!("{n} {severity}{}", if n == 1 { "" } else { "s" }))
    };
    let counts: Vec<String> = [count(Severity::Error), count(Severity::Warning)]
        .into_iter()
        .flatten()
        .collect();
    out.push_str(&counts.join(", "));
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_never_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\n\u{202e}"), "a␛[31mb␊\u{fffd}");
    }

    #[test]
    fn secrets_are_blacked_out_in_place() {
        for (line, shown) in [
            ("  password: hunter2", "  password: *******"),
            (
                "sasl: {username: me, password: 'a, b', mechanism: plain}",
                "sasl: {username: me, password: '** *', mechanism: plain}",
            ),
            (
                "ssl.key-password: x, other: y",
                "ssl.key-password: *, other: y",
            ),
            ("{\"sasl.password\": \"z\"}", "{\"sasl.password\": \"*\"}"),
            (
                "password: \"${{ secrets.PW }}\"",
                "password: \"${{ secrets.PW }}\"",
            ),
            ("url: redis://me:pw@h:1/0", "url: redis://me:**@h:1/0"),
            (
                "url: redis://:${{ secrets.X }}@h",
                "url: redis://:${{ secrets.X }}@h",
            ),
            (
                "headers: {Authorization: Bearer abc}",
                "headers: {Authorization: ****** ***}",
            ),
            ("kafka.sasl.password=é語", "kafka.sasl.password=**"),
            ("password:", "password:"),
            (
                "passwords: shown, url: redis://h:1/a@b",
                "passwords: shown, url: redis://h:1/a@b",
            ),
        ] {
            assert_eq!(masked(line), shown);
            assert_eq!(masked(line).chars().count(), line.chars().count());
        }
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let line = format!("{}X{}", "a".repeat(500), "b".repeat(500));
        let (cut, at) = crop(&line, 500);
        assert_eq!(cut.chars().nth(at), Some('X'));
        assert!(cut.chars().count() <= LINE_CHARS_MAX + 2);
    }

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!("a語😀".chars().map(columns).sum::<usize>(), 5);
    }
}
