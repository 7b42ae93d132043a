//! A look for everything that would let a task see the world, or tell two executions of a call apart: real clocks, real randomness, an environment,
//! files, input. Panics with what it has found.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::hint::black_box;
use std::io::Read as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::gregor::task::context;

/// Looks around.
pub(crate) fn probe() {
    let (wall, monotonic) = (SystemTime::now(), Instant::now());
    let said = u128::from(context::now().unsigned_abs());
    assert_eq!(wall.duration_since(UNIX_EPOCH).unwrap().as_millis(), said, "the wall clock is not the time of the call");
    let mut work = 0_u64;
    (0..30_000_000_u64).for_each(|step| work = black_box(work.wrapping_mul(31).wrapping_add(step)));
    assert_eq!(SystemTime::now(), wall, "the wall clock moves while a call lasts");
    assert_eq!(Instant::now(), monotonic, "the monotonic clock moves while a call lasts");
    std::thread::sleep(Duration::from_secs(3600));
    assert_eq!(monotonic.elapsed(), Duration::from_secs(3600), "the monotonic clock does not jump to what was waited for");
    assert_eq!(SystemTime::now(), wall, "the wall clock moves by waiting");
    assert_eq!((std::env::vars_os().count(), std::env::args_os().count()), (0, 0), "there is an environment");
    assert!(std::fs::read_dir("/").is_err() && std::fs::write("here", "x").is_err(), "there are files");
    assert_eq!(std::io::stdin().read(&mut [0; 16]).unwrap(), 0, "there is input");
    assert_ne!(context::random(16), context::random(16), "random bytes come twice in one call");
    // Seeded once an instance, from the call that it was made for: black box, since only that it works can be seen from here.
    black_box(RandomState::new().hash_one(1_u8));
}
