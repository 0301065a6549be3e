//! Prometheus' text format (version 0.0.4): families, labels, escapes.

use std::fmt::{Display, Write};

use gristmill_flow::Distribution;

/// What kind of number a family is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Labels of a sample, in order.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// Writes one page of families.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    /// Begin a family; its samples follow at once.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.put(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// One number.
    pub(super) fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        self.0.push_str(name);
        self.labels(labels, None);
        self.put(format_args!(" {value}\n"));
    }

    /// A distribution whose values are `units` to one of the family's unit.
    pub(super) fn histogram(
        &mut self,
        name: &str,
        labels: Labels<'_>,
        distribution: &Distribution,
        units: f64,
    ) {
        for (bound, cumulative) in &distribution.buckets {
            let bound = (*bound as f64 / units).to_string();
            self.put(format_args!("{name}_bucket"));
            self.labels(labels, Some(&bound));
            self.put(format_args!(" {cumulative}\n"));
        }
        self.put(format_args!("{name}_bucket"));
        self.labels(labels, Some("+Inf"));
        self.put(format_args!(" {}\n", distribution.count));
        self.sample(
            &format!("{name}_sum"),
            labels,
            distribution.sum as f64 / units,
        );
        self.sample(&format!("{name}_count"), labels, distribution.count);
    }

    /// The whole page.
    pub(super) fn finish(self) -> String {
        self.0
    }

    fn labels(&mut self, labels: Labels<'_>, le: Option<&str>) {
        let all = labels.iter().copied().chain(le.map(|le| ("le", le)));
        let mut before = '{';
        for (name, value) in all {
            self.0.push(before);
            before = ',';
            self.put(format_args!("{name}=\""));
            for c in value.chars() {
                match c {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    c => self.0.push(c),
                }
            }
            self.0.push('"');
        }
        if before == ',' {
            self.0.push('}');
        }
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing into a String cannot fail.
        let _ = self.0.write_fmt(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut page = Page::default();
        page.family("a_total", Kind::Counter, "What.");
        page.sample("a_total", &[("x", "a\"b\\c\nd"), ("y", "ä")], 3);
        page.sample("a_total", &[], 4);
        assert_eq!(
            page.finish(),
            "# HELP a_total What.\n# TYPE a_total counter\n\
             a_total{x=\"a\\\"b\\\\c\\nd\",y=\"ä\"} 3\na_total 4\n"
        );
    }

    #[test]
    fn histograms_are_cumulative_and_in_the_familys_unit() {
        let mut page = Page::default();
        let distribution = Distribution {
            buckets: vec![(10, 1), (2500, 3)],
            count: 4,
            sum: 9600,
        };
        page.histogram("h_seconds", &[("s", "x")], &distribution, 1000.0);
        assert_eq!(
            page.finish(),
            "h_seconds_bucket{s=\"x\",le=\"0.01\"} 1\n\
             h_seconds_bucket{s=\"x\",le=\"2.5\"} 3\n\
             h_seconds_bucket{s=\"x\",le=\"+Inf\"} 4\n\
             h_seconds_sum{s=\"x\"} 9.6\nh_seconds_count{s=\"x\"} 4\n"
        );
    }
}
