//! Joins the services: each sees its neighbours through traits of its own, which are carried out here.

mod builds;
mod events;
mod images;
mod sandboxes;
mod volumes;

pub use builds::{BuildImages, BuildRuns, StepImages};
pub use events::BusSinks;
pub use images::{EventsOfContainers, ImageLookup, UsersOfImages};
pub use sandboxes::NetworkSandboxes;
pub use volumes::VolumeProvider;
