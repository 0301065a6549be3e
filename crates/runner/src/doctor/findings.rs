//! What was found, how bad it is, and what to do.

use gristmill_manifest::Redactions;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// The pipeline runs; read on before it matters.
    Warning,
    /// The pipeline does not run, or not as promised.
    Failed,
    /// Could not be looked at because of another failure.
    Skipped,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// `modules`, `kafka`, `fluvio`, `stream`, `redis`, `local`, `metrics`.
    pub area: &'static str,
    /// What was looked at.
    pub subject: String,
    /// How bad it is.
    pub verdict: Verdict,
    /// What was found.
    pub detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    pub(super) fn ok(
        area: &'static str,
        subject: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            area,
            subject: subject.into(),
            verdict: Verdict::Ok,
            detail: detail.into(),
            remedy: None,
        }
    }

    pub(super) fn skipped(
        area: &'static str,
        subject: impl Into<String>,
        because: impl Into<String>,
    ) -> Self {
        Self {
            verdict: Verdict::Skipped,
            ..Self::ok(area, subject, because)
        }
    }

    pub(super) fn warn(
        area: &'static str,
        subject: impl Into<String>,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            verdict: Verdict::Warning,
            remedy: Some(remedy.into()),
            ..Self::ok(area, subject, detail)
        }
    }

    pub(super) fn fail(
        area: &'static str,
        subject: impl Into<String>,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            verdict: Verdict::Failed,
            ..Self::warn(area, subject, detail, remedy)
        }
    }

    /// A failure whose text names its remedy after a `: ` or `; ` already.
    pub(super) fn fail_with(
        area: &'static str,
        subject: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            verdict: Verdict::Failed,
            ..Self::ok(area, subject, detail)
        }
    }

    pub(super) fn redact(&mut self, redactions: &Redactions) {
        self.detail = redactions.apply(&self.detail);
        self.subject = redactions.apply(&self.subject);
    }
}
