//! Versions of the API: how they are written, compared and agreed on.

use std::fmt;
use std::str::FromStr;

use errors::{ErrorKind, Kind};

/// `1.51`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApiVersion {
    pub major: u16,
    pub minor: u16,
}

/// A version that cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    #[error("invalid API version {0:?}")]
    Malformed(String),
    #[error(
        "client version {version} is too old. Minimum supported API version is {oldest}, please upgrade your client to a newer version"
    )]
    TooOld { version: ApiVersion, oldest: ApiVersion },
    #[error("client version {0} is too new. Maximum supported API version is {MAX}", MAX = ApiVersion::MAX)]
    TooNew(ApiVersion),
}

impl Kind for VersionError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

impl ApiVersion {
    /// Oldest version that is served.
    pub const MIN: Self = Self::new(1, 24);
    /// Newest version that is served, and what is assumed of a request that names none.
    pub const MAX: Self = Self::new(1, 51);
    /// What a client speaks to a daemon so old that its ping has no version.
    pub const BEFORE_PING: Self = Self::new(1, 24);

    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// From the `v1.24` of a path or the `1.24` of a header.
    pub fn parse(text: &str) -> Result<Self, VersionError> {
        let malformed = || VersionError::Malformed(text.chars().take(32).collect());
        let number = |part: &str| {
            let digits = !part.is_empty() && part.len() <= 4 && part.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| part.parse().ok()).flatten().ok_or_else(malformed)
        };
        let (major, minor) = text.strip_prefix('v').unwrap_or(text).split_once('.').ok_or_else(malformed)?;
        Ok(Self::new(number(major)?, number(minor)?))
    }

    /// Refuses what is outside [`ApiVersion::MIN`] and [`ApiVersion::MAX`], in Docker's words.
    pub fn check_served(self) -> Result<Self, VersionError> {
        self.check_served_from(Self::MIN)
    }

    /// The same for a daemon that serves none before `oldest`.
    pub fn check_served_from(self, oldest: Self) -> Result<Self, VersionError> {
        if self < oldest {
            return Err(VersionError::TooOld { version: self, oldest });
        }
        if self > Self::MAX {
            return Err(VersionError::TooNew(self));
        }
        Ok(self)
    }

    /// The version to speak with a daemon whose newest is `theirs`.
    pub fn negotiate(self, theirs: Option<Self>) -> Self {
        self.min(theirs.unwrap_or(Self::BEFORE_PING))
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for ApiVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number_and_not_by_text() {
        let v = |text| ApiVersion::parse(text).unwrap();
        assert!(v("1.9") < v("v1.24"));
        assert!(v("1.100") > ApiVersion::MAX);
        assert_eq!(v("1.24").to_string(), "1.24");
        for bad in ["", "1", "v", "1.", ".2", "1.2.3", "1.-2", "1.99999", "x.y", "1.+4"] {
            assert!(ApiVersion::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_outside_the_range_get_dockers_words() {
        let refused = |text| ApiVersion::parse(text).unwrap().check_served().unwrap_err().to_string();
        assert_eq!(refused("1.99"), "client version 1.99 is too new. Maximum supported API version is 1.51");
        assert_eq!(
            refused("1.12"),
            "client version 1.12 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"
        );
        assert_eq!(ApiVersion::MIN.check_served(), Ok(ApiVersion::MIN));
    }

    #[test]
    fn the_lower_of_two_versions_is_spoken() {
        let v = |text| ApiVersion::parse(text).unwrap();
        assert_eq!(ApiVersion::MAX.negotiate(Some(v("1.41"))), v("1.41"));
        assert_eq!(ApiVersion::MAX.negotiate(Some(v("1.60"))), ApiVersion::MAX);
        assert_eq!(ApiVersion::MAX.negotiate(None), v("1.24"));
    }
}
