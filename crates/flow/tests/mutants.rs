//! Broken on purpose: the simulation sees each mistake, and for the right reason.
#![allow(clippy::panic, clippy::print_stdout)]

use gristmill_flow_testing::sim::{Mutant, Profile, run};

/// Find `mutant` within `seeds` schedules of `profile`, by a violation that says one of `why`.
#[track_caller]
fn caught(mutant: Mutant, profile: &Profile, seeds: u64, why: &[&str]) {
    let found = (0..seeds).find_map(|seed| run(profile, Some(mutant), seed).err());
    let Some(failure) = found else {
        panic!("{mutant:?} survives {seeds} schedules of {}", profile.name);
    };
    println!(
        "{mutant:?}: seed {} of {}: {}",
        failure.seed, profile.name, failure.violation
    );
    assert!(
        why.iter().any(|why| failure.violation.contains(why)),
        "{mutant:?} was seen for another reason: {failure}"
    );
    // It is the mutant that was seen, and not the product.
    if let Err(failure) = run(profile, None, failure.seed) {
        panic!("{failure}");
    }
}

/// The sink's two steps: a crash between them loses the batch.
#[test]
fn position_before_effect() {
    let why = ["counts and position apart", "position ahead of effect"];
    caught(Mutant::PositionBeforeEffect, &Profile::CRASHES, 10, &why);
}

/// A zombie's batch, or a late request, is counted on top of its owner's.
#[test]
fn no_offset_check() {
    let why = ["counts and position apart", "went back"];
    caught(Mutant::NoOffsetCheck, &Profile::ZOMBIES, 50, &why);
}

/// A crash between position and letters loses the letters.
#[test]
fn letters_after_position() {
    caught(
        Mutant::LettersAfterPosition,
        &Profile::CRASHES,
        50,
        &["the dead letter of"],
    );
}

/// The first write was applied, its reply lost.
#[test]
fn retried_batch_twice() {
    let why = ["counts and position apart", "doubled"];
    caught(Mutant::RetriedBatchTwice, &Profile::CRASHES, 50, &why);
}

/// What a rewind brings again is written again.
#[test]
fn no_dedupe() {
    caught(Mutant::NoDedupe, &Profile::INEXACT, 50, &["doubled"]);
}

/// Events whose timestamps ran behind are skipped.
#[test]
fn no_rewind() {
    caught(Mutant::NoRewind, &Profile::INEXACT, 50, &["is lost"]);
}

/// Two copies of the source write the same events.
#[test]
fn no_fence() {
    caught(
        Mutant::NoFence,
        &Profile::ZOMBIES,
        50,
        &["doubled", "went back"],
    );
}

/// Records of aborted transactions are counted.
#[test]
fn read_uncommitted() {
    let why = ["counts and position apart", "a dead letter of"];
    caught(Mutant::ReadUncommitted, &Profile::CRASHES, 100, &why);
}

/// A batch from the middle is taken for the first one of an emptied store.
#[test]
fn blind_to_flush() {
    caught(
        Mutant::BlindToFlush,
        &Profile::STORE_LOSSES,
        100,
        &["counts and position apart"],
    );
}

/// Letters that were written before a crash are written again after it.
#[test]
fn forgets_letters() {
    caught(Mutant::ForgetsLetters, &Profile::CRASHES, 100, &["doubled"]);
}

/// A record that the store refuses late, or only when it counts again, is neither counted nor a
/// letter.
#[test]
fn letters_by_offset() {
    let why = ["the dead letter of", "counts and position apart"];
    caught(Mutant::LettersByOffset, &Profile::STORE_LOSSES, 100, &why);
}

/// Nobody adds a mutant without a test.
#[test]
fn every_mutant_is_hunted() {
    assert_eq!(Mutant::ALL.len(), 11, "add a test for the new one here");
}
