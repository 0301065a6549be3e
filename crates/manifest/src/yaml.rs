//! YAML text to the value tree: `saphyr-parser` events, our composer.
//!
//! Composed here and not by a YAML library because every key needs its place, equal keys must be
//! told with both places, and what aliases expand to must be bounded.

use std::collections::{BTreeMap, HashMap};

use saphyr_parser::{Event, Parser, ScalarStyle, Span as YamlSpan, Tag};

use crate::scalar;
use crate::source::Span;
use crate::tree::{Entry, Filled, Map, Node, Value};

/// Nesting beyond this is refused: no manifest needs it, and recursion over the tree stays safe.
pub(crate) const DEPTH_MAX: usize = 32;
/// Values in the tree, those that aliases repeat included. Bounds "billion laughs".
pub(crate) const NODES_MAX: usize = 50_000;
/// Text that aliases may repeat, in bytes.
const ALIAS_BYTES_MAX: usize = 1 << 20;
/// A manifest beyond this is not one.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// Something that is wrong with the YAML itself.
#[derive(Debug)]
pub(crate) struct YamlError {
    pub(crate) span: Span,
    pub(crate) message: String,
    pub(crate) secondary: Option<(Span, String)>,
    pub(crate) help: Vec<String>,
}

impl YamlError {
    pub(crate) fn new(span: Span, message: impl Into<String>) -> Self {
        Self {
            span,
            message: message.into(),
            secondary: None,
            help: Vec::new(),
        }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }
}

/// Parses one document of `source`. Equal keys and the like are collected and the rest of the tree
/// is still returned; after a syntax error there is no tree.
pub(crate) fn parse(source: usize, text: &str) -> (Option<Node>, Vec<YamlError>) {
    if text.len() > TEXT_BYTES_MAX {
        let span = Span::new(source, 0, 0);
        // Not how large: callers need not read all of what is too much.
        let message = format!("the file has more than {TEXT_BYTES_MAX} bytes");
        let error =
            YamlError::new(span, message).help("split the pipeline, or take out what is generated");
        return (None, vec![error]);
    }
    if let Some((at, c)) = text.char_indices().find(|(_, c)| !printable(*c)) {
        let span = Span::new(source, at, at + c.len_utf8());
        let message = format!(
            "the control character U+{:04X} cannot stand in YAML",
            u32::from(c)
        );
        let error = YamlError::new(span, message)
            .help("take it out, or write it as an escape in double quotes: \"\\x1b\"");
        return (None, vec![error]);
    }
    let mut composer = Composer {
        source,
        offsets: offsets(text),
        text,
        stack: Vec::new(),
        root: None,
        anchors: HashMap::new(),
        nodes: 0,
        alias_bytes: 0,
        errors: Vec::new(),
    };
    match composer.run() {
        Ok(()) => (composer.root, composer.errors),
        Err(error) => {
            composer.errors.push(error);
            (None, composer.errors)
        }
    }
}

/// YAML 1.2, 5.1: what a document may hold. The scanner lets more through.
fn printable(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' | '\u{85}' => true,
        '\u{fffe}' | '\u{ffff}' => false,
        c => !c.is_control(),
    }
}

/// Byte offset of each character: the parser counts characters. Empty for ASCII, where they agree.
fn offsets(text: &str) -> Vec<usize> {
    if text.is_ascii() {
        return Vec::new();
    }
    text.char_indices().map(|(at, _)| at).collect()
}

/// The first tab that indents a line after the one of byte `at`; one in a blank line means nothing.
fn indenting_tab(text: &str, at: usize) -> Option<usize> {
    let mut start = at;
    for line in text.get(at..)?.split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        if start > at
            && indent < line.len()
            && let Some(tab) = line[..indent].find('\t')
        {
            return Some(start + tab);
        }
        start += line.len();
    }
    None
}

/// A collection that is not closed yet.
enum Open {
    List {
        items: Vec<Node>,
        span: Span,
        anchor: usize,
    },
    Map {
        map: Map,
        /// A key that waits for its value; `None` inside for a key that was refused.
        key: Option<Option<(String, Span)>>,
        /// Where each key was first, so that equal ones are found in one step.
        seen: BTreeMap<String, Span>,
        span: Span,
        anchor: usize,
    },
}

struct Composer<'a> {
    source: usize,
    text: &'a str,
    offsets: Vec<usize>,
    stack: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, (Node, Size)>,
    nodes: usize,
    alias_bytes: usize,
    errors: Vec<YamlError>,
}

/// What a repeat of a node costs.
#[derive(Clone, Copy, Default)]
struct Size {
    nodes: usize,
    bytes: usize,
    depth: usize,
}

impl Composer<'_> {
    fn run(&mut self) -> Result<(), YamlError> {
        let mut documents = 0;
        for event in Parser::new_from_str(self.text) {
            let (event, span) = event.map_err(|error| self.syntax(&error))?;
            let span = self.span(span);
            match event {
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        return Err(YamlError::new(span, "a second document starts here").help(
                            "a manifest is one document: put the other into a file of its own",
                        ));
                    }
                }
                Event::Scalar(text, style, anchor, tag) => {
                    self.scalar(&text, style, anchor, tag.as_deref(), span)?;
                }
                Event::SequenceStart(anchor, tag) => {
                    self.tag(tag.as_deref(), &["seq"], span);
                    self.open(
                        Open::List {
                            items: Vec::new(),
                            span,
                            anchor,
                        },
                        span,
                    )?;
                }
                Event::MappingStart(anchor, tag) => {
                    self.tag(tag.as_deref(), &["map"], span);
                    let flow = self.text[span.start..].starts_with('{');
                    let map = Map {
                        flow,
                        ..Map::default()
                    };
                    let (key, seen) = (None, BTreeMap::new());
                    self.open(
                        Open::Map {
                            map,
                            key,
                            seen,
                            span,
                            anchor,
                        },
                        span,
                    )?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.close(span)?,
                Event::Alias(anchor) => self.alias(anchor, span)?,
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            }
        }
        Ok(())
    }

    fn byte(&self, chars: usize) -> usize {
        if self.offsets.is_empty() {
            return chars.min(self.text.len());
        }
        self.offsets.get(chars).copied().unwrap_or(self.text.len())
    }

    fn span(&self, span: YamlSpan) -> Span {
        let (start, end) = (self.byte(span.start.index()), self.byte(span.end.index()));
        let text = self.text.get(start..end).unwrap_or_default();
        Span::new(self.source, start, start + text.trim_end().len())
    }

    fn syntax(&self, error: &saphyr_parser::ScanError) -> YamlError {
        let mut at = self.byte(error.marker().index());
        // That place is the start of the text that the tab's line would go on with.
        if error.info().contains("found a tab") {
            at = indenting_tab(self.text, at).unwrap_or(at);
        }
        crate::syntax::explain(self.source, self.text, at, error.info())
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        span: Span,
    ) -> Result<(), YamlError> {
        self.count(span, 1)?;
        self.tag(tag, &["str", "int", "float", "bool", "null"], span);
        let core = tag.filter(|tag| tag.is_yaml_core_schema());
        let value = match core.map(|tag| tag.suffix.as_str()) {
            Some("str") => Value::Text(Filled::plain(text)),
            Some(_) => scalar::resolve(text),
            None if style == ScalarStyle::Plain && tag.is_none() => scalar::resolve(text),
            None => Value::Text(Filled::plain(text)),
        };
        let size = Size {
            nodes: 1,
            bytes: text.len(),
            depth: 0,
        };
        // A key keeps its text: `142: x` has the key "142".
        if let Some(Open::Map {
            key: key @ None,
            seen,
            ..
        }) = self.stack.last_mut()
        {
            if text.is_empty() && style == ScalarStyle::Plain && span.start == span.end {
                self.errors.push(
                    YamlError::new(span, "a value without a key")
                        .help("write the key before the colon"),
                );
                *key = Some(None);
                return Ok(());
            }
            let node = Node {
                value: Value::Text(Filled::plain(text)),
                span,
            };
            if let Some(first) = seen.get(text) {
                self.errors.push(YamlError {
                    span,
                    message: format!("the key `{text}` is here twice"),
                    secondary: Some((*first, "first here".to_owned())),
                    help: vec!["keep one of the two, or give one another name".to_owned()],
                });
                *key = Some(None);
            } else {
                seen.insert(text.to_owned(), span);
                *key = Some(Some((text.to_owned(), span)));
            }
            if anchor > 0 {
                self.anchors.insert(anchor, (node, size));
            }
            return Ok(());
        }
        self.place(Node { value, span }, anchor, size)
    }

    /// Only tags of the core schema mean something here.
    fn tag(&mut self, tag: Option<&Tag>, known: &[&str], span: Span) {
        let Some(tag) = tag else { return };
        if !tag.is_yaml_core_schema() || !known.contains(&tag.suffix.as_str()) {
            self.errors.push(
                YamlError::new(span, format!("the tag `{tag}` means nothing here"))
                    .help("leave the tag out; quote the value if it starts with `!`"),
            );
        }
    }

    fn count(&mut self, span: Span, nodes: usize) -> Result<(), YamlError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODES_MAX {
            return Err(YamlError::new(
                span,
                format!("more than {NODES_MAX} values, repeats by aliases included"),
            )
            .help("leave out aliases of aliases"));
        }
        Ok(())
    }

    fn open(&mut self, open: Open, span: Span) -> Result<(), YamlError> {
        self.count(span, 1)?;
        if self.stack.len() >= DEPTH_MAX {
            return Err(
                YamlError::new(span, format!("nested more than {DEPTH_MAX} deep"))
                    .help("flatten it: no key of a manifest is that deep"),
            );
        }
        if let Some(Open::Map { key: None, .. }) = self.stack.last() {
            // `{{value}}`: a mapping as a key.
            let what = "a key must be text, not a list or a mapping";
            return Err(crate::syntax::explain(
                self.source,
                self.text,
                span.start,
                what,
            ));
        }
        self.stack.push(open);
        Ok(())
    }

    fn close(&mut self, end: Span) -> Result<(), YamlError> {
        let (value, span, anchor) = match self.stack.pop() {
            None => return Ok(()),
            Some(Open::List {
                items,
                span,
                anchor,
            }) => (Value::List(items), span, anchor),
            Some(Open::Map {
                map, span, anchor, ..
            }) => (Value::Map(map), span, anchor),
        };
        let end = self.text.get(span.start..end.end).unwrap_or_default();
        let span = Span::new(self.source, span.start, span.start + end.trim_end().len());
        let node = Node { value, span };
        let size = if anchor > 0 {
            size(&node)
        } else {
            Size::default()
        };
        self.place(node, anchor, size)
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), YamlError> {
        let Some((node, size)) = self.anchors.get(&anchor) else {
            return Err(YamlError::new(span, "an alias inside what it stands for")
                .help("write the value out"));
        };
        let (mut node, size) = (node.clone(), *size);
        self.count(span, size.nodes)?;
        self.alias_bytes = self.alias_bytes.saturating_add(size.bytes);
        if self.alias_bytes > ALIAS_BYTES_MAX {
            let message = format!("aliases repeat more than {ALIAS_BYTES_MAX} bytes of text");
            return Err(YamlError::new(span, message).help("write short values out"));
        }
        if self.stack.len() + size.depth > DEPTH_MAX {
            return Err(
                YamlError::new(span, format!("nested more than {DEPTH_MAX} deep"))
                    .help("flatten it: no key of a manifest is that deep"),
            );
        }
        if let Some(Open::Map {
            key: key @ None, ..
        }) = self.stack.last_mut()
        {
            self.errors
                .push(YamlError::new(span, "an alias as a key").help("write the key out"));
            *key = Some(None);
            return Ok(());
        }
        node.span = span;
        self.place(node, 0, Size::default())
    }

    fn place(&mut self, node: Node, anchor: usize, size: Size) -> Result<(), YamlError> {
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), size));
        }
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { map, key, .. }) => {
                if let Some(Some((key, key_span))) = key.take() {
                    map.entries.push(Entry {
                        key,
                        key_span,
                        node,
                    });
                }
            }
        }
        Ok(())
    }
}

/// Depth is bounded by [`DEPTH_MAX`], so this recursion is too.
fn size(node: &Node) -> Size {
    let children: Vec<(usize, Size)> = match &node.value {
        Value::List(items) => items.iter().map(|item| (0, size(item))).collect(),
        Value::Map(map) => map
            .entries
            .iter()
            .map(|entry| (entry.key.len(), size(&entry.node)))
            .collect(),
        Value::Text(text) => {
            return Size {
                nodes: 1,
                bytes: text.text.len(),
                depth: 0,
            };
        }
        _ => {
            return Size {
                nodes: 1,
                bytes: 8,
                depth: 0,
            };
        }
    };
    children.into_iter().fold(
        Size {
            nodes: 1,
            bytes: 0,
            depth: 1,
        },
        |sum, (key, child)| Size {
            nodes: sum.nodes + child.nodes,
            bytes: sum.bytes + key + child.bytes,
            depth: sum.depth.max(child.depth + 1),
        },
    )
}
