//! Where the sinks that count stand, partition by partition: stored with the counts, by either of them.

use gristmill_flow::SinkError;
use gristmill_record::{Batch, Lane, Position, Positions};
use redb::{ReadableDatabase, ReadableTable, TableDefinition};

use crate::writer::fatal;
use crate::{LocalError, LocalLog};

/// Pipeline/connector, topic, partition.
type Place<'a> = (&'a str, &'a str, i32);

/// Place → next offset.
pub(crate) const OFFSETS: TableDefinition<Place<'static>, i64> = TableDefinition::new("offsets");

/// What is stored of `lanes` for `id`.
pub(crate) fn positions(log: &LocalLog, id: &str, lanes: &[Lane]) -> Result<Positions, SinkError> {
    let read = || -> Result<_, redb::Error> {
        let txn = log.counts_db().begin_read()?;
        let table = txn.open_table(OFFSETS)?;
        let mut positions = Positions::new();
        for lane in lanes {
            if let Some(next) = table.get((id, &*lane.topic, lane.partition))? {
                positions.insert(lane.clone(), Position::Offset(next.value()));
            }
        }
        Ok(positions)
    };
    read().map_err(|error| fatal(LocalError::storage(log.dir())(error)))
}

/// First and next offset of a batch.
pub(crate) fn bounds(batch: &Batch) -> Result<(Option<i64>, i64), SinkError> {
    match (&batch.from, &batch.next) {
        (None, Position::Offset(next)) => Ok((None, *next)),
        (Some(Position::Offset(from)), Position::Offset(next)) => Ok((Some(*from), *next)),
        _ => Err(SinkError::Fatal(format!(
            "{}: positions are no offsets; count from a topic, not from a stream",
            batch.lane
        ))),
    }
}

/// The stored offset, if a batch that starts at `from` does not start there.
pub(crate) fn elsewhere(
    offsets: &impl ReadableTable<Place<'static>, i64>,
    place: Place<'_>,
    from: Option<i64>,
) -> Result<Option<i64>, redb::Error> {
    let stored = offsets.get(place)?.map(|stored| stored.value());
    Ok(stored.filter(|stored| from != Some(*stored)))
}

/// What becomes of that batch.
pub(crate) fn misaligned(batch: &Batch, stored: i64) -> SinkError {
    SinkError::Misaligned {
        lane: batch.lane.clone(),
        stored: Some(Position::Offset(stored)),
        reason: "another copy of this connector went on".to_owned(),
    }
}
