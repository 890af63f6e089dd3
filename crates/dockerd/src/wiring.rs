//! Joins the services: each sees its neighbours through traits of its own, which are carried out here.

mod events;
mod images;
mod sandboxes;

pub use events::BusSinks;
pub use images::{ImageLookup, UsersOfImages};
pub use sandboxes::NetworkSandboxes;
