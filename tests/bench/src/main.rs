//! Measures the shipped functions and the local backend; `tests/bench/run` builds what is measured and calls this.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports on the terminal")]
#![allow(
    clippy::disallowed_methods,
    reason = "benchmarks measure durations of other processes, and wait in between"
)]

mod accounts;
mod bootstrap;
mod client;
mod cpu;
mod enumeration;
mod event;
mod load;
mod process;
mod report;
mod start;
mod stats;
mod tls;
mod totp;
mod usage;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, bail};
use clap::Parser;

use crate::process::timed;

/// Measures and reports as Markdown.
#[derive(Debug, Parser)]
#[command(name = "sallyport-bench")]
struct Cli {
    /// start, cpu, load, usage, enumeration; all when none is given.
    sections: Vec<String>,
    /// Where the binaries are: shipped/, simd/, local, bare-hash.
    #[arg(long)]
    binaries: PathBuf,
    /// Fewer and shorter rounds, to see whether it works.
    #[arg(long)]
    quick: bool,
    /// The root of the repository: puts the results into its documents.
    #[arg(long)]
    write: Option<PathBuf>,
    /// What the head of each section says of how the binaries were built.
    #[arg(long, default_value = "")]
    build: String,
}

/// What the sections need to know.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) binaries: PathBuf,
    pub(crate) quick: bool,
    /// A directory for what is needed on the way.
    pub(crate) work: PathBuf,
}

type Section = (&'static str, fn(&Options) -> anyhow::Result<String>, &'static str);

const SECTIONS: [Section; 5] = [
    ("start", start::run, "docs/BENCHMARKS.md"),
    ("cpu", cpu::run, "docs/BENCHMARKS.md"),
    ("load", load::run, "docs/BENCHMARKS.md"),
    ("usage", usage::run, "docs/BENCHMARKS.md"),
    ("enumeration", enumeration::run, "docs/SECURITY.md"),
];

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    if let Some(unknown) = cli.sections.iter().find(|name| SECTIONS.iter().all(|section| section.0 != *name))
    {
        bail!("there is no section {unknown}");
    }
    let work = cli.binaries.join("work");
    fs::create_dir_all(&work)?;
    let options = Options { binaries: cli.binaries, quick: cli.quick, work };
    for (name, run, document) in SECTIONS {
        if !cli.sections.is_empty() && !cli.sections.iter().any(|section| section == name) {
            continue;
        }
        eprintln!("== {name}");
        let head = machine(&cli.build, cli.quick);
        let (outcome, elapsed) = timed(|| run(&options));
        let text = format!(
            "{head} {:.0} s.\n\n{}",
            elapsed.as_secs_f64(),
            outcome.with_context(|| format!("section {name}"))?
        );
        println!("## {name}\n\n{text}");
        fs::write(options.work.join(format!("{name}.md")), &text)?;
        if let Some(root) = &cli.write {
            report::replace(&root.join(document), name, &text)?;
        }
    }
    Ok(())
}

/// What a reader needs to know of the machine. Its load before the run says whether the figures are to be trusted.
fn machine(build: &str, quick: bool) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = info.lines().filter(|line| line.starts_with("processor")).count();
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    let model = model.map_or("unknown processor", |(_, model)| model);
    let kind = if quick { "Quick run, not for comparison. " } else { "" };
    format!("{kind}{cores} × {model}, load before the run {load}. {build}")
}
