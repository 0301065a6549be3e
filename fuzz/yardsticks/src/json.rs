//! RFC 8259 and RFC 6901, as they are written: one document into a tree, a pointer into the tree.

/// A value; numbers and literals keep their text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json<'a> {
    Null,
    Bool(&'a str),
    Number(&'a str),
    String(Text),
    Array(Vec<Member<'a>>),
    Object(Vec<(Text, Member<'a>)>),
}

/// A value and its text in the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member<'a> {
    pub raw: &'a str,
    pub value: Json<'a>,
}

/// A string's content; `None` if an escape names half of a surrogate pair, which the grammar
/// allows though it stands for no text.
pub type Text = Option<String>;

/// One document, nothing around it but white space.
pub fn parse(text: &str) -> Option<Member<'_>> {
    let mut parser = Parser { text, at: 0 };
    parser.space();
    let value = parser.value()?;
    parser.space();
    (parser.at == text.len()).then_some(value)
}

impl<'a> Member<'a> {
    /// What the tokens of a pointer lead to; the last of repeated names counts.
    pub fn get(&self, tokens: &[String]) -> Option<&Member<'a>> {
        let Some((token, rest)) = tokens.split_first() else {
            return Some(self);
        };
        let member = match &self.value {
            Json::Object(members) => members
                .iter()
                .rev()
                .find(|(name, _)| name.as_ref() == Some(token))
                .map(|(_, member)| member)?,
            Json::Array(items) => {
                let canonical = token == "0"
                    || (token.bytes().all(|byte| byte.is_ascii_digit())
                        && !token.is_empty()
                        && !token.starts_with('0'));
                items.get(token.parse::<usize>().ok().filter(|_| canonical)?)?
            }
            _ => return None,
        };
        member.get(rest)
    }

    /// Whether any name or string of it names half of a surrogate pair.
    pub fn has_half_a_pair(&self) -> bool {
        match &self.value {
            Json::String(text) => text.is_none(),
            Json::Array(items) => items.iter().any(Member::has_half_a_pair),
            Json::Object(members) => members
                .iter()
                .any(|(name, member)| name.is_none() || member.has_half_a_pair()),
            _ => false,
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let is_it = self.peek() == Some(byte);
        self.at += usize::from(is_it);
        is_it
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Option<Member<'a>> {
        let start = self.at;
        let value = match self.peek()? {
            b'"' => Json::String(self.string()?),
            b'[' => Json::Array(self.array()?),
            b'{' => Json::Object(self.object()?),
            b'-' | b'0'..=b'9' => Json::Number(self.number()?),
            _ => {
                let rest = &self.text[start..];
                let literal = ["null", "true", "false"]
                    .into_iter()
                    .find(|literal| rest.starts_with(literal))?;
                self.at += literal.len();
                match literal {
                    "null" => Json::Null,
                    _ => Json::Bool(&self.text[start..self.at]),
                }
            }
        };
        Some(Member {
            raw: &self.text[start..self.at],
            value,
        })
    }

    fn array(&mut self) -> Option<Vec<Member<'a>>> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.eat(b']') {
            return Some(items);
        }
        loop {
            self.space();
            items.push(self.value()?);
            self.space();
            if self.eat(b']') {
                return Some(items);
            }
            if !self.eat(b',') {
                return None;
            }
        }
    }

    fn object(&mut self) -> Option<Vec<(Text, Member<'a>)>> {
        self.at += 1;
        let mut members = Vec::new();
        self.space();
        if self.eat(b'}') {
            return Some(members);
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return None;
            }
            let name = self.string()?;
            self.space();
            if !self.eat(b':') {
                return None;
            }
            self.space();
            members.push((name, self.value()?));
            self.space();
            if self.eat(b'}') {
                return Some(members);
            }
            if !self.eat(b',') {
                return None;
            }
        }
    }

    fn number(&mut self) -> Option<&'a str> {
        let start = self.at;
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _ = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        Some(&self.text[start..self.at])
    }

    /// One or more.
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn string(&mut self) -> Option<Text> {
        self.at += 1;
        // UTF-16, as the escapes are meant.
        let mut units: Vec<u16> = Vec::new();
        loop {
            let c = self.text[self.at..].chars().next()?;
            self.at += c.len_utf8();
            match c {
                '"' => return Some(String::from_utf16(&units).ok()),
                '\0'..='\u{1f}' => return None,
                '\\' => units.push(self.escape()?),
                c => units.extend_from_slice(c.encode_utf16(&mut [0; 2])),
            }
        }
    }

    fn escape(&mut self) -> Option<u16> {
        let byte = self.peek()?;
        self.at += 1;
        Some(match byte {
            b'"' | b'\\' | b'/' => u16::from(byte),
            b'b' => 8,
            b'f' => 12,
            b'n' => 10,
            b'r' => 13,
            b't' => 9,
            b'u' => {
                let digits = self.text.get(self.at..self.at + 4)?;
                if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return None;
                }
                self.at += 4;
                u16::from_str_radix(digits, 16).ok()?
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_grammar_has_and_has_not() {
        for good in [
            "0",
            "-0",
            "1.5e+3",
            " [ ] ",
            "{}",
            r#"{"a":1,"a":2}"#,
            r#""\u00e9\ud83d\ude00\/""#,
            r#""\ud800""#,
            "1e999",
            "null",
            "true",
        ] {
            assert!(parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "01",
            "1.",
            "+1",
            "1e",
            ".5",
            "[1,]",
            "{,}",
            "{a:1}",
            r#"{"a"}"#,
            "\"\t\"",
            r#""\x""#,
            r#""\u12g4""#,
            "nul",
            "1 2",
            "\u{feff}1",
            "[",
            "\"",
            r#""\u+123""#,
            "\u{a0}1",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn pointers() {
        let text = r#"{"a":[1,{"":"x"}],"a/b":null,"k":1,"k":{"z":true}}"#;
        let json = parse(text).unwrap();
        let get = |tokens: &[&str]| {
            let tokens: Vec<String> = tokens.iter().map(|t| (*t).to_owned()).collect();
            json.get(&tokens).map(|member| member.raw)
        };
        assert_eq!(get(&["a", "1", ""]), Some("\"x\""));
        assert_eq!(get(&["a", "01"]), None);
        assert_eq!(get(&["a", "+1"]), None);
        assert_eq!(get(&["a/b"]), Some("null"));
        assert_eq!(get(&["k"]), Some(r#"{"z":true}"#));
        assert_eq!(get(&[]), Some(text));
    }
}
