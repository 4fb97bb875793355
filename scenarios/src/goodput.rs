//! How much of what accounts allow is had: [`rows`].
//!
//! Four accounts of three keys each, with limits of requests and tokens in rolling windows, and
//! calls of all sizes that come by chance. Each scene is played, on the same seed, by fairkey and
//! by what it is compared with; what came of it stands next to a bound that no scheduler can pass
//! ([`Ideal`]), and to the floors that must be kept.

mod fairness;
mod ideal;
mod play;
mod rows;
mod scene;
mod system;
mod traffic;

pub use fairness::{Shares, shares};
pub use ideal::{Ideal, Size, Sizes};
pub use play::{Failure, Measured, always_503, come_again, play};
pub use rows::{Floor, Played, Row, rows};
pub use scene::{
    ACCOUNTS, Limits, MAX_WAIT, MODEL, OTHER_MODEL, PATIENCE, PROVIDER, Scene, WINDOW,
};
pub use system::{Came, Sends, System};
pub use traffic::Traffic;
