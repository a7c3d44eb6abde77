//! Whether faults took effect: one that struck and changed nothing proves nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use redis::{RedisResult, Value, cmd};

use crate::cluster::Cluster;
use crate::faults::Fault;
use crate::talk::put;

/// How far a clock has to be off to count, in milliseconds: far more than a question takes.
const OFF_MS: i64 = 900;

/// How often each kind of fault has struck, and what it did.
#[derive(Debug, Default)]
pub(crate) struct Bites(BTreeMap<String, Bitten>);

#[derive(Debug, Default)]
struct Bitten {
    strikes: u64,
    /// Strikes that took effect.
    effective: u64,
    /// Packets, processes, stores or answers, as the fault has it.
    effects: u64,
}

/// What there was before a fault struck.
pub(crate) struct Before {
    is_running: bool,
    incarnation: Option<String>,
}

impl Bites {
    /// A fault has struck, with this effect.
    pub(crate) fn note(&mut self, fault: Fault, effects: u64) {
        let bitten = self.0.entry(format!("{fault:?}")).or_default();
        bitten.strikes += 1;
        bitten.effective += u64::from(effects > 0);
        bitten.effects += effects;
    }

    /// Fails if a kind of fault has struck and never taken effect.
    ///
    /// # Panics
    /// Then, with its name.
    pub(crate) fn check(&self, plan: &str) {
        let harmless = self.0.iter().filter(|(_, bitten)| bitten.effective == 0);
        let harmless: Vec<&String> = harmless.map(|(fault, _)| fault).collect();
        assert!(
            harmless.is_empty(),
            "{plan}: {harmless:?} struck and never took effect: {self}"
        );
    }
}

impl fmt::Display for Bites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (fault, bitten)) in self.0.iter().enumerate() {
            let Bitten {
                strikes,
                effective,
                effects,
            } = bitten;
            let comma = if i == 0 { "" } else { ", " };
            write!(
                f,
                "{comma}{fault} {effective} of {strikes} times ({effects})"
            )?;
        }
        Ok(())
    }
}

impl Before {
    /// Looks at a node that is about to be struck.
    pub(crate) fn look(cluster: &mut Cluster, node: u32) -> Self {
        Self {
            is_running: cluster.is_running(node),
            incarnation: incarnation(cluster, node),
        }
    }
}

/// What a fault does while it lasts, as far as that shows only then.
pub(crate) fn while_it_lasts(fault: Fault, cluster: &Cluster, node: u32) -> u64 {
    match fault {
        Fault::Cut | Fault::CutOneWay | Fault::Isolate | Fault::Lose => {
            cluster.nodes().map(|node| cluster.dropped(node)).sum()
        }
        Fault::Slow => cluster.delayed(node),
        Fault::Pause => u64::from(cluster.is_paused(node)),
        Fault::Clock => u64::from(is_off(cluster, node)),
        Fault::Fill => u64::from(refuses_for_want_of_room(cluster, node)),
        _ => 0,
    }
}

/// What a fault has done, once it is mended and the node serves again. `damaged` stores were put aside.
pub(crate) fn in_the_end(
    fault: Fault,
    (before, lasting): (&Before, u64),
    cluster: &Cluster,
    node: u32,
    damaged: usize,
) -> u64 {
    match fault {
        Fault::Kill | Fault::Stop => u64::from(before.is_running),
        Fault::Flip | Fault::Tear => damaged as u64,
        Fault::Wipe | Fault::WipeAll => {
            let now = incarnation(cluster, node);
            u64::from(now.is_some() && before.incarnation.is_some() && now != before.incarnation)
        }
        _ => lasting,
    }
}

/// The incarnation of a node, as it says itself.
fn incarnation(cluster: &Cluster, node: u32) -> Option<String> {
    let status = cluster.status(node)?;
    let nodes = status["nodes"].as_array()?;
    let own = nodes.iter().find(|entry| entry["node"] == node)?;
    own["incarnation"].as_str().map(str::to_owned)
}

/// Whether a node's clock shows another time than this one: a snapshot says when it was made.
fn is_off(cluster: &Cluster, node: u32) -> bool {
    let to = cluster.disk(node).join("clock-shown");
    let mut command = cmd("REPLICAD");
    command.arg("SNAPSHOT").arg(to.to_string_lossy().as_ref());
    let made: RedisResult<String> = cluster.ask(node, &command);
    let since = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
    let now_ms = i64::try_from(since.as_millis()).expect("not so late");
    // There is none if the node refused.
    let _none = std::fs::remove_dir_all(&to);
    let shown = made.ok().and_then(|text| {
        let report: serde_json::Value = serde_json::from_str(&text).ok()?;
        report["taken_unix_ms"].as_i64()
    });
    shown.is_some_and(|shown| (shown - now_ms).abs() > OFF_MS)
}

/// Whether a node says that its disk is full, or has failed for that.
fn refuses_for_want_of_room(cluster: &Cluster, node: u32) -> bool {
    let large = "x".repeat(1 << 20);
    let written: RedisResult<Value> = cluster.ask(node, &put("room", &large, "ONE"));
    let refusal = written.err();
    let code = refusal.as_ref().and_then(redis::RedisError::code);
    matches!(code, Some("NOROOM" | "STORAGEFAILED"))
}
