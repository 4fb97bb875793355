//! How a run is told to end before its input does: [`Stop`].

use std::sync::Arc;

use tokio::sync::watch;

/// Tells a run to end early. Clones are one and the same.
///
/// ```
/// use fairkey_batch::Stop;
///
/// let stop = Stop::new();
/// let handle = stop.clone(); // for whoever hears the signal
/// handle.stop();
/// assert!(stop.is_stopping());
/// ```
#[derive(Clone, Debug)]
pub struct Stop(Arc<watch::Sender<Level>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Run,
    Stop,
    Abandon,
}

impl Stop {
    /// Makes one that nobody has used yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Level::Run)))
    }

    /// Asks the run to start nothing more, and to finish what is in flight as long as its
    /// configuration allows.
    pub fn stop(&self) {
        self.raise(Level::Stop);
    }

    /// Asks the run to abandon what is in flight, too.
    pub fn abandon(&self) {
        self.raise(Level::Abandon);
    }

    /// Returns whether the run was asked to end, in whichever way.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        *self.0.borrow() >= Level::Stop
    }

    /// Waits until the run is asked to end, in whichever way.
    ///
    /// # Cancel safety
    ///
    /// Loses nothing.
    pub async fn stopping(&self) {
        self.reached(Level::Stop).await;
    }

    /// Waits until the run is asked to abandon what is in flight.
    pub(crate) async fn abandoning(&self) {
        self.reached(Level::Abandon).await;
    }

    async fn reached(&self, level: Level) {
        let mut receiver = self.0.subscribe();
        // The sender is `self`: it cannot be gone.
        let _ = receiver.wait_for(|now| *now >= level).await;
    }

    fn raise(&self, level: Level) {
        self.0.send_if_modified(|now| {
            let raised = *now < level;
            *now = level.max(*now);
            raised
        });
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}
