//! A path that ends in a number, such as `/proc/self/fd/7`, put together without allocation.

use std::ffi::CStr;

/// Room for the longest prefix in use, ten digits and the end of the C string.
const LENGTH: usize = 32;
/// Digits of the highest number.
const DIGITS: usize = 10;

#[derive(Debug, Clone, Copy)]
pub struct NumberedPath([u8; LENGTH]);

impl NumberedPath {
    /// `prefix`: at most 21 bytes; what is longer is cut off.
    pub fn new(prefix: &CStr, number: u32) -> Self {
        let mut digits = [0; DIGITS];
        let (mut first, mut rest) = (DIGITS, number);
        loop {
            first -= 1;
            digits[first] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        let mut path = [0; LENGTH];
        let prefix = prefix.to_bytes().iter().take(LENGTH - DIGITS - 1);
        for (to, from) in path.iter_mut().zip(prefix.chain(&digits[first..])) {
            *to = *from;
        }
        Self(path)
    }

    pub fn as_c(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_digits() {
        for number in [0, 7, 10, 65_535, u32::MAX] {
            let path = NumberedPath::new(c"/proc/self/fd/", number);
            assert_eq!(path.as_c().to_str(), Ok(format!("/proc/self/fd/{number}").as_str()));
        }
    }

    #[test]
    fn a_prefix_that_is_too_long_is_cut() {
        let path = NumberedPath::new(c"/a/prefix/that/is/longer/than/any", 7);
        assert_eq!(path.as_c().to_bytes().len(), LENGTH - DIGITS);
    }
}
