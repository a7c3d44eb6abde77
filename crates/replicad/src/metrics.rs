//! Figures for Prometheus, and whether the node lives and serves.
//!
//! The names of all figures are in `docs/operations.md`; a test compares the two.

mod endpoint;
mod requests;

pub use endpoint::{Watched, serve};
pub use requests::RequestMetrics;
pub(crate) use requests::Watch;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

/// Names and values that tell the figures of one name apart.
pub(crate) type Labels = Vec<(&'static str, String)>;

/// One set of figures as they are at one moment.
#[derive(Debug)]
pub(crate) struct Figures(Registry);

impl Figures {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self(Registry::with_prefix("replicad"))
    }

    /// The registry, for figures that count by themselves.
    pub(crate) const fn registry(&mut self) -> &mut Registry {
        &mut self.0
    }

    /// A number that may go down.
    pub(crate) fn gauge(&mut self, name: &str, help: &str, value: u64) {
        let gauge = Gauge::<f64, AtomicU64>::default();
        gauge.set(value as f64);
        self.0.register(name, help, gauge);
    }

    /// Numbers that may go down, told apart by labels.
    pub(crate) fn gauges(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        let family = Family::<Labels, Gauge<f64, AtomicU64>>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).set(value as f64);
        }
        self.0.register(name, help, family);
    }

    /// A number that only grows. `_total` is added to its name.
    pub(crate) fn counter(&mut self, name: &str, help: &str, value: u64) {
        let counter = Counter::<u64>::default();
        counter.inc_by(value);
        self.0.register(name, help, counter);
    }

    /// Numbers that only grow, told apart by labels.
    pub(crate) fn counters(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        let family = Family::<Labels, Counter>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).inc_by(value);
        }
        self.0.register(name, help, family);
    }

    /// All of them as OpenMetrics text, which Prometheus reads.
    pub(crate) fn encode(&self) -> String {
        let mut encoded = String::new();
        text::encode(&mut encoded, &self.0).expect("text is written into memory");
        encoded
    }
}

/// Durations in seconds, from 50 microseconds to 10 seconds.
pub(crate) fn durations() -> Histogram {
    Histogram::new([
        0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
        0.5, 1.0, 2.5, 5.0, 10.0,
    ])
}
