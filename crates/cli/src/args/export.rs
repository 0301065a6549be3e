//! `gristmill export`.

use clap::{Args, Subcommand, ValueEnum};

use super::FileArgs;

/// Which engine.
#[derive(Debug, Subcommand)]
pub(crate) enum ExportVerb {
    /// SQL for Arroyo; what cannot be expressed is refused with its place and the reason.
    #[command(after_help = "Examples:\n  gristmill export arroyo > query.sql\n  \
                            gristmill export arroyo --print api | ARROYO=http://127.0.0.1:5115 sh\n  \
                            gristmill export arroyo --print totals > totals.yaml && gristmill up -f totals.yaml")]
    Arroyo(ExportArroyoArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ExportArroyoArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// What to print.
    #[arg(long, value_enum, default_value_t = ArroyoPart::Sql)]
    pub(crate) print: ArroyoPart,
    /// Of which sink, where `--print totals` has several (`meta.name`).
    #[arg(long, value_name = "NAME")]
    pub(crate) sink: Option<String>,
}

/// A part of a job on Arroyo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ArroyoPart {
    /// The query: tables and inserts.
    Sql,
    /// A shell script with the call that starts the job, the UDF included.
    Api,
    /// The file for `gristmill up -f` that applies the running totals to Redis.
    Totals,
}
