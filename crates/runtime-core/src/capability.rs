//! Sets of capabilities (capabilities(7)).

use kernel_names::CAPABILITIES;

/// The highest capability that has a name.
pub const HIGHEST: u32 = CAPABILITIES.len() as u32 - 1;

pub fn number(name: &str) -> Option<u32> {
    CAPABILITIES.iter().position(|known| *known == name).map(|index| index as u32)
}

pub fn names() -> &'static [&'static str] {
    &CAPABILITIES
}

/// The capabilities of a list as bits, and the names that no kernel has.
pub fn bits<'a>(names: impl IntoIterator<Item = &'a String>) -> (u64, Vec<&'a str>) {
    let mut set = 0;
    let mut unknown = Vec::new();
    for name in names {
        match number(name) {
            Some(bit) => set |= 1 << bit,
            None => unknown.push(name.as_str()),
        }
    }
    (set, unknown)
}

/// The names of a set, for messages.
pub fn list(set: u64) -> String {
    let names: Vec<&str> =
        CAPABILITIES.iter().enumerate().filter(|(bit, _)| set & (1 << bit) != 0).map(|(_, name)| *name).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_kernels_numbers() {
        assert_eq!(number("CAP_SYS_ADMIN"), Some(21));
        assert_eq!(number("CAP_CHECKPOINT_RESTORE"), Some(40));
        assert_eq!(number("CAP_FLY"), None);
        assert_eq!(list(1 | 1 << 24), "CAP_CHOWN, CAP_SYS_RESOURCE");
    }
}
