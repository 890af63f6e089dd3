//! Paths of contexts and images: slashes, no folder of the host, and any bytes.
//!
//! A name is bytes to the kernel and text to a Dockerfile. Inside of this crate it is text, in which a byte that belongs to
//! no UTF-8 stands as a character of its own ([`text_of`]); [`bytes_of`] is the way back.

use std::borrow::Cow;

/// The byte 0x80 as a character; those behind it follow up to the last one that there is (Unicode's private use, plane 16).
const FIRST_BYTE: u32 = 0x0010_FF80;

/// A name as text. Two names are the same text if they are the same bytes.
pub(crate) fn text_of(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let stands_for =
        |byte: u8| char::from_u32(FIRST_BYTE + u32::from(byte & 0x7f)).unwrap_or(char::REPLACEMENT_CHARACTER);
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match u32::from(character) >= FIRST_BYTE {
                // Somebody's own: its bytes stand apart, so that it is not taken for one.
                true => text.extend(character.encode_utf8(&mut [0; 4]).bytes().map(stands_for)),
                false => text.push(character),
            }
        }
        text.extend(chunk.invalid().iter().map(|byte| stands_for(*byte)));
    }
    text
}

/// A name as the kernel and archives have it.
pub(crate) fn bytes_of(text: &str) -> Cow<'_, [u8]> {
    let byte = |character: char| u32::from(character).checked_sub(FIRST_BYTE).and_then(|low| u8::try_from(low).ok());
    if !text.chars().any(|character| byte(character).is_some()) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match byte(character) {
            Some(low) => bytes.push(0x80 | low),
            None => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Cow::Owned(bytes)
}

/// The parts of a path without `.` and with `..` resolved; `None` where it climbs out.
pub(crate) fn clean(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Inside of an image `..` stops at the root.
pub(crate) fn absolute(base: &str, path: &str) -> String {
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{base}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// `a/b`, or `b` where the folder is the root.
pub(crate) fn join(folder: &str, name: &str) -> String {
    match (folder, name) {
        ("", name) => name.to_owned(),
        (folder, "") => folder.to_owned(),
        (folder, name) => format!("{folder}/{name}"),
    }
}

pub(crate) fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Every folder above, the outermost first.
pub(crate) fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_of_any_bytes_is_a_text_and_comes_back() {
        assert_eq!(text_of("grüße".as_bytes()), "grüße");
        let latin = b"dir/gr\xfc\xdfe";
        assert_eq!(clean(&text_of(latin)).as_deref(), Some(text_of(latin).as_str()));
        assert_eq!(&*bytes_of(&text_of(latin)), latin);
        assert_ne!(text_of(b"\xfc"), text_of("\u{10FFFC}".as_bytes()));
    }

    proptest! {
        #[test]
        fn all_bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..20), own in "[\u{10FF70}-\u{10FFFF}a]{0,4}") {
            for name in [&bytes[..], own.as_bytes()] {
                let text = text_of(name);
                prop_assert_eq!(&*bytes_of(&text), name);
            }
        }
    }

    #[test]
    fn paths_stay_inside() {
        assert_eq!(clean("./a//b/../c/").as_deref(), Some("a/c"));
        assert_eq!(clean("/"), Some(String::new()));
        assert_eq!(clean("a/../../b"), None);
        assert_eq!(absolute("/w", "../../a"), "/a");
        assert_eq!(absolute("/w", "b/./c"), "/w/b/c");
        assert_eq!(parents("a/b/c").collect::<Vec<_>>(), ["a", "a/b"]);
    }
}
