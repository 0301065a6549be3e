//! Products that are broken on purpose.

/// One mistake that the simulation must see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// The sink stores the position, then the effect.
    PositionBeforeEffect,
    /// The store takes any batch, wherever it starts.
    NoOffsetCheck,
    /// Dead letters are written when the position has passed them.
    LettersAfterPosition,
    /// A write whose outcome is unknown is simply done again.
    RetriedBatchTwice,
    /// What a rewound stream brings again is taken for new.
    NoDedupe,
    /// An inexact stream is resumed at the last event's timestamp.
    NoRewind,
    /// The broker lets old copies of a writer go on.
    NoFence,
    /// The reader sees records of open and aborted transactions.
    ReadUncommitted,
    /// A store without a position takes any batch for the lane's first.
    BlindToFlush,
    /// What is written of a lane's dead letters is not asked for again after a crash.
    ForgetsLetters,
    /// Of a lane's dead letters only the newest one's offset is kept.
    LettersByOffset,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::PositionBeforeEffect,
        Self::NoOffsetCheck,
        Self::LettersAfterPosition,
        Self::RetriedBatchTwice,
        Self::NoDedupe,
        Self::NoRewind,
        Self::NoFence,
        Self::ReadUncommitted,
        Self::BlindToFlush,
        Self::ForgetsLetters,
        Self::LettersByOffset,
    ];
}
