//! The frames that wait for one lane of one peer.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

use super::counters::LaneCounters;
use super::frame::Frame;

/// A queue with two bounds: frames, and bytes. What has been taken out to be written counts until it is
/// written, so the bounds are those of all memory that the lane holds.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Notify,
    max_frames: usize,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    is_open: bool,
    waiting: VecDeque<Frame>,
    /// Waiting and being written.
    frames: usize,
    bytes: usize,
}

impl Queue {
    /// A closed queue.
    pub(super) fn new(max_frames: usize, max_bytes: usize) -> Self {
        Self {
            state: Mutex::default(),
            filled: Notify::new(),
            max_frames,
            max_bytes,
        }
    }

    /// Takes frames from now on. What is in it already, from a connection that was made anew, is announced again.
    pub(super) fn open(&self) {
        let mut state = self.state();
        state.is_open = true;
        if !state.waiting.is_empty() {
            self.filled.notify_one();
        }
    }

    /// Takes no more frames, and forgets those it has.
    pub(super) fn close(&self, counters: &LaneCounters) {
        let mut state = self.state();
        let lost = state.frames as u64;
        let forgotten = std::mem::take(&mut *state);
        counters.queued_frames.store(0, Relaxed);
        counters.queued_bytes.store(0, Relaxed);
        drop(state);
        drop(forgotten);
        counters.dropped_down.fetch_add(lost, Relaxed);
    }

    /// Appends a frame, or counts it as dropped.
    pub(super) fn push(&self, frame: Frame, counters: &LaneCounters) {
        let mut state = self.state();
        let (frames, bytes) = (state.frames, state.bytes);
        let length = frame.len();
        let fits = frames < self.max_frames && bytes.saturating_add(length) <= self.max_bytes;
        let dropped = match (state.is_open, fits || frames == 0) {
            (false, _) => Some(&counters.dropped_down),
            (true, false) => Some(&counters.dropped_full),
            (true, true) => None,
        };
        if let Some(dropped) = dropped {
            drop(state);
            dropped.fetch_add(1, Relaxed);
            return;
        }
        state.frames += 1;
        state.bytes += length;
        let was_empty = state.waiting.is_empty();
        state.waiting.push_back(frame);
        counters.queued_frames.store(state.frames, Relaxed);
        counters.queued_bytes.store(state.bytes, Relaxed);
        drop(state);
        if was_empty {
            self.filled.notify_one();
        }
    }

    /// Completes when there may be something to take.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Moves the oldest frames to `out` until it has `max_frames` of them or they have `max_bytes`. False if
    /// there are none.
    pub(super) fn take(&self, out: &mut Vec<Frame>, max_frames: usize, max_bytes: usize) -> bool {
        let mut state = self.state();
        let mut bytes = 0;
        while out.len() < max_frames
            && bytes < max_bytes
            && let Some(frame) = state.waiting.pop_front()
        {
            bytes += frame.len();
            out.push(frame);
        }
        if !state.waiting.is_empty() {
            self.filled.notify_one();
        }
        !out.is_empty()
    }

    /// Frames that were taken have been written.
    pub(super) fn written(&self, frames: usize, bytes: usize, counters: &LaneCounters) {
        let mut state = self.state();
        state.frames = state.frames.saturating_sub(frames);
        state.bytes = state.bytes.saturating_sub(bytes);
        counters.queued_frames.store(state.frames, Relaxed);
        counters.queued_bytes.store(state.bytes, Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: usize) -> Frame {
        Frame::from(vec![7; bytes])
    }

    #[test]
    fn what_is_being_written_counts_until_it_is_written() {
        let (queue, counters) = (Queue::new(3, 100), LaneCounters::default());
        queue.open();
        (0..3).for_each(|_| queue.push(frame(10), &counters));
        let mut taken = Vec::new();
        assert!(queue.take(&mut taken, 10, 1_000));
        assert_eq!(taken.len(), 3);
        queue.push(frame(10), &counters);
        assert_eq!(counters.dropped_full.load(Relaxed), 1);
        queue.written(3, 30, &counters);
        queue.push(frame(10), &counters);
        assert_eq!(counters.dropped_full.load(Relaxed), 1);
        assert_eq!(counters.queued_bytes.load(Relaxed), 10);
    }

    #[test]
    fn bytes_are_bounded_but_one_frame_always_fits() {
        let (queue, counters) = (Queue::new(10, 100), LaneCounters::default());
        queue.open();
        queue.push(frame(500), &counters);
        queue.push(frame(1), &counters);
        assert_eq!(counters.queued_frames.load(Relaxed), 1);
        assert_eq!(counters.dropped_full.load(Relaxed), 1);
    }

    #[test]
    fn a_closed_queue_holds_nothing() {
        let (queue, counters) = (Queue::new(10, 100), LaneCounters::default());
        queue.push(frame(1), &counters);
        assert_eq!(counters.dropped_down.load(Relaxed), 1);
        queue.open();
        queue.push(frame(1), &counters);
        queue.close(&counters);
        queue.push(frame(1), &counters);
        assert_eq!(counters.dropped_down.load(Relaxed), 3);
        assert!(!queue.take(&mut Vec::new(), 10, 100));
        assert_eq!(counters.queued_bytes.load(Relaxed), 0);
    }

    #[test]
    fn a_part_is_taken_in_order_and_the_rest_stays() {
        let (queue, counters) = (Queue::new(10, 100), LaneCounters::default());
        queue.open();
        (1..=4).for_each(|bytes| queue.push(frame(bytes), &counters));
        let mut taken = Vec::new();
        queue.take(&mut taken, 10, 3);
        assert_eq!(taken.iter().map(Frame::len).collect::<Vec<_>>(), [1, 2]);
        taken.clear();
        queue.take(&mut taken, 1, 100);
        assert_eq!(taken.len(), 1);
        assert_eq!(taken[0].len(), 3);
    }
}
