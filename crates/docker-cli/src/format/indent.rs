//! JSON with line breaks, byte for byte what the daemon sent between them (numbers and escapes stay as they are).

/// Indents valid JSON by `step` blanks a level, starting `level` deep.
pub fn indent(json: &[u8], step: usize, level: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() * 2);
    let mut level = level;
    let mut in_string = false;
    let mut escaped = false;
    let mut bytes = json.iter().copied().peekable();
    let newline = |out: &mut Vec<u8>, level: usize| {
        out.push(b'\n');
        out.extend(std::iter::repeat_n(b' ', level * step));
    };
    while let Some(byte) = bytes.next() {
        if in_string {
            out.push(byte);
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b'"' => {
                in_string = true;
                out.push(byte);
            }
            b'{' | b'[' => {
                out.push(byte);
                while bytes.next_if(u8::is_ascii_whitespace).is_some() {}
                if let Some(close) = bytes.next_if(|next| matches!(next, b'}' | b']')) {
                    out.push(close);
                } else {
                    level += 1;
                    newline(&mut out, level);
                }
            }
            b'}' | b']' => {
                level = level.saturating_sub(1);
                newline(&mut out, level);
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                newline(&mut out, level);
            }
            b':' => out.extend_from_slice(b": "),
            other => out.push(other),
        }
    }
    out
}

/// Several objects as one indented array, `[]` when there is none.
pub fn array(objects: &[Vec<u8>]) -> Vec<u8> {
    if objects.is_empty() {
        return b"[]\n".to_vec();
    }
    let mut out = b"[".to_vec();
    for (at, object) in objects.iter().enumerate() {
        out.extend_from_slice(if at == 0 { b"\n    " } else { b",\n    " });
        out.extend(indent(object, 4, 1));
    }
    out.extend_from_slice(b"\n]\n");
    out
}

/// Several objects as an array on one line.
pub fn line(objects: &[Vec<u8>]) -> Vec<u8> {
    let mut out = b"[".to_vec();
    for (at, object) in objects.iter().enumerate() {
        out.extend_from_slice(if at == 0 { b"" } else { b"," });
        out.extend_from_slice(object.trim_ascii());
    }
    out.extend_from_slice(b"]\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_between_the_breaks_stay_as_they_are() {
        let text = br#"{"a":"x\u003e\"{","b":[],"c":{ },"d":[1.50,{"e":null}]}"#;
        let expected = "[\n    {\n        \"a\": \"x\\u003e\\\"{\",\n        \"b\": [],\n        \"c\": {},\n        \"d\": [\n            1.50,\n            {\n                \"e\": null\n            }\n        ]\n    }\n]\n";
        assert_eq!(String::from_utf8(array(&[text.to_vec()])).unwrap(), expected);
        assert_eq!(array(&[]), b"[]\n");
    }
}
