//! Seeds of random tests. Each is printed, and `GREGOR_TEST_SEED` sets them all. Refuses to be random where a test was told its seed.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A generator whose seed stands in the output of the test.
pub(crate) fn random(test: &str) -> StdRng {
    #[expect(clippy::disallowed_methods, reason = "the one place where tests read the environment")]
    let given = std::env::var("GREGOR_TEST_SEED").ok();
    let seed = given.map_or_else(|| rand::rng().random(), |text| text.parse().expect("GREGOR_TEST_SEED is a number"));
    println!("{test}: GREGOR_TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}
