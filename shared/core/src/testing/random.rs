//! Randomness that is the same at every run.

use std::sync::Mutex;

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore as _, SeedableRng as _},
};

use crate::random::{Random, RandomUnavailable};

/// The same bytes at every run.
pub(crate) struct SeededRandom(Mutex<ChaCha8Rng>);

impl SeededRandom {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(ChaCha8Rng::seed_from_u64(seed)))
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomUnavailable> {
        self.0.lock().map_err(|_| RandomUnavailable)?.fill_bytes(bytes);
        Ok(())
    }
}
