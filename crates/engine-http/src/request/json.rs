//! Bodies as JSON, and what is wrong with them in the words of Docker.

use engine_api::go_json::{Document, JsonError};
use serde::de::DeserializeOwned;

use crate::status::Failure;

/// One value and nothing behind it.
pub fn decode<T: DeserializeOwned>(text: &[u8]) -> Result<T, Failure> {
    decode_with(text, |document| document.read())
}

/// The same, read in a way of its own.
pub fn decode_with<T>(text: &[u8], read: impl FnOnce(&Document<'_>) -> Result<T, JsonError>) -> Result<T, Failure> {
    Document::parse(text).and_then(|document| read(&document)).map_err(|error| {
        Failure::bad_request(match error {
            JsonError::Empty => "invalid JSON: got EOF while reading request body".to_owned(),
            JsonError::Trailing => error.to_string(),
            error => format!("invalid JSON: {error}"),
        })
    })
}

/// The same of an operation that tells what is wrong as a fault of its own (`POST /auth`).
pub fn decode_or_fail<T: DeserializeOwned>(text: &[u8]) -> Result<T, Failure> {
    let read = Document::parse_first(text).and_then(|document| document.read());
    read.map_err(|error| Failure::internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    type Map = BTreeMap<String, i64>;

    #[test]
    fn what_is_wrong_is_told_in_docker_s_words() {
        for (text, message) in [
            ("", "invalid JSON: got EOF while reading request body"),
            ("{", "invalid JSON: unexpected EOF"),
            ("{} {}", "unexpected content after JSON"),
            (r#"{"a": "1"}"#, "invalid JSON: json: cannot unmarshal string into Go value of type int64"),
        ] {
            assert_eq!(decode::<Map>(text.as_bytes()).unwrap_err().message, message);
        }
        assert_eq!(decode::<Map>(b" {\"a\":1}\n\n").unwrap()["a"], 1);
    }

    #[test]
    fn a_login_that_is_no_json_is_a_fault() {
        let failure = decode_or_fail::<Map>(b"").unwrap_err();
        assert_eq!((failure.status.as_u16(), failure.message.as_str()), (500, "EOF"));
        assert_eq!(decode_or_fail::<Map>(b"{} {}").unwrap(), Map::new());
    }
}
