//! The common name in a certificate (RFC 5280, X.690), for authorization plugins.

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
/// The version in front of the serial number, which old certificates lack.
const VERSION: u8 = 0xA0;
/// id-at-commonName, 2.5.4.3.
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

/// The last common name of the subject, as Go's library reads it; `None` for what is no certificate.
pub fn common_name(der: &[u8]) -> Option<String> {
    let certificate = Reader(der).expect(SEQUENCE)?;
    let mut fields = Reader(Reader(certificate).expect(SEQUENCE)?);
    if fields.0.first() == Some(&VERSION) {
        fields.next()?;
    }
    // Serial number, signature algorithm, issuer, validity.
    for _ in 0..4 {
        fields.next()?;
    }
    let mut name = None;
    let mut relative_names = Reader(fields.expect(SEQUENCE)?);
    while !relative_names.0.is_empty() {
        let mut pairs = Reader(relative_names.expect(SET)?);
        while !pairs.0.is_empty() {
            let mut pair = Reader(pairs.expect(SEQUENCE)?);
            let is_common_name = pair.expect(OBJECT_IDENTIFIER)? == COMMON_NAME;
            let (_, value) = pair.next()?;
            if is_common_name {
                name = Some(String::from_utf8_lossy(value).into_owned());
            }
        }
    }
    name
}

/// What is left to read of a DER encoding.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The tag and the content of the next element.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7F => (usize::from(first), rest),
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn expect(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == wanted).map(|(_, content)| content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: u8, content: &[&[u8]]) -> Vec<u8> {
        let content = content.concat();
        let mut bytes = vec![tag];
        match content.len() {
            length @ 0..=0x7F => bytes.push(length as u8),
            length => bytes.extend([0x82, (length >> 8) as u8, length as u8]),
        }
        bytes.extend(content);
        bytes
    }

    fn certificate(subject: &[&[u8]]) -> Vec<u8> {
        let nothing = element(SEQUENCE, &[]);
        let serial = element(0x02, &[&[1]]);
        let version = element(VERSION, &[&element(0x02, &[&[2]])]);
        let subject = element(SEQUENCE, subject);
        let fields = element(SEQUENCE, &[&version, &serial, &nothing, &nothing, &nothing, &subject, &[0; 200]]);
        element(SEQUENCE, &[&fields])
    }

    fn pair(identifier: &[u8], value: &str) -> Vec<u8> {
        let identifier = element(OBJECT_IDENTIFIER, &[identifier]);
        element(SET, &[&element(SEQUENCE, &[&identifier, &element(0x0C, &[value.as_bytes()])])])
    }

    #[test]
    fn the_common_name_is_found_among_other_names() {
        let der = certificate(&[&pair(&[0x55, 0x04, 0x0A], "An Organisation"), &pair(&COMMON_NAME, "ann")]);
        assert_eq!(common_name(&der).as_deref(), Some("ann"));
        assert_eq!(common_name(&certificate(&[])), None);
    }

    #[test]
    fn what_is_cut_off_anywhere_has_no_name() {
        let der = certificate(&[&pair(&COMMON_NAME, "ann")]);
        for length in 0..der.len() {
            assert_eq!(common_name(&der[..length]), None, "{length}");
        }
        assert_eq!(common_name(&[SEQUENCE, 0x84, 0xFF, 0xFF, 0xFF, 0xFF]), None);
    }
}
