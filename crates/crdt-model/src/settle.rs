//! The end of a run: everything is exchanged, and all replicas must agree.

use crdt::{Budget, CausalContext, Cut, Timestamp};

use crate::check::visible;
use crate::kind::{Event, KEYS, Kind};
use crate::world::{UNLIMITED, World};

impl<K: Kind> World<K> {
    /// Exchanges everything, delivers what is still in flight, and checks the end state.
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        self.quiesce(self.budget())?;
        while !self.network_is_empty() {
            self.deliver_late()?;
        }
        self.quiesce(UNLIMITED)?;
        self.check_end()
    }

    /// Exchanges until nothing changes any more.
    fn quiesce(&mut self, budget: Budget) -> Result<(), String> {
        let owners = self.sites.len();
        let latest = self.sites.iter().map(|s| s.clock.last()).max();
        for site in &mut self.sites {
            site.clock.observe(latest.unwrap_or(Timestamp(0)));
        }
        // News travels one hop a round at worst, and a purge needs news of what came of the last news.
        for _ in 0..3 * owners {
            let before: Vec<_> = self
                .sites
                .iter()
                .map(|s| (s.replica.map().clone(), s.promises.clone(), s.view.clone()))
                .collect();
            for by in 0..owners {
                for of in (0..owners).filter(|of| *of != by) {
                    self.exchange(by, of, budget)?;
                }
            }
            for at in 0..owners {
                self.sites[at].purge(owners);
                self.check(at)?;
            }
            let now = self
                .sites
                .iter()
                .map(|s| (s.replica.map(), &s.promises, &s.view));
            if before.iter().map(|b| (&b.0, &b.1, &b.2)).eq(now) {
                return Ok(());
            }
        }
        Err("the replicas go on exchanging".into())
    }

    /// One replica asks another until it lacks nothing.
    pub(crate) fn exchange(&mut self, by: usize, of: usize, budget: Budget) -> Result<(), String> {
        let mut transfers = 0;
        // Every answer makes progress; no answer covers less than one event or one part of the keys.
        for _ in 0..=self.events.len() * (2 * KEYS.len() + 1) {
            let asked = self.sites[by].replica.knowledge().clone();
            let clock = self.sites[of].clock.last();
            if let Some(delta) = self.delta(of, &asked, budget)? {
                let whole = delta.complete.then(|| self.sites[of].whole());
                self.receive(by, &delta.listings, whole.as_ref(), clock)?;
                if delta.complete {
                    return Ok(());
                }
            } else if transfers == 0 {
                transfers += 1;
                self.transfer(by, of)?;
            } else {
                return Err("truncated again after a full transfer".into());
            }
        }
        Err("answers that never become complete".into())
    }

    fn transfer(&mut self, by: usize, of: usize) -> Result<(), String> {
        let mut from = Some(Cut::BelowAll);
        // One chunk for each key, one for what lies behind the last.
        for _ in 0..=KEYS.len() {
            let Some(start) = from.take() else { break };
            let sender = &self.sites[of].replica;
            let chunk = sender.transfer_chunk(&start, self.budget(), |_, _| 1);
            from = chunk.next;
            self.receive(by, &chunk.listings, None, Timestamp(0))?;
        }
        match from {
            None => Ok(()),
            Some(_) => Err("a transfer that does not end".into()),
        }
    }

    /// Convergence to the winners of all events, with nothing left over, and equal bytes.
    fn check_end(&self) -> Result<(), String> {
        let all: CausalContext = self.events.keys().copied().collect();
        let mut bytes = Vec::new();
        for site in &self.sites {
            let (map, id) = (site.replica.map(), site.replica.id());
            if *map.knowledge().base() != all || map.knowledge().exception_count() > 0 {
                return Err(format!("{id} knows {:?} of {all}", map.knowledge()));
            }
            if site.replica.tombstone_count() > 0 {
                return Err(format!("{id} still has tombstones: {map:?}"));
            }
            for key in KEYS {
                let of_key = self.events.values().filter(|e| e.key == key);
                let want = visible(&K::resolve(&of_key.collect::<Vec<&Event>>()));
                let held = map.get(&key).map(K::content).unwrap_or_default();
                if held != want {
                    return Err(format!("{id} diverged: {key} holds {held:?}, not {want:?}"));
                }
            }
            bytes.push(postcard::to_stdvec(map).map_err(|e| e.to_string())?);
        }
        match bytes.windows(2).all(|w| w[0] == w[1]) {
            true => Ok(()),
            false => Err("equal maps have different bytes".into()),
        }
    }
}
