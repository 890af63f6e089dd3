//! What the child and the parent say to each other: records of 16 bytes on a socket pair that keeps their borders.

/// The bit of a hook's exit status that says: what stands below is the signal that ended it.
pub const HOOK_SIGNALLED: u32 = 1 << 15;

/// Where in a step it failed, for the parent's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Detail {
    None = 0,
    /// The source of a mount could not be opened.
    Source = 1,
    /// The place for a mount could not be opened or made.
    Target = 2,
    /// The target lies where no mount may be.
    Forbidden = 3,
    /// The file system did not take the option of this number.
    Option = 4,
    /// The file system could not be created.
    Create = 5,
    /// Attributes or propagation could not be set.
    Attributes = 6,
    /// A hook's process ended: its number and its [`exit status`](HOOK_SIGNALLED).
    HookExit = 7,
    /// A hook did not end in time.
    HookTimeout = 8,
    /// The parent is gone or refused.
    Parent = 9,
    /// The working directory lies outside of the root (CVE-2024-21626).
    OutsideRoot = 10,
    /// What stands for /dev/null is another thing (CVE-2025-31133).
    NotNull = 11,
    /// What a folder holds could not be copied into the tmpfs over it.
    CopyUp = 12,
}

impl Detail {
    fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Source,
            2 => Self::Target,
            3 => Self::Forbidden,
            4 => Self::Option,
            5 => Self::Create,
            6 => Self::Attributes,
            7 => Self::HookExit,
            8 => Self::HookTimeout,
            9 => Self::Parent,
            10 => Self::OutsideRoot,
            11 => Self::NotNull,
            12 => Self::CopyUp,
            _ => Self::None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// The child waits at this point (`Point as u32`).
    Waiting { point: u32 },
    /// A step failed; the child is ending.
    Failed { step: u32, errno: i32, detail: Detail, number: u32 },
    /// All is set up; what follows is the program.
    Ready,
    /// Something was degraded at this step.
    Degraded { step: u32, errno: i32 },
    /// A second child goes on; its pidfd comes with this.
    Cloned,
    /// The filter's listener, by its number in the child.
    Listener { fd: u32 },
    /// The mount of this slot is wanted; its source comes with this, and the mount with the answer.
    Tree { slot: u32 },
}

impl Message {
    pub const LENGTH: usize = 20;

    pub fn encode(self) -> [u8; Self::LENGTH] {
        let words = match self {
            Self::Waiting { point } => [1, point, 0, 0, 0],
            Self::Failed { step, errno, detail, number } => [2, step, errno as u32, detail as u32, number],
            Self::Ready => [3, 0, 0, 0, 0],
            Self::Degraded { step, errno } => [4, step, errno as u32, 0, 0],
            Self::Cloned => [5, 0, 0, 0, 0],
            Self::Listener { fd } => [6, fd, 0, 0, 0],
            Self::Tree { slot } => [7, slot, 0, 0, 0],
        };
        let mut bytes = [0; Self::LENGTH];
        for (to, word) in bytes.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != Self::LENGTH {
            return None;
        }
        let mut words = [0_u32; 5];
        for (word, from) in words.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = u32::from_ne_bytes(from.try_into().ok()?);
        }
        match words[0] {
            1 => Some(Self::Waiting { point: words[1] }),
            2 => Some(Self::Failed {
                step: words[1],
                errno: words[2] as i32,
                detail: Detail::from_number(words[3]),
                number: words[4],
            }),
            3 => Some(Self::Ready),
            4 => Some(Self::Degraded { step: words[1], errno: words[2] as i32 }),
            5 => Some(Self::Cloned),
            6 => Some(Self::Listener { fd: words[1] }),
            7 => Some(Self::Tree { slot: words[1] }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_socket() {
        let failed = Message::Failed { step: 7, errno: 13, detail: Detail::Target, number: 2 };
        let degraded = Message::Degraded { step: 1, errno: 1 };
        let listener = Message::Listener { fd: 9 };
        let tree = Message::Tree { slot: 12 };
        for message in
            [Message::Ready, Message::Waiting { point: 2 }, failed, degraded, Message::Cloned, listener, tree]
        {
            assert_eq!(Message::decode(&message.encode()), Some(message));
        }
        assert_eq!(Message::decode(&[0; 20]), None);
        assert_eq!(Message::decode(&[2; 3]), None);
    }
}
