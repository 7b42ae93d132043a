//! Random bytes that are the same whenever a call is repeated: SHA-256 of a seed, the phase and a counter. The phase, since `init` of a fresh
//! instance has the seed of the call that it is made for. Refuses to be a source of secrets; its seed is no secret.

use sha2::{Digest, Sha256};

use crate::host::Phase;

/// A stream of bytes from a seed.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    seed: [u8; 32],
    phase: Phase,
    counter: u64,
    block: [u8; 32],
    used: usize,
}

impl Random {
    /// The stream of a seed in a phase, from its beginning.
    pub(crate) const fn new(seed: [u8; 32], phase: Phase) -> Self {
        Self { seed, phase, counter: 0, block: [0; 32], used: 32 }
    }

    /// The next bytes.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.used >= self.block.len() {
                let hasher = Sha256::new().chain_update(self.seed).chain_update([self.phase.number()]);
                let hasher = hasher.chain_update(self.counter.to_le_bytes());
                self.block = hasher.finalize().into();
                self.counter = self.counter.wrapping_add(1);
                self.used = 0;
            }
            let ready = self.block.get(self.used..).unwrap_or_default();
            let take = ready.len().min(rest.len());
            let (now, later) = rest.split_at_mut(take);
            now.copy_from_slice(ready.get(..take).unwrap_or_default());
            self.used += take;
            rest = later;
        }
    }

    /// The next `len` bytes.
    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.fill(&mut bytes);
        bytes
    }

    /// The next 8 bytes as a number.
    pub(crate) fn number(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_does_not_depend_on_how_it_is_cut() {
        let whole = Random::new([7; 32], Phase::Process).bytes(1000);
        for step in [1, 7, 8, 31, 32, 33, 500] {
            let mut random = Random::new([7; 32], Phase::Process);
            let mut cut = Vec::new();
            while cut.len() < whole.len() {
                cut.extend(random.bytes(step.min(whole.len() - cut.len())));
            }
            assert_eq!(cut, whole, "step {step}");
        }
        assert_ne!(Random::new([8; 32], Phase::Process).bytes(1000), whole);
        let phases = [Phase::Describe, Phase::Init, Phase::Process, Phase::End].map(|phase| Random::new([7; 32], phase).bytes(16));
        assert_eq!(phases.iter().collect::<std::collections::BTreeSet<_>>().len(), 4, "init shall not draw what the first call draws");
        assert_eq!(Random::new([7; 32], Phase::Process).number().to_le_bytes(), whole[..8]);
    }
}
