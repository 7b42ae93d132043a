//! Seeds of random tests, and what else the environment says. Each seed is printed, and `GREGOR_TEST_SEED` sets them all. Refuses to be random where a test was told its seed.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A generator whose seed stands in the output of the test.
pub(crate) fn random(test: &str) -> StdRng {
    let seed = given("GREGOR_TEST_SEED").unwrap_or_else(|| rand::rng().random());
    println!("{test}: GREGOR_TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// A number that the environment gives, if it does.
pub(crate) fn given(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "the one place where tests read the environment")]
    let text = std::env::var(name).ok();
    text.map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}
