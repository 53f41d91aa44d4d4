//! A backend without the kit's callers.

use std::ops::Deref;

use crate::secrets::{self, Watch};

/// A backend for suites that bring their own callers. They tell [`secrets`] what is secret, and it looks when it ends.
#[derive(Debug)]
pub struct Watched {
    running: local::Backend,
    _watch: Watch,
}

impl Watched {
    /// # Errors
    /// When it does not start.
    pub async fn start(options: local::Options) -> anyhow::Result<Self> {
        options.providers.values().for_each(|value| secrets::secret(value));
        let running = local::Backend::start(options).await?;
        Ok(Self { _watch: Watch::over(running.log_lines()), running })
    }
}

impl Deref for Watched {
    type Target = local::Backend;

    fn deref(&self) -> &local::Backend {
        &self.running
    }
}
