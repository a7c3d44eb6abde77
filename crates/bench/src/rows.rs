//! The rows of "Data types", one file for each group.

mod clocks;
mod documents;
mod growth;
mod lww_map;
mod mv_map;
mod sets;
mod vectors;

use crate::report::Report;

pub fn types(report: &mut Report) {
    sets::rows(report);
    mv_map::rows(report);
    lww_map::rows(report);
    vectors::rows(report);
    clocks::rows(report);
    documents::rows(report);
    growth::rows(report);
}

const OURS: crate::row::Side = crate::row::Side::Ours;
const CRDTS: crate::row::Side = crate::row::Side::Peer("crdts", "");

/// A small state that travels, in the compact encoding.
fn postcard_bytes<T: serde::Serialize>(value: &T) -> f64 {
    postcard::to_allocvec(value).map_or(f64::NAN, |bytes| bytes.len() as f64)
}

fn json_bytes<T: serde::Serialize>(value: &T) -> f64 {
    serde_json::to_vec(value).map_or(f64::NAN, |bytes| bytes.len() as f64)
}
