//! What a backend is started with.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// How to run the backend. The default is what the suites want: free ports, everything in memory, no demo accounts.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The port of the API; 0 takes a free one.
    pub port: u16,
    /// The port of the database and of the keyring; 0 takes a free one.
    pub dynamodb_port: u16,
    /// Where the data is kept; absent, it is gone with the process.
    pub data: Option<PathBuf>,
    /// Added to every call of the database.
    pub latency: Duration,
    /// Whether to create the demo accounts.
    pub demo: bool,
    /// The password of the demo accounts; absent, one is generated.
    pub demo_password: Option<String>,
    /// Keeps the functions' lines off stdout; the console shows them in any case.
    pub quiet: bool,
    /// What the secret of outside providers holds from the start, such as `metrics_token`.
    pub providers: BTreeMap<String, String>,
    /// Faults that stand from the start, as `/_local/faults` takes them; with `"service": "secretsmanager"` of the keyring.
    pub faults: Vec<String>,
    /// Variables of the functions that differ from the local defaults, such as `SALLYPORT_ADDRESS_LIMIT`.
    pub environment: BTreeMap<String, String>,
    /// How often changes of the sessions are handed to the maintenance function; absent, only before it is handed an event.
    pub stream_every: Option<Duration>,
    /// Whether functions start when they are first handed an event by the console or a schedule, as those of a new deployment do,
    /// and not with the backend: until then the keyring is empty.
    pub cold: bool,
    /// Whether the schedules of the template are played, as they are in the cloud; the suites call the functions when they want.
    pub schedules: bool,
    /// A directory in which this process notes what it answered to which route.
    pub answers: Option<PathBuf>,
}
