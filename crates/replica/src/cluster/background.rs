//! The thread that moves bulk and drives timeouts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::builder::ClusterError;
use super::cell::{Delivery, lock};
use super::engine::{Engine, Work};
use crate::Policy;
use crate::sync::{Builder, Condvar, JoinHandle, Moment, Mutex};

/// Messages that may wait for the thread. More are lost, as on a network, and sent again.
const MAX_QUEUE: usize = 1 << 16;

/// Longest and shortest time between two looks at the deadlines.
const TICK: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// How long a thread that waits for progress sleeps at most before it looks again: not all progress is
/// made by the background thread.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What the background thread is given to do.
#[derive(Debug)]
pub(super) struct Background<C> {
    queue: Mutex<Queue<C>>,
    /// There is something to do.
    work: Condvar,
    /// Something was done.
    progress: Condvar,
}

#[derive(Debug)]
struct Queue<C> {
    deliveries: VecDeque<Delivery<C>>,
    /// Those that are on their way, by when they arrive and then by number.
    travelling: BTreeMap<(Moment, u64), Delivery<C>>,
    departed: u64,
    stops: bool,
}

impl<C> Queue<C> {
    fn len(&self) -> usize {
        self.deliveries.len() + self.travelling.len()
    }

    /// The next message that has arrived.
    fn next(&mut self, now: Moment) -> Option<Delivery<C>> {
        if let Some(first) = self.travelling.first_entry()
            && first.key().0 <= now
        {
            let has_travelled = true;
            return Some(Delivery {
                has_travelled,
                ..first.remove()
            });
        }
        self.deliveries.pop_front()
    }
}

/// What the thread does next.
enum Next<C> {
    Deliver(Delivery<C>),
    Tick,
    Stop,
}

impl<C> Default for Background<C> {
    fn default() -> Self {
        Self {
            queue: Mutex::new(Queue {
                deliveries: VecDeque::new(),
                travelling: BTreeMap::new(),
                departed: 0,
                stops: false,
            }),
            work: Condvar::new(),
            progress: Condvar::new(),
        }
    }
}

impl<C> Background<C> {
    /// Gives the thread a message to deliver.
    pub(super) fn push(&self, delivery: Delivery<C>) {
        let mut queue = lock(&self.queue);
        if queue.len() < MAX_QUEUE {
            queue.deliveries.push_back(delivery);
        }
        drop(queue);
        self.work.notify_one();
    }

    /// Gives the thread a message to deliver at `at`.
    pub(super) fn push_at(&self, at: Moment, delivery: Delivery<C>) {
        let mut queue = lock(&self.queue);
        if queue.len() < MAX_QUEUE {
            queue.departed += 1;
            let place = (at, queue.departed);
            queue.travelling.insert(place, delivery);
        }
        drop(queue);
        self.work.notify_one();
    }

    pub(super) fn stop(&self) {
        lock(&self.queue).stops = true;
        self.work.notify_all();
    }

    /// Waits until something has been done, or a moment has passed.
    pub(super) fn wait_for_progress(&self, limit: Duration) {
        let queue = lock(&self.queue);
        let _woken = self.progress.wait_timeout(queue, limit.min(LOOK_AGAIN));
    }

    fn next(&self, tick_at: Moment) -> Next<C> {
        let mut queue = lock(&self.queue);
        loop {
            if queue.stops {
                return Next::Stop;
            }
            let now = Moment::now();
            if tick_at <= now {
                return Next::Tick;
            }
            if let Some(delivery) = queue.next(now) {
                return Next::Deliver(delivery);
            }
            let arrives_at = queue.travelling.keys().next().map(|(at, _)| *at);
            let left = arrives_at.map_or(tick_at, |at| at.min(tick_at)).since(now);
            self.progress.notify_all();
            let woken = self.work.wait_timeout(queue, left);
            queue = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Starts the thread; it ends on [`Background::stop`].
pub(super) fn spawn<P: Policy>(engine: &Arc<Engine<P>>) -> Result<JoinHandle<()>, ClusterError> {
    let engine = Arc::clone(engine);
    Builder::new()
        .name("replica-background".into())
        .spawn(move || work(&engine))
        .map_err(|e| ClusterError::Thread(e.to_string()))
}

fn work<P: Policy>(engine: &Engine<P>) {
    let every = tick_length(engine);
    let mut tick_at = Moment::now().plus(every);
    loop {
        match engine.background().next(tick_at) {
            Next::Stop => return,
            Next::Deliver(delivery) => guard(|| {
                let mut work = Work::default();
                engine.deliver(delivery, &mut work);
                engine.run(&mut work);
            }),
            Next::Tick => {
                tick_at = Moment::now().plus(every);
                guard(|| engine.read_clock());
                for cell in engine.cells() {
                    guard(|| engine.tick(cell));
                }
                guard(|| engine.announce_failures());
            }
        }
    }
}

/// Goes on after a panic, which has failed the node that it happened in and no other.
fn guard(work: impl FnOnce()) {
    let _panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
}

/// Several times within the shortest interval that anyone waits for.
fn tick_length<P: Policy>(engine: &Engine<P>) -> Duration {
    let intervals = engine.cells().iter().map(|cell| {
        let config = &cell.config;
        let interval = config.resend_ms.min(config.sync_interval_ms);
        interval.min(config.request_timeout_ms)
    });
    let shortest = intervals.min().unwrap_or(u64::MAX);
    Duration::from_millis(shortest / 4).clamp(TICK.0, TICK.1)
}
