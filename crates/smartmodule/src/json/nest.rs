//! What encloses the current place: a bit a level, so that no document can exhaust the stack, and
//! none of ordinary depth allocates.

/// An object or an array that is not closed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    Object,
    List,
}

/// Levels that one word holds.
const WORD: usize = 64;

/// The open frames, innermost last.
#[derive(Debug, Default)]
pub(super) struct Nest {
    depth: usize,
    /// The innermost levels, the innermost in the lowest bit; 1 is an object.
    word: u64,
    /// Full words of the levels further out: an eighth of the document's length, at most.
    outer: Vec<u64>,
}

impl Nest {
    #[inline(always)]
    pub(super) fn push(&mut self, frame: Frame) {
        if self.depth.is_multiple_of(WORD) && self.depth > 0 {
            self.outer.push(self.word);
        }
        self.word = self.word << 1 | u64::from(frame == Frame::Object);
        self.depth += 1;
    }

    #[inline(always)]
    pub(super) fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.word >>= 1;
        if self.depth.is_multiple_of(WORD) {
            self.word = self.outer.pop().unwrap_or(0);
        }
    }

    #[inline(always)]
    pub(super) fn top(&self) -> Option<Frame> {
        match (self.depth, self.word & 1) {
            (0, _) => None,
            (_, 1) => Some(Frame::Object),
            _ => Some(Frame::List),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Frame, Nest};

    proptest! {
        #[test]
        fn as_a_plain_stack(
            steps in prop::collection::vec(
                prop_oneof![Just(Some(Frame::Object)), Just(Some(Frame::List)), Just(None)], 0..400,
            ),
            deep in 0..200_usize,
        ) {
            let mut plain = vec![Frame::List; deep];
            let mut nest = Nest::default();
            plain.iter().for_each(|frame| nest.push(*frame));
            for step in steps {
                match step {
                    Some(frame) => {
                        plain.push(frame);
                        nest.push(frame);
                    }
                    None if plain.is_empty() => {}
                    None => {
                        plain.pop();
                        nest.pop();
                    }
                }
                prop_assert_eq!(nest.top(), plain.last().copied());
            }
        }
    }
}
