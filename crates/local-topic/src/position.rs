//! Positions as bytes.

use gristmill_record::Position;

/// A tag, then the offset or the token's text.
pub(crate) fn encode(position: &Position) -> Vec<u8> {
    match position {
        Position::Offset(offset) => [&[0], &offset.to_le_bytes()[..]].concat(),
        Position::Token(token) => [&[1], token.as_bytes()].concat(),
    }
}

pub(crate) fn decode(bytes: &[u8]) -> Option<Position> {
    match bytes.split_first()? {
        (0, offset) => Some(Position::Offset(i64::from_le_bytes(
            offset.try_into().ok()?,
        ))),
        (1, token) => Some(Position::Token(std::str::from_utf8(token).ok()?.into())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_survive() {
        for position in [
            Position::Offset(i64::MIN),
            Position::Offset(7),
            Position::Token("".into()),
            Position::Token("{\"id\":\"ü\"}".into()),
        ] {
            assert_eq!(decode(&encode(&position)), Some(position));
        }
        for bad in [&[][..], &[0, 1], &[1, 0xff], &[2]] {
            assert_eq!(decode(bad), None);
        }
    }
}
