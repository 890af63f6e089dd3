//! Sizes as Docker's options write them: `64m`, `1.5GiB`, `65536`.

use go_text::size::parse_bytes;

/// The member of a file: a number of bytes or a text.
pub fn from_json<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    use serde::Deserialize;
    use serde::de::Error;
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Size {
        Number(i64),
        Text(String),
    }
    match Option::<Size>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Size::Number(bytes)) => Ok(Some(bytes)),
        Some(Size::Text(text)) => {
            parse_bytes(&text).map(Some).ok_or_else(|| D::Error::custom(format!("invalid size: '{text}'")))
        }
    }
}
