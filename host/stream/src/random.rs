//! Numbers for tests that look random and are the same for the same seed (SplitMix64, Steele et al. 2014). Refuses to be seeded by anything but
//! the test, which prints its seed when it fails.

pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to n - 1.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(n).unwrap()).unwrap()
    }

    /// True once in n times.
    pub(crate) fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// Up to `most` bytes of an alphabet.
    pub(crate) fn bytes(&mut self, most: usize, alphabet: &[u8]) -> Vec<u8> {
        let length = self.below(most + 1);
        (0..length).map(|_| alphabet[self.below(alphabet.len())]).collect()
    }
}
