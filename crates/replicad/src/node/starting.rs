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
use crate::storage::{PartitionStore, Store};

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
pub(super) struct Unprepared {
    pub(super) error: StorageError,
    /// How the store is damaged, if that is why: it is to be put aside.
    pub(super) damage: Option<String>,
}

/// Starts a node from its store: its first state is durable when this returns.
pub(super) fn prepare<S: StringPolicy>(
    configs: &SpaceConfigs,
    origin: Origin,
    mut store: Store,
    router: Arc<dyn Router<S>>,
    started: Instant,
    change: impl FnOnce(&mut Spaces<S>, Now),
) -> Result<(Actor<S>, Mailbox<S>), Unprepared> {
    let now = now(started);
    let (spaces, turn) = match first_turn(configs, origin, &mut store, now, change) {
        Ok(first) => first,
        Err(error) => {
            let damage = store.damage().map(str::to_owned);
            return Err(Unprepared { error, damage });
        }
    };
    let mut spaces = spaces;
    let first = spaces.effectuate(turn);
    Ok(Actor::new(
        spaces,
        first,
        Box::new(store),
        router,
        configs.inbox,
        started,
    ))
}

fn first_turn<S: StringPolicy>(
    configs: &SpaceConfigs,
    origin: Origin,
    store: &mut Store,
    now: Now,
    change: impl FnOnce(&mut Spaces<S>, Now),
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
