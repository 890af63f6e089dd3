//! `--chown` and `--chmod`: names and numbers against an image's accounts.

use crate::error::BuildError;
use crate::messages;

/// `user[:group]` by the contents of passwd and group. Without a group it is the user's own, or that of the same number.
pub(crate) fn owner(text: &str, passwd: &str, group: &str) -> Result<(u32, u32), BuildError> {
    let (user, group_name) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let account = entries(passwd).find(|fields| fields[0] == user);
    let uid = match user {
        "" => 0,
        _ => user
            .parse()
            .ok()
            .or_else(|| account.as_ref()?.get(2)?.parse().ok())
            .ok_or_else(|| messages::no_owner("uid", user))?,
    };
    let gid = match group_name.filter(|name| !name.is_empty()) {
        Some(name) => name
            .parse()
            .ok()
            .or_else(|| entries(group).find(|fields| fields[0] == name)?.get(2)?.parse().ok())
            .ok_or_else(|| messages::no_owner("gid", name))?,
        None => match account.as_ref().and_then(|fields| fields.get(3)?.parse().ok()) {
            Some(gid) => gid,
            None => uid,
        },
    };
    Ok((uid, gid))
}

fn entries(file: &str) -> impl Iterator<Item = Vec<&str>> {
    file.lines().map(|line| line.split(':').collect())
}

/// `755`, `u+x,go-w`. Letters change the mode that is there; `X` is `x` for folders and what may be executed already.
pub(crate) fn mode(text: &str, current: u32, is_folder: bool) -> Result<u32, BuildError> {
    let wrong = || {
        BuildError::invalid(format!(
            "invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
        ))
    };
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777).ok_or_else(wrong);
    }
    let mut mode = current;
    for clause in text.split(',') {
        let at = clause.find(['+', '-', '=']).ok_or_else(wrong)?;
        let (who, rest) = clause.split_at(at);
        let mut shifts = Vec::new();
        for c in who.chars() {
            match c {
                'u' => shifts.push(6),
                'g' => shifts.push(3),
                'o' => shifts.push(0),
                'a' => shifts.extend([6, 3, 0]),
                _ => return Err(wrong()),
            }
        }
        if shifts.is_empty() {
            shifts = vec![6, 3, 0];
        }
        let mut bits = 0;
        for c in rest[1..].chars() {
            bits |= match c {
                'r' => 4,
                'w' => 2,
                'x' => 1,
                'X' if is_folder || mode & 0o111 != 0 => 1,
                'X' => 0,
                _ => return Err(wrong()),
            };
        }
        for shift in shifts {
            match rest.as_bytes()[0] {
                b'+' => mode |= bits << shift,
                b'-' => mode &= !(bits << shift),
                _ => mode = mode & !(0o7 << shift) | bits << shift,
            }
        }
    }
    Ok(mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_names_or_numbers() {
        let (passwd, group) = ("root:x:0:0::/:\napp:x:10:20::/:\n", "root:x:0:\nstaff:x:50:\n");
        for (text, expected) in [
            ("app", (10, 20)),
            ("app:staff", (10, 50)),
            ("7", (7, 7)),
            ("7:8", (7, 8)),
            (":staff", (0, 50)),
            ("10:app2", (0, 0)),
        ] {
            match owner(text, passwd, group) {
                Ok(found) => assert_eq!(found, expected, "{text}"),
                Err(error) => assert!(error.to_string().contains("can't find gid for app2"), "{error}"),
            }
        }
        assert!(owner("nobody", passwd, group).unwrap_err().to_string().contains("can't find uid for nobody"));
    }

    #[test]
    fn modes_are_octal_or_letters() {
        assert_eq!(mode("755", 0, false).unwrap(), 0o755);
        assert_eq!(mode("u+x,go-w", 0o666, false).unwrap(), 0o744);
        assert_eq!(mode("a=rX", 0o600, true).unwrap(), 0o555);
        assert_eq!(mode("+X", 0o644, false).unwrap(), 0o644);
        for text in ["8", "77777", "u", "z+x", "u+q"] {
            assert!(mode(text, 0, false).is_err(), "{text}");
        }
    }
}
