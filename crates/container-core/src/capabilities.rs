//! Capabilities of a container: Docker's default set, what is added, what is dropped (capabilities(7)).

use kernel_names::CAPABILITIES;

use crate::ConfigError;

/// What a container gets when nobody says otherwise.
pub const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// The set of a container. `bounding` is the daemon's own bounding set as a bit mask: what is not in it cannot be given, and
/// a privileged container gets the whole of it. `ALL` adds or drops everything.
pub fn capabilities_of(
    privileged: bool,
    add: &[String],
    drop: &[String],
    bounding: u64,
) -> Result<Vec<&'static str>, ConfigError> {
    let add = normalised("CapAdd", add)?;
    let drop = normalised("CapDrop", drop)?;
    let available = CAPABILITIES.iter().enumerate().filter(|(bit, _)| bounding >> bit & 1 == 1).map(|(_, name)| *name);
    if privileged {
        return Ok(available.collect());
    }
    let added = |name: &str| add.contains(&Named::One(name)) || add.contains(&Named::All);
    let dropped = |name: &str| drop.contains(&Named::One(name));
    let base = |name: &str| DEFAULT_CAPABILITIES.contains(&name) && !drop.contains(&Named::All);
    Ok(available.filter(|name| (base(name) && !dropped(name)) || (added(name) && !dropped(name))).collect())
}

#[derive(PartialEq)]
enum Named<'a> {
    All,
    One(&'a str),
}

/// Names in any case, with or without `CAP_`.
fn normalised(list: &'static str, names: &[String]) -> Result<Vec<Named<'static>>, ConfigError> {
    names
        .iter()
        .map(|name| {
            let upper = name.trim().to_ascii_uppercase();
            if upper == "ALL" || upper == "CAP_ALL" {
                return Ok(Named::All);
            }
            let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
            let known = CAPABILITIES.iter().find(|known| known.strip_prefix("CAP_") == Some(bare));
            let unknown = || ConfigError::Capability { list, name: format!("CAP_{bare}") };
            known.map(|known| Named::One(known)).ok_or_else(unknown)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYTHING: u64 = (1 << 41) - 1;

    fn set(add: &[&str], drop: &[&str]) -> Vec<&'static str> {
        let own = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        capabilities_of(false, &own(add), &own(drop), EVERYTHING).unwrap()
    }

    #[test]
    fn nothing_asked_gives_dockers_fourteen() {
        let mut expected = DEFAULT_CAPABILITIES.to_vec();
        let mut got = set(&[], &[]);
        expected.sort_unstable();
        got.sort_unstable();
        assert_eq!(got, expected);
    }

    #[test]
    fn additions_and_removals_take_any_spelling() {
        assert!(set(&["net_admin", "CAP_SYS_TIME"], &[]).contains(&"CAP_NET_ADMIN"));
        assert!(!set(&[], &["chown"]).contains(&"CAP_CHOWN"));
    }

    #[test]
    fn all_adds_or_drops_everything_but_what_is_named() {
        assert_eq!(set(&["ALL"], &[]).len(), 41);
        assert_eq!(set(&["all"], &["SYS_ADMIN"]).len(), 40);
        assert_eq!(set(&["CHOWN"], &["ALL"]), ["CAP_CHOWN"]);
        assert!(set(&[], &["ALL"]).is_empty());
    }

    #[test]
    fn what_the_daemon_lacks_cannot_be_given() {
        let without_resource = EVERYTHING & !(1 << 24);
        let privileged = capabilities_of(true, &[], &[], without_resource).unwrap();
        assert_eq!(privileged.len(), 40);
        assert!(!privileged.contains(&"CAP_SYS_RESOURCE"));
    }

    #[test]
    fn an_unknown_capability_is_named_in_dockers_words() {
        let error = capabilities_of(false, &["FLY".to_owned()], &[], EVERYTHING).unwrap_err();
        assert_eq!(error.to_string(), "invalid CapAdd: unknown capability: \"CAP_FLY\"");
    }
}
