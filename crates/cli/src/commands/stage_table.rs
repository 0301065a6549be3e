//! The table of stages that `status` and `top` show: as many columns as there is room for, each of
//! them whole.

use gristmill_runner::{Quantiles, StageStatus};

use crate::output::{self, thousands};

/// Between two columns.
pub(super) const GAP: usize = 2;

/// A column of the table.
pub(super) struct Column {
    pub(super) head: &'static str,
    /// Numbers are on the right.
    pub(super) is_number: bool,
    /// Wide enough for what is usual: columns that move with every digit cannot be read.
    width_min: usize,
    /// The higher, the sooner it is left out.
    rank: u8,
    pub(super) text: fn(&StageStatus) -> String,
}

/// A column and what it takes.
pub(super) type Fitted = (&'static Column, usize);

/// In the order in which they are shown.
static COLUMNS: [Column; 10] = [
    Column {
        head: "stage",
        is_number: false,
        width_min: 0,
        rank: 0,
        text: |stage| stage.name.clone(),
    },
    Column {
        head: "way",
        is_number: false,
        width_min: 0,
        rank: 7,
        text: |stage| output::way(&stage.connector, &stage.topic, stage.is_source),
    },
    Column {
        head: "state",
        is_number: false,
        width_min: 7,
        rank: 1,
        text: |stage| stage.state.clone(),
    },
    Column {
        head: "in/s",
        is_number: true,
        width_min: 7,
        rank: 2,
        text: |stage| thousands(stage.rates.records_in.round() as i64),
    },
    Column {
        head: "out/s",
        is_number: true,
        width_min: 7,
        rank: 8,
        text: |stage| thousands(stage.rates.records_out.round() as i64),
    },
    Column {
        head: "records",
        is_number: true,
        width_min: 9,
        rank: 5,
        text: |stage| thousands(stage.records_in as i64),
    },
    Column {
        head: "lag",
        is_number: true,
        width_min: 7,
        rank: 3,
        text: |stage| match stage.is_source {
            true => String::new(),
            false => thousands(stage.lag_records()),
        },
    },
    Column {
        head: "p50",
        is_number: true,
        width_min: 7,
        rank: 9,
        text: |stage| latency(stage, |quantiles| quantiles.p50),
    },
    Column {
        head: "p99",
        is_number: true,
        width_min: 7,
        rank: 6,
        text: |stage| latency(stage, |quantiles| quantiles.p99),
    },
    Column {
        head: "rejected",
        is_number: true,
        width_min: 0,
        rank: 4,
        text: |stage| thousands(stage.rejected as i64),
    },
];

/// The columns for which `room` is enough, the most telling ones first, in their order.
pub(super) fn fitting(stages: &[StageStatus], room: usize) -> Vec<Fitted> {
    let width = |column: &Column| {
        let texts = stages.iter().map(|stage| (column.text)(stage));
        let widest = texts.map(|text| text.chars().count()).max().unwrap_or(0);
        widest.max(column.head.len()).max(column.width_min)
    };
    let mut by_rank: Vec<Fitted> = COLUMNS.iter().map(|c| (c, width(c))).collect();
    by_rank.sort_by_key(|(column, _)| column.rank);
    let mut taken = 0;
    by_rank.retain(|(_, width)| {
        let gap = if taken == 0 { 0 } else { GAP };
        // Without the first there is nothing to tell of.
        let fits = taken == 0 || taken + gap + width <= room;
        taken += if fits { gap + width } else { 0 };
        fits
    });
    let place = |column: &Column| COLUMNS.iter().position(|other| other.head == column.head);
    by_rank.sort_by_key(|(column, _)| place(column));
    by_rank
}

fn latency(stage: &StageStatus, of: fn(&Quantiles) -> f64) -> String {
    let Some(quantiles) = &stage.latency_ms else {
        return String::new();
    };
    let value = of(quantiles);
    if value < quantiles.bound {
        output::millis(value)
    } else {
        format!(">{}", output::millis(quantiles.bound))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::status::tests::example;

    fn heads(room: usize) -> Vec<&'static str> {
        let columns = fitting(&example().stages, room);
        columns.iter().map(|(column, _)| column.head).collect()
    }

    #[test]
    fn what_does_not_fit_is_left_out_whole() {
        let essential = [
            "stage", "state", "in/s", "records", "lag", "p99", "rejected",
        ];
        for room in [80, 100, 120, usize::MAX] {
            let heads = heads(room);
            for head in essential {
                assert!(heads.contains(&head), "{room}: {heads:?}");
            }
        }
        assert!(heads(100).contains(&"way"));
        assert_eq!(heads(usize::MAX).len(), COLUMNS.len());
        assert_eq!(heads(30), ["stage", "state", "in/s"]);
        assert_eq!(heads(0), ["stage"]);
        let taken = |room| {
            let columns = fitting(&example().stages, room);
            columns.iter().map(|(_, width)| width).sum::<usize>() + GAP * (columns.len() - 1)
        };
        for room in 30..200 {
            assert!(taken(room) <= room, "{room}");
        }
    }

    #[test]
    fn beyond_the_last_bucket_only_that_is_known() {
        let mut stage = example().stages.remove(1);
        let quantiles = stage.latency_ms.as_mut().unwrap();
        (quantiles.p99, quantiles.bound) = (3_600_000.0, 3_600_000.0);
        assert_eq!(latency(&stage, |quantiles| quantiles.p99), ">1h");
        assert_eq!(latency(&stage, |quantiles| quantiles.p50), "25.4 ms");
    }
}
