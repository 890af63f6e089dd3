//! Docker's log drivers: which options they take, which file the pump keeps for them, and how they ship it elsewhere.
//!
//! - [`validate`] and [`local_log`] check options in Docker's words; the latter says what the pump has to keep.
//! - [`Shipping`] ships the logs of syslog, journald, fluentd and gelf from that file: a task a container, which reads
//!   behind a saved cursor, sends, and saves the cursor when the receiver has what was sent.
//! - [`Watches`] wakes everybody who follows a log.
//!
//! Invariants: nothing here holds up a container; the cursor never passes a message that has not been sent; what was on its
//! way when the daemon died is sent again (docs/decisions/log-shipping.md). Names are resolved by `resolver`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod address;
mod batch;
mod driver;
mod error;
mod fluentd;
mod gelf;
mod info;
mod journald;
mod local_log;
mod messages;
mod options;
mod retry;
mod shipper;
mod shipping;
mod syslog;
mod tls;
mod transport;
mod values;
mod watches;

pub use error::Error;
pub use info::{Info, Options};
pub use local_log::{LocalLog, is_readable, local_log, log_format, log_path, ships};
pub use options::{DRIVERS, validate, with_defaults};
pub use shipping::{Dialled, Shipping};
pub use watches::{Watched, Watches};
