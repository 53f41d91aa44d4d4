//! What each use case costs in DynamoDB requests, round trips and capacity units. A number that grows fails the test: it
//! is money and latency of everybody who runs this.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "what fails here fails a test, and should say where"
)]

#[path = "../faults/deployment.rs"]
#[allow(dead_code, reason = "the faults also go on after a scenario")]
mod deployment;
mod measure;
#[path = "../faults/scenario.rs"]
#[allow(dead_code, reason = "the faults also go on after a scenario")]
mod scenario;
mod sessions;
#[path = "../faults/state.rs"]
#[allow(dead_code, reason = "the faults also look at what changed")]
mod state;
mod table;
