//! Threads of their own: hashing passwords holds a thread for 11 ms, and the database may not wait for it.

use tokio::runtime::{Builder, Handle, Runtime};

/// A runtime that can be dropped anywhere.
#[derive(Debug)]
pub(crate) struct Threads {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Threads {
    /// # Errors
    /// When the system gives no threads.
    pub(crate) fn start(name: &str, count: usize) -> anyhow::Result<Self> {
        let runtime =
            Builder::new_multi_thread().worker_threads(count).thread_name(name).enable_all().build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Threads {
    /// In the background: a runtime that waits for its threads may not be dropped within another.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
