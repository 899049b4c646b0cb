//! What every process needs and a simulation must be able to replace: clock, randomness, shutdown;
//! budgets of memory and telemetry. It holds no noun of the domain.

pub mod clock;
pub mod memory;
pub mod random;
pub mod shutdown;
pub mod telemetry;

pub use clock::{Clock, ManualClock, SystemClock};
pub use random::Random;
pub use shutdown::Shutdown;
