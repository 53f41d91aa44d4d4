//! `sallyport calibrate`: what a password hash costs here, and what follows from it.

use std::{
    fmt,
    time::{Duration, Instant},
};

use clap::Args;
use sallyport_aws::system::{OsRandom, SystemClock};
use sallyport_core::{
    accounts::{HashParameters, Password, PasswordHasher},
    clock::Clock as _,
    keyring::Keyring,
};
use serde::Serialize;

use crate::{
    deployment::placeholder_keyring,
    failure::Failure,
    output::{Answer, Table},
};

#[derive(Debug, Args)]
pub(crate) struct CalibrateCommand {
    /// Memory settings to measure, in KiB.
    #[arg(long, value_delimiter = ',', value_name = "KIB", value_parser = clap::value_parser!(u32).range(64..=1_048_576),
          default_values_t = [7_168, 12_288, 19_456, 32_768, 47_104, 65_536])]
    memory: Vec<u32>,
    /// Numbers of passes to measure.
    #[arg(long, value_delimiter = ',', value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16),
          default_values_t = [1, 2, 3, 5])]
    iterations: Vec<u32>,
    /// Hashes per setting; the median counts.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    samples: u16,
    /// What a hash may take at one whole processor, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..))]
    target_ms: u16,
}

/// AWS Lambda gives one whole vCPU at this size, and less in proportion below it
/// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>).
const ONE_VCPU_MB: u32 = 1_769;

/// What a function needs besides the hash's own memory, in MB: generously.
const BESIDES_MB: u32 = 64;

/// USD per GB-second on arm64 (<https://aws.amazon.com/lambda/pricing/>, us-east-1, first tier).
const USD_PER_GB_SECOND: f64 = 0.000_013_333_4;

/// OWASP's equivalent settings for argon2id (Password Storage Cheat Sheet): passes, and the least memory with them.
const FLOOR: [(u32, u32); 5] = [(1, 47_104), (2, 19_456), (3, 12_288), (4, 9_216), (5, 7_168)];

/// Whether settings cost an attacker at least what OWASP's do.
pub(crate) fn meets_floor(memory: u32, iterations: u32) -> bool {
    FLOOR.iter().any(|(passes, least)| iterations >= *passes && memory >= *least)
}

#[derive(Debug, Clone, Serialize)]
struct Measurement {
    engine: &'static str,
    memory_kib: u32,
    iterations: u32,
    median_ms: f64,
    /// On one processor.
    hashes_per_second: f64,
    meets_owasp_floor: bool,
}

impl Measurement {
    fn new(engine: &'static str, parameters: HashParameters, median: Duration) -> Self {
        let milliseconds = median.as_secs_f64() * 1_000.0;
        Self {
            engine,
            memory_kib: parameters.memory,
            iterations: parameters.iterations,
            median_ms: tidy(milliseconds),
            hashes_per_second: tidy(1_000.0 / milliseconds.max(0.001)),
            meets_owasp_floor: meets_floor(parameters.memory, parameters.iterations),
        }
    }
}

#[derive(Debug, Serialize)]
struct Advice {
    memory_kib: u32,
    iterations: u32,
    median_ms: f64,
    lambda_memory_mb: u32,
    /// The same hash in functions of other sizes: its GB-seconds, and so its price, are the same.
    at_other_sizes: Vec<Size>,
    gb_seconds_per_hash: f64,
    usd_per_million_hashes: f64,
}

#[derive(Debug, Serialize)]
struct Size {
    lambda_memory_mb: u32,
    ms: f64,
}

#[derive(Debug, Serialize)]
struct Calibrated {
    target_ms: u16,
    /// A debug build, whose figures are of no use for decisions.
    unoptimised: bool,
    measurements: Vec<Measurement>,
    /// `None` when nothing that was measured is strong enough and fast enough.
    advice: Option<Advice>,
}

impl CalibrateCommand {
    /// # Errors
    /// The hash failed.
    pub(crate) fn run(&self) -> Result<Answer, Failure> {
        let keyring = placeholder_keyring(SystemClock.now())?;
        let mut measurements = Vec::new();
        for memory in &self.memory {
            for iterations in &self.iterations {
                let parameters = HashParameters { memory: *memory, iterations: *iterations, lanes: 1 };
                measurements.push(engine(parameters, self.samples, &keyring)?);
                #[cfg(feature = "simd-argon2")]
                measurements.push(portable::measure(parameters, self.samples)?);
            }
        }
        let advice = advise(&measurements, f64::from(self.target_ms));
        let unoptimised = cfg!(debug_assertions);
        Answer::of(&Calibrated { target_ms: self.target_ms, unoptimised, measurements, advice })
    }
}

/// The engine that functions of the same build use, through the core's own hasher.
fn engine(parameters: HashParameters, samples: u16, keyring: &Keyring) -> Result<Measurement, Failure> {
    let name = if cfg!(feature = "simd-argon2") { "argon2-rust" } else { "argon2" };
    let hasher = PasswordHasher::new(parameters);
    let password = Password::new("correct horse battery staple")
        .map_err(|error| Failure::dependency("password_hash_failed", error.to_string()))?;
    // As in a function: the first hash, which gets the memory from the system, is none of those that count.
    hasher.warm_up();
    let median = median(samples, || Ok(hasher.hash(&password, keyring, &OsRandom).map(drop)?))?;
    Ok(Measurement::new(name, parameters, median))
}

/// RustCrypto's argon2 beside the engine that replaces it.
#[cfg(feature = "simd-argon2")]
mod portable {
    use argon2::{Algorithm, Argon2, Block, ParamsBuilder, Version};
    use sallyport_core::accounts::HashParameters;

    use super::{Measurement, median};
    use crate::failure::Failure;

    pub(super) fn measure(parameters: HashParameters, samples: u16) -> Result<Measurement, Failure> {
        let failed = |error: argon2::Error| Failure::dependency("password_hash_failed", error.to_string());
        let params = ParamsBuilder::new()
            .m_cost(parameters.memory)
            .t_cost(parameters.iterations)
            .p_cost(parameters.lanes)
            .output_len(32)
            .build()
            .map_err(failed)?;
        let mut memory = vec![Block::new(); params.block_count()];
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut tag = [0; 32];
        let mut hash = || {
            argon2.hash_password_into_with_memory(
                b"correct horse battery staple",
                &[7; 16],
                &mut tag,
                &mut memory,
            )
        };
        hash().map_err(failed)?;
        let median = median(samples, || hash().map_err(failed))?;
        Ok(Measurement::new("argon2", parameters, median))
    }
}

fn median(samples: u16, mut work: impl FnMut() -> Result<(), Failure>) -> Result<Duration, Failure> {
    let mut taken = Vec::new();
    for _ in 0..samples.max(1) {
        let started = stopwatch();
        work()?;
        taken.push(started.elapsed());
    }
    taken.sort();
    Ok(taken.get(taken.len() / 2).copied().unwrap_or_default())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark: it measures durations, and decides nothing by the clock"
)]
fn stopwatch() -> Instant {
    Instant::now()
}

/// The settings that cost an attacker most, among those that are strong enough and fast enough: memory first, since that is
/// what his hardware has least of.
fn advise(measurements: &[Measurement], target_ms: f64) -> Option<Advice> {
    let strongest = |engine: &'static str| {
        measurements
            .iter()
            .filter(|one| one.engine == engine && one.meets_owasp_floor && one.median_ms <= target_ms)
            .max_by_key(|one| (u64::from(one.memory_kib) * u64::from(one.iterations), one.memory_kib))
    };
    // What the functions of this build use was measured first.
    let best = strongest(measurements.first()?.engine)?;
    let needed = best.memory_kib.div_ceil(1_024) + BESIDES_MB;
    let lambda_memory_mb = ONE_VCPU_MB.max(needed);
    let at = |size: u32| Size {
        lambda_memory_mb: size,
        ms: tidy(best.median_ms * f64::from(ONE_VCPU_MB) / f64::from(size.min(ONE_VCPU_MB))),
    };
    let gb_seconds = f64::from(lambda_memory_mb) / 1_024.0 * best.median_ms / 1_000.0;
    Some(Advice {
        memory_kib: best.memory_kib,
        iterations: best.iterations,
        median_ms: best.median_ms,
        lambda_memory_mb,
        at_other_sizes: [512, 1_024, 3_538].into_iter().filter(|size| *size >= needed).map(at).collect(),
        gb_seconds_per_hash: (gb_seconds * 1e5).round() / 1e5,
        usd_per_million_hashes: (gb_seconds * USD_PER_GB_SECOND * 1e8).round() / 100.0,
    })
}

/// Two decimals: what is measured is no more exact.
fn tidy(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

impl fmt::Display for Calibrated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table =
            Table::new(["engine", "memory KiB", "passes", "ms per hash", "per second", "OWASP floor"]);
        for one in &self.measurements {
            table.row([
                one.engine.to_owned(),
                one.memory_kib.to_string(),
                one.iterations.to_string(),
                format!("{:.1}", one.median_ms),
                format!("{:.0}", one.hashes_per_second),
                if one.meets_owasp_floor { "met" } else { "below" }.to_owned(),
            ]);
        }
        writeln!(f, "{table}")?;
        if self.unoptimised {
            writeln!(
                f,
                "This is a debug build: measure with `cargo run --release -p sallyport -- calibrate`.\n"
            )?;
        }
        match &self.advice {
            Some(advice) => write!(f, "{advice}"),
            None => writeln!(
                f,
                "Nothing that was measured is above OWASP's floor and within {} ms: raise --target-ms.",
                self.target_ms
            ),
        }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Advised: PasswordMemoryKib={} PasswordIterations={}", self.memory_kib, self.iterations)?;
        writeln!(f, "         ({:.1} ms here, on one processor)", self.median_ms)?;
        writeln!(f, "Function size: {} MB.", self.lambda_memory_mb)?;
        writeln!(
            f,
            "  A hash runs on one processor, and Lambda gives a whole one at {ONE_VCPU_MB} MB: below that the hash takes\n  \
             longer in proportion, above it nothing is gained. Its GB-seconds are the same at every size up to there:",
        )?;
        for size in &self.at_other_sizes {
            writeln!(f, "  {:>5} MB: about {:.0} ms", size.lambda_memory_mb, size.ms)?;
        }
        writeln!(
            f,
            "  {:.5} GB-seconds a hash, ${:.2} a million (arm64). Lambda's processors differ from this one: compare\n  \
             with the duration that the function logs.",
            self.gb_seconds_per_hash, self.usd_per_million_hashes
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(engine: &'static str, memory: u32, iterations: u32, milliseconds: u64) -> Measurement {
        let parameters = HashParameters { memory, iterations, lanes: 1 };
        Measurement::new(engine, parameters, Duration::from_millis(milliseconds))
    }

    #[test]
    fn the_floor_is_owasps() {
        for (iterations, memory) in FLOOR {
            assert!(meets_floor(memory, iterations));
            assert!(!meets_floor(memory - 1, iterations), "{memory} {iterations}");
        }
        assert!(meets_floor(65_536, 3));
        assert!(!meets_floor(7_168, 4));
        assert!(meets_floor(HashParameters::DEFAULT.memory, HashParameters::DEFAULT.iterations));
    }

    #[test]
    fn advice_is_the_costliest_that_fits_and_never_below_the_floor() {
        let all = [
            measured("argon2", 7_168, 1, 2),
            measured("argon2", 19_456, 2, 12),
            measured("argon2", 47_104, 1, 15),
            measured("argon2", 65_536, 3, 90),
            measured("other", 65_536, 2, 10),
        ];
        let advised = |target| advise(&all, target).map(|advice| (advice.memory_kib, advice.iterations));
        assert_eq!(advised(60.0), Some((47_104, 1)));
        assert_eq!(advised(13.0), Some((19_456, 2)));
        assert_eq!(advised(200.0), Some((65_536, 3)));
        assert_eq!(advised(5.0), None);
    }

    #[test]
    fn the_advice_gives_its_reasons() {
        let report = Calibrated {
            target_ms: 60,
            unoptimised: false,
            advice: advise(&[measured("argon2", 19_456, 2, 12)], 60.0),
            measurements: vec![measured("argon2", 19_456, 2, 12)],
        };
        insta::assert_snapshot!(report, @r"
        ENGINE  MEMORY KIB  PASSES  MS PER HASH  PER SECOND  OWASP FLOOR
        argon2  19456       2       12.0         83          met

        Advised: PasswordMemoryKib=19456 PasswordIterations=2
                 (12.0 ms here, on one processor)
        Function size: 1769 MB.
          A hash runs on one processor, and Lambda gives a whole one at 1769 MB: below that the hash takes
          longer in proportion, above it nothing is gained. Its GB-seconds are the same at every size up to there:
            512 MB: about 41 ms
           1024 MB: about 21 ms
           3538 MB: about 12 ms
          0.02073 GB-seconds a hash, $0.28 a million (arm64). Lambda's processors differ from this one: compare
          with the duration that the function logs.
        ");
    }
}
