//! Who a process is: `--user` resolved against the passwd and group files of the image.
//!
//! The files are an attacker's (they come out of an image): broken lines are skipped, sizes are the caller's to bound.

use errors::{ErrorKind, Kind};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvedUser {
    pub uid: u32,
    pub gid: u32,
    /// The primary group first, as Docker hands them to the runtime.
    pub additional_gids: Vec<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoUser(String),
    #[error("unable to find group {0}: no matching entries in group file")]
    NoGroup(String),
    #[error("uids and gids must be in range 0-2147483647")]
    Range,
}

impl Kind for UserError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// Docker's limit: what does not fit an i32 is refused although the kernel takes more.
const LARGEST_ID: u32 = i32::MAX as u32;

/// `user` as `name|uid[:group|gid]`, empty for root. A number need not stand in the files, a name must. The
/// supplementary groups are those that list the user, unless a group was named; `--group-add` comes on top.
pub fn resolve_user(user: &str, group_add: &[String], passwd: &[u8], group: &[u8]) -> Result<ResolvedUser, UserError> {
    let (who, which) = user.split_once(':').unwrap_or((user, ""));
    let passwd = String::from_utf8_lossy(passwd);
    let group = String::from_utf8_lossy(group);
    let number = id(who)?;
    // A name that looks like a number is looked up as a name first, as the C library's tools do.
    let wanted = if who.is_empty() { Some(0) } else { number };
    let account = accounts(&passwd)
        .find(|account| account.name == who)
        .or_else(|| accounts(&passwd).find(|account| wanted == Some(account.uid)));
    let (uid, mut gid) = match (&account, wanted) {
        (Some(account), _) => (account.uid, account.gid),
        (None, Some(uid)) => (uid, 0),
        (None, None) => return Err(UserError::NoUser(who.to_owned())),
    };
    let mut supplementary = Vec::new();
    if which.is_empty() {
        let name = account.as_ref().map_or("", |account| account.name);
        let lists = |g: &Group<'_>| !name.is_empty() && g.members.split(',').any(|member| member.trim() == name);
        supplementary.extend(groups(&group).filter(lists).map(|g| g.gid));
    } else {
        gid = group_id(which, &group)?;
    }
    for added in group_add {
        supplementary.push(group_id(added, &group)?);
    }
    let mut additional_gids = vec![gid];
    for more in supplementary {
        if !additional_gids.contains(&more) {
            additional_gids.push(more);
        }
    }
    Ok(ResolvedUser { uid, gid, additional_gids })
}

/// A number in range, `None` for a name.
fn id(text: &str) -> Result<Option<u32>, UserError> {
    let negative =
        text.strip_prefix('-').is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()));
    if negative {
        return Err(UserError::Range);
    }
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    text.parse().ok().filter(|n| *n <= LARGEST_ID).map(Some).ok_or(UserError::Range)
}

fn group_id(which: &str, file: &str) -> Result<u32, UserError> {
    if let Some(group) = groups(file).find(|group| group.name == which) {
        return Ok(group.gid);
    }
    id(which)?.ok_or_else(|| UserError::NoGroup(which.to_owned()))
}

fn accounts(file: &str) -> impl Iterator<Item = Account<'_>> {
    file.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next()?;
        let mut number = || fields.next()?.parse::<u32>().ok();
        // The password field first: never a number that counts.
        let _ = number();
        Some(Account { name, uid: number()?, gid: number()? })
    })
}

fn groups(file: &str) -> impl Iterator<Item = Group<'_>> {
    file.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next()?;
        let _password = fields.next()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Group { name, gid, members: fields.next().unwrap_or("") })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\nbroken\napp:x:100:101:app:/:/bin/sh\n42:x:7:8::/:\n";
    const GROUP: &[u8] = b"root:x:0:\nwheel:x:10:root,app\napp:x:101:\n\xff\xfe\nvideo:x:44:app\n";

    fn resolve(user: &str) -> Result<ResolvedUser, UserError> {
        resolve_user(user, &[], PASSWD, GROUP)
    }

    fn user(uid: u32, gid: u32, additional: &[u32]) -> Result<ResolvedUser, UserError> {
        Ok(ResolvedUser { uid, gid, additional_gids: additional.to_vec() })
    }

    #[test]
    fn nobody_named_is_root_with_the_groups_that_list_it() {
        assert_eq!(resolve(""), user(0, 0, &[0, 10]));
        assert_eq!(resolve("root"), resolve("0"));
    }

    #[test]
    fn a_name_brings_its_groups_and_a_named_group_replaces_them() {
        assert_eq!(resolve("app"), user(100, 101, &[101, 10, 44]));
        assert_eq!(resolve("app:wheel"), user(100, 10, &[10]));
        assert_eq!(resolve("100:5"), user(100, 5, &[5]));
    }

    #[test]
    fn numbers_need_not_stand_in_the_files_but_names_must() {
        assert_eq!(resolve("1000"), user(1000, 0, &[0]));
        assert_eq!(
            resolve("ghost").unwrap_err().to_string(),
            "unable to find user ghost: no matching entries in passwd file"
        );
        assert_eq!(resolve("app:ghosts").unwrap_err(), UserError::NoGroup("ghosts".to_owned()));
    }

    #[test]
    fn a_name_made_of_digits_is_a_name_first() {
        assert_eq!(resolve("42"), user(7, 8, &[8]));
    }

    #[test]
    fn ids_beyond_the_range_are_refused() {
        for out in ["4294967296", "2147483648", "-1", "0:99999999999"] {
            assert_eq!(resolve(out).unwrap_err(), UserError::Range, "{out}");
        }
    }

    #[test]
    fn added_groups_come_once_each() {
        let added = ["video".to_owned(), "7".to_owned(), "7".to_owned()];
        assert_eq!(resolve_user("app", &added, PASSWD, GROUP), user(100, 101, &[101, 10, 44, 7]));
    }
}
