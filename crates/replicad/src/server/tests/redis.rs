//! The front end answers as Redis does.

use super::differential::{Redis, compare};
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_front_end_answers_as_redis_does() {
    for seed in 1..=3 {
        let Some(redis) = Redis::start() else { return };
        let served = Served::new(Limits::default()).await;
        let (ours, theirs) = (served.address, redis.address);
        let comparing = tokio::task::spawn_blocking(move || compare(ours, theirs, seed, 3_000));
        comparing.await.expect("the replies are the same");
    }
}
