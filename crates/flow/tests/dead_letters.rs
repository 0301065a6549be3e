//! What [`LaneDeadLetters`] makes of a writer that another consumer took over.

use std::future::ready;

use gristmill_flow::{DeadLetters, LaneDeadLetters, Sink, SinkError};
use gristmill_record::{Batch, Lane, Position, Positions, Reject};

/// Another copy opened the same writer.
struct TakenOver;

impl Sink for TakenOver {
    async fn positions(&mut self, _lanes: &[Lane]) -> Result<Positions, SinkError> {
        Ok(Positions::new())
    }

    async fn write(&mut self, _batch: &Batch) -> Result<(), SinkError> {
        Err(SinkError::Fenced("another copy took over".to_owned()))
    }
}

/// A rebalance takes one lane; the leg goes on with its others, and with this one where the sink
/// says, if it is still ours.
#[tokio::test]
async fn a_lane_that_was_taken_over_is_no_end_of_the_leg() {
    let mut opened = 0;
    let mut letters = LaneDeadLetters::new(|_lane| {
        opened += 1;
        ready(Ok(TakenOver))
    });
    let lane = Lane::new("edits", 1);
    let mut batch = Batch::empty(lane.clone(), Some(Position::Offset(4)), Position::Offset(5));
    batch.rejects.push(Reject {
        offset: 4,
        timestamp_ms: 0,
        key: None,
        value: b"{".to_vec(),
        stage: "extract-type".to_owned(),
        reason: "malformed".to_owned(),
    });
    for _ in 0..2 {
        let error = letters.write(&batch).await.expect_err("fenced");
        let SinkError::Misaligned {
            lane: taken,
            reason,
            ..
        } = &error
        else {
            panic!("the leg would end with {error:?}");
        };
        assert_eq!(*taken, lane);
        assert!(reason.contains("another copy took over"), "{reason}");
    }
    drop(letters);
    assert_eq!(opened, 2, "only a fresh writer can go on");
}
