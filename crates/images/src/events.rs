//! What the service tells the daemon, and what it asks it.

use std::collections::BTreeMap;

use ids::Digest;

/// What happened to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageEventKind {
    Pull,
    Push,
    Tag,
    Untag,
    Delete,
    Import,
    Create,
    Save,
    Load,
    Prune,
}

impl ImageEventKind {
    /// The word in Docker's event stream.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Tag => "tag",
            Self::Untag => "untag",
            Self::Delete => "delete",
            Self::Import => "import",
            Self::Create => "create",
            Self::Save => "save",
            Self::Load => "load",
            Self::Prune => "prune",
        }
    }
}

/// One event. `id` is a name for pull and push, the image's id otherwise; attributes are its labels and `name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageEvent {
    pub kind: ImageEventKind,
    pub id: String,
    pub attributes: BTreeMap<String, String>,
}

/// Where events go. Must not block.
pub trait EventSink: Send + Sync {
    fn image_event(&self, event: ImageEvent);
}

/// A container that was made from an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUser {
    pub container_id: String,
    pub running: bool,
}

/// Who uses an image: the containers service knows.
pub trait ImageUsers: Send + Sync {
    fn users_of(&self, image: &Digest) -> Vec<ImageUser>;
}
