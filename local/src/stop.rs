//! The one signal that ends every server.

use tokio::sync::watch;

/// Ends what listens to it, when told or when dropped.
#[derive(Debug)]
pub(crate) struct Stopper(watch::Sender<bool>);

/// What a server listens to.
#[derive(Debug, Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

pub(crate) fn channel() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    pub(crate) fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Resolves once the servers are to end.
    pub(crate) async fn requested(&self) {
        // An error says that the stopper is gone, which means the same.
        drop(self.0.clone().wait_for(|stopped| *stopped).await);
    }
}
