//! From a store to a node that runs.

use replica::{Config, Node, Now, PartitionId, Storage, StorageError};
use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use std::time::Instant;

use super::actor::{Actor, Router, now};
use super::mailbox::{InboxLimits, Mailbox};
use super::spaces::{Spaces, Turn};
use crate::policies::{StorePolicy, StringPolicy, Types};
use crate::storage::{
    PartitionStore, PutAside, Standing, Store, StoreError, StoreFile, StoreReader,
};
use crate::store::Space;

/// Lost partitions that the log names. A node has up to 4,096 of each space.
const MAX_NAMED: usize = 64;

/// How the nodes of both spaces are told to be.
#[derive(Debug, Clone)]
pub struct SpaceConfigs {
    /// Of the strings.
    pub strings: Config,
    /// Of the counters and sets.
    pub types: Config,
    /// Of the inbox that both share.
    pub inbox: InboxLimits,
}

/// Where the first state of a node comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// An operator's word that the cluster has never held data.
    Bootstrap,
    /// The store, which vouches for the node's identity.
    Store,
    /// The other nodes. What the store holds is a head start.
    Others,
}

/// A node could not be started from its store.
#[derive(Debug)]
pub(super) enum Unprepared {
    /// The store cannot be used.
    Store(StoreError),
    /// It holds what no node with this configuration can have stored, or cannot be written.
    Restore(StorageError),
}

/// A node that is ready to run.
pub(super) struct Prepared<S: StringPolicy> {
    pub(super) actor: Actor<S>,
    pub(super) mailbox: Mailbox<S>,
    /// Its store beside the actor that writes it.
    pub(super) reader: StoreReader,
}

/// Starts a node from its store: its first state is durable when this returns. A store that turns out to be damaged,
/// also while it is read, is put aside, and partitions that are not sound in it have lost their data.
pub(super) fn prepare<S: StringPolicy>(
    configs: &SpaceConfigs,
    file: &StoreFile,
    origin: impl Fn(Standing) -> Origin,
    router: Arc<dyn Router<S>>,
    started: Instant,
    change: impl Fn(&mut Spaces<S>, Now),
) -> Result<Prepared<S>, Unprepared> {
    let now = now(started);
    let mut lost = 0;
    loop {
        let opened = file.open().map_err(Unprepared::Store)?;
        let mut store = opened.store;
        lost += opened
            .put_aside
            .map_or(0, |aside| report_lost(configs, &aside));
        let reader = store.reader();
        let origin = origin(store.standing());
        tracing::info!(node = configs.strings.node.0, ?origin, "the node begins");
        let (mut spaces, turn) = match first_turn(configs, origin, &mut store, now, &change) {
            Ok(first) => first,
            Err(error) => {
                let damage = store.damage().map(str::to_owned);
                let cause = damage.ok_or(Unprepared::Restore(error))?;
                drop((reader, store));
                let aside = file.put_aside(&cause).map_err(Unprepared::Store)?;
                lost += report_lost(configs, &aside);
                continue;
            }
        };
        reader.metrics().lost(lost);
        let first = spaces.effectuate(turn);
        let store = Box::new(store);
        let (actor, mailbox) = Actor::new(spaces, first, store, router, configs.inbox, started);
        return Ok(Prepared {
            actor,
            mailbox,
            reader,
        });
    }
}

/// Says in the log which partitions a damaged store has lost, and tells how many these are.
fn report_lost(configs: &SpaceConfigs, aside: &PutAside) -> u64 {
    let of = |space, config: &Config| {
        let (placement, node) = (config.placement(), config.node);
        let owned = placement.partitions();
        let owned = owned.filter(move |id| placement.owners(*id).contains(&node));
        owned.map(move |id| (space, id))
    };
    let strings = of(Space::Strings, &configs.strings);
    let lost = strings.chain(of(Space::Types, &configs.types));
    let lost: Vec<_> = lost.filter(|place| !aside.saved.contains(place)).collect();
    let mut names: Vec<String> = lost
        .iter()
        .take(MAX_NAMED)
        .map(|(space, id)| format!("{space}/{}", id.0))
        .collect();
    if lost.len() > MAX_NAMED {
        names.push(format!("{} more", lost.len() - MAX_NAMED));
    }
    tracing::error!(
        node = configs.strings.node.0,
        aside = %aside.path.display(),
        cause = aside.cause,
        lost = names.join(", "),
        saved = aside.saved.len(),
        "the store is damaged and was put aside; the partitions that are lost are fetched from the other nodes"
    );
    lost.len() as u64
}

fn first_turn<S: StringPolicy>(
    configs: &SpaceConfigs,
    origin: Origin,
    store: &mut Store,
    now: Now,
    change: impl Fn(&mut Spaces<S>, Now),
) -> Result<(Spaces<S>, Turn<S>), StorageError> {
    let strings = node::<S>(&configs.strings, origin, store, now)?;
    let types = node::<Types>(&configs.types, origin, store, now)?;
    let mut spaces = Spaces::new(strings, types);
    change(&mut spaces, now);
    let turn = spaces.take_turn();
    match origin {
        Origin::Store | Origin::Others => store.start(&turn.batches)?,
        Origin::Bootstrap => store.start_empty(&turn.batches)?,
    }
    Ok((spaces, turn))
}

fn node<P: StorePolicy>(
    config: &Config,
    origin: Origin,
    store: &Store,
    now: Now,
) -> Result<Node<P>, StorageError> {
    let (config, random) = (config.clone(), random());
    let partitions = config.placement().partitions();
    let stores: BTreeMap<PartitionId, PartitionStore> = partitions
        .map(|partition| (partition, store.partition(P::SPACE, partition)))
        .collect();
    let stored = |partition| {
        let store: &PartitionStore = stores.get(&partition)?;
        Some(store as &dyn Storage)
    };
    match origin {
        Origin::Bootstrap => Ok(Node::bootstrap(config, random, now)?),
        Origin::Store => Node::restore(config, stored, random, now),
        Origin::Others => Node::recover_with(config, stored, random, now),
    }
}

/// Random bits from the system, by way of the standard library's hash keys.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
