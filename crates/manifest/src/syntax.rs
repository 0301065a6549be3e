//! YAML syntax errors in plain words: the scanner's own say what it expected, not what to do.

use crate::source::Span;
use crate::yaml::YamlError;

/// What the scanner's error at byte `at` most likely means.
pub(crate) fn explain(source: usize, text: &str, at: usize, info: &str) -> YamlError {
    let at = at.min(text.len());
    let (start, line) = line_at(text, at);
    if let Some(error) = line_mistake(source, start, line) {
        return error;
    }
    // An error is often noticed one line late.
    if let Some(before) = start.checked_sub(1) {
        let (start, line) = line_at(text, before);
        if let Some(error) = line_mistake(source, start, line) {
            return error;
        }
    }
    let point = Span::new(source, at, at + 1);
    if info.contains("quoted scalar") && info.contains("end of stream") {
        return YamlError::new(point, "this quote is never closed")
            .help("close it on its line; double quotes inside double quotes are written `\\\"`");
    }
    if info.contains("unknown anchor") {
        let alias = text[at..]
            .split(|c: char| c.is_whitespace() || ",[]{}".contains(c))
            .next();
        let alias = alias.unwrap_or_default();
        let name = alias.trim_start_matches('*');
        let span = Span::new(source, at, at + alias.len());
        return YamlError::new(
            span,
            format!("the alias `{alias}` stands for nothing: no `&{name}` before it"),
        )
        .help(format!("quote it if it is text: \"{alias}\""));
    }
    if let Some((open, bracket)) = open_bracket(&text[..floor(text, at)]) {
        let close = if bracket == '[' { ']' } else { '}' };
        if text[open..at].contains('\n') || at >= text.trim_end().len() {
            let span = Span::new(source, open, open + 1);
            return YamlError::new(span, format!("this `{bracket}` is never closed"))
                .help(format!("close it with `{close}`"));
        }
    }
    if at >= text.trim_end().len() {
        return YamlError::new(point, format!("the text ends too early: {info}"))
            .help("a quote, a bracket or a brace is still open: look for it above");
    }
    let error = YamlError::new(point, format!("not valid YAML: {info}"));
    if info.contains("mapping values are not allowed") {
        return error.help("a text that holds `: ` needs quotes; or a line is indented too far");
    }
    if info.contains("anchor") || info.contains("alias") {
        return error.help("a value that starts with `*` or `&` needs quotes");
    }
    if info.contains("unprintable") || info.contains("control") {
        return error
            .help("take the control character out, or write it as an escape in double quotes");
    }
    error.help("check the indentation of this line and the one before, and that every quote and bracket is closed")
}

fn line_at(text: &str, at: usize) -> (usize, &str) {
    let start = text[..floor(text, at)].rfind('\n').map_or(0, |at| at + 1);
    let end = text[start..]
        .find('\n')
        .map_or(text.len(), |len| start + len);
    (start, text[start..end].trim_end_matches('\r'))
}

/// The innermost bracket or brace that is still open at the end of `text`.
fn open_bracket(text: &str) -> Option<(usize, char)> {
    let mut open = Vec::new();
    let mut quote = None;
    let mut before = '\n';
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (Some('"'), '\\') => {
                chars.next();
            }
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            // Within a plain scalar these are text.
            (None, '"' | '\'') if !before.is_alphanumeric() => quote = Some(c),
            (None, '#') if before.is_whitespace() => {
                chars.by_ref().find(|(_, c)| *c == '\n');
            }
            (None, '[' | '{') if before.is_whitespace() || "[{,".contains(before) => {
                open.push((at, c));
            }
            (None, ']' | '}') => {
                open.pop();
            }
            _ => {}
        }
        before = c;
    }
    open.pop()
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Mistakes that a line shows by itself.
fn line_mistake(source: usize, start: usize, line: &str) -> Option<YamlError> {
    let indent = line.len() - line.trim_start().len();
    if let Some(tab) = line[..indent].find('\t') {
        let span = Span::new(source, start + tab, start + tab + 1);
        return Some(
            YamlError::new(span, "a tab in the indentation").help("YAML indents with spaces only"),
        );
    }
    let (at, value) = value_of(line)?;
    let span = Span::new(source, start + at, start + at + value.len());
    let quoted = format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
    let quote =
        |message: String| Some(YamlError::new(span, message).help(format!("quote it: {quoted}")));
    let first = value.chars().next()?;
    if value.starts_with("{{") || (first == '{' && !balanced(value)) {
        return quote(format!(
            "unquoted braces: YAML reads `{value}` as a mapping"
        ));
    }
    if matches!(first, '@' | '`' | '%') {
        return quote(format!(
            "a value cannot start with `{first}` unless it is quoted"
        ));
    }
    if value.contains("${{") && matches!(first, '{' | '[') {
        return Some(
            YamlError::new(span, "an unquoted `${{ … }}` inside brackets or braces")
                .help("quote the text that holds it: \"${{ secrets.NAME }}\""),
        );
    }
    if !matches!(
        first,
        '{' | '[' | '"' | '\'' | '|' | '>' | '&' | '*' | '!' | '#'
    ) && value.contains(": ")
    {
        return quote(format!("`{value}` holds `: ` and is not quoted"));
    }
    None
}

/// The value of a line `key: value`, comment and list dash aside, and its byte offset.
fn value_of(line: &str) -> Option<(usize, &str)> {
    let colon = line.find(": ")?;
    let rest = &line[colon + 2..];
    let at = colon + 2 + (rest.len() - rest.trim_start().len());
    let value = &line[at..];
    let value = value
        .find(" #")
        .map_or(value, |end| &value[..end])
        .trim_end();
    (!value.is_empty()).then_some((at, value))
}

/// `{…}` that closes exactly at its end.
fn balanced(value: &str) -> bool {
    let mut depth = 0_i32;
    for (at, c) in value.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1 == value.len();
        }
    }
    false
}
