//! What a record carries so that its event is known again where a transform has had the value.

use std::borrow::Cow;

use crate::dedupe::Identity;

const OWN_ID: &str = "id";
const CONTENT: &str = "content";

/// An event as deduplication knows it, apart from what its record keeps anyway.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mark<'a> {
    pub(crate) identity: Identity,
    /// Whether the identity is the event's own id, unique for ever.
    pub(crate) own_id: bool,
    /// The event's ordinal in the stream: a transform may make several records of one event, and
    /// two equal events are two. `None` where the record is the event.
    pub(crate) ordinal: Option<i64>,
    /// Topic and partition that the event came through.
    pub(crate) origin: Option<(Cow<'a, str>, i64)>,
}

impl<'a> Mark<'a> {
    /// As a header's value: `id:HASH:ORDINAL:TOPIC/PARTITION`, `content:…`, without an origin
    /// `…:ORDINAL:`.
    pub(crate) fn print(&self) -> String {
        let kind = if self.own_id { OWN_ID } else { CONTENT };
        let hash = self.identity.print();
        let ordinal = self.ordinal.unwrap_or_default();
        match &self.origin {
            Some((topic, partition)) => format!("{kind}:{hash}:{ordinal}:{topic}/{partition}"),
            None => format!("{kind}:{hash}:{ordinal}:"),
        }
    }

    /// `None` if it is none of ours.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(4, ':');
        let own_id = match parts.next()? {
            OWN_ID => true,
            CONTENT => false,
            _ => return None,
        };
        let identity = Identity::parse(parts.next()?)?;
        let ordinal = parts.next()?.parse().ok()?;
        let origin = match parts.next()? {
            "" => None,
            origin => {
                let (topic, partition) = origin.rsplit_once('/')?;
                Some((Cow::Borrowed(topic), partition.parse().ok()?))
            }
        };
        Some(Self {
            identity,
            own_id,
            ordinal: Some(ordinal),
            origin,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_survive_their_text() {
        for (own_id, origin) in [
            (true, None),
            (false, Some(("eqiad.rc".into(), 0))),
            (true, Some(("a:b/c é".into(), -1))),
            (false, Some(("".into(), 7))),
        ] {
            let mark = Mark {
                identity: Identity::of_id("x"),
                own_id,
                ordinal: Some(9),
                origin,
            };
            let text = mark.print();
            assert_eq!(Mark::parse(&text), Some(mark), "{text}");
        }
    }

    #[test]
    fn anything_else_is_none() {
        for text in [
            "",
            "id",
            "id:ff",
            "id:ff:1",
            "x:ff:1:",
            "id:no:1:",
            "id:ff:1:a",
        ] {
            assert_eq!(Mark::parse(text), None, "{text}");
        }
    }
}
