//! The hash alone, with the parameters and the libraries of the functions: what a login is compared with.
//!
//! `bare-hash rate ENGINE THREADS SECONDS` prints hashes per second. `bare-hash serve ENGINE` computes one hash for each
//! line that it reads and prints its wall time in nanoseconds; with `ENGINE` `wipe` it clears the memory of a hash instead.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program that measures and prints")]

use std::{
    io::BufRead as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use argon2::Block;

const MEMORY: u32 = 19_456;
const PASSES: u32 = 2;
const PASSWORD: &[u8] = b"correct horse battery staple";
const PEPPER: [u8; 32] = [7; 32];

/// One hash after the other, in memory that is used again.
enum Engine {
    Portable(Vec<Block>),
    Simd(Box<argon2_rust::Hasher>),
    Wipe(Vec<Block>),
}

impl Engine {
    fn of(name: &str) -> anyhow::Result<Self> {
        let blocks = || vec![Block::new(); usize::try_from(MEMORY).unwrap_or_default()];
        Ok(match name {
            "portable" => Self::Portable(blocks()),
            "wipe" => Self::Wipe(blocks()),
            "simd" => {
                let params = argon2_rust::Params::builder()
                    .memory(argon2_rust::params::Memory::kib(MEMORY.into()))
                    .passes(PASSES)
                    .lanes(1)
                    .tag_len(argon2_rust::params::TagLen::bytes(32))
                    .build()
                    .map_err(|error| anyhow!("{error}"))?;
                let argon2 = argon2_rust::Argon2::new(
                    argon2_rust::Algorithm::Argon2id,
                    argon2_rust::Version::V0x13,
                    params,
                );
                Self::Simd(Box::new(argon2.hasher()))
            }
            other => bail!("no engine {other}"),
        })
    }

    fn hash(&mut self, number: u64) -> anyhow::Result<()> {
        let mut salt = [0; 16];
        salt.iter_mut().zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
        let mut tag = [0; 32];
        match self {
            Self::Portable(memory) => {
                let params = argon2::Params::new(MEMORY, PASSES, 1, Some(32)).map_err(|e| anyhow!("{e}"))?;
                argon2::Argon2::new_with_secret(
                    &PEPPER,
                    argon2::Algorithm::Argon2id,
                    argon2::Version::V0x13,
                    params,
                )
                .map_err(|error| anyhow!("{error}"))?
                .hash_password_into_with_memory(PASSWORD, &salt, &mut tag, memory)
                .map_err(|error| anyhow!("{error}"))?;
            }
            Self::Simd(hasher) => hasher
                .hash_into_with_ad(PASSWORD, &salt, &PEPPER, &[], &mut tag)
                .map_err(|error| anyhow!("{error}"))?,
            Self::Wipe(memory) => {
                memory.fill(Block::new());
                std::hint::black_box(memory);
            }
        }
        std::hint::black_box(tag);
        Ok(())
    }
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["rate", engine, threads, seconds] => rate(engine, threads.parse()?, seconds.parse()?),
        ["serve", engine] => serve(engine),
        _ => bail!("bare-hash rate ENGINE THREADS SECONDS | serve ENGINE"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few thousand hashes")]
fn rate(engine: &str, threads: usize, seconds: f64) -> anyhow::Result<()> {
    let span = Duration::from_secs_f64(seconds);
    let counts = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(move || {
                    let mut engine = Engine::of(engine)?;
                    engine.hash(0)?;
                    let (started, mut done) = (Instant::now(), 0_u64);
                    while started.elapsed() < span {
                        done += 1;
                        engine.hash(done)?;
                    }
                    anyhow::Ok(done as f64 / started.elapsed().as_secs_f64())
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().map_err(|_| anyhow!("a thread broke"))?).sum()
    });
    let counts: anyhow::Result<f64> = counts;
    println!("{:.2}", counts?);
    Ok(())
}

fn serve(engine: &str) -> anyhow::Result<()> {
    let mut engine = Engine::of(engine)?;
    for number in 0..3 {
        engine.hash(number)?;
    }
    for (number, line) in (3..).zip(std::io::stdin().lock().lines()) {
        line.context("the measurer is gone")?;
        let started = Instant::now();
        engine.hash(number)?;
        println!("{}", started.elapsed().as_nanos());
    }
    Ok(())
}
