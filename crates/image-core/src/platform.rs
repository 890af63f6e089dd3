//! Operating system, architecture and variant: written, normalised, matched (image-spec image-index.md, containerd's
//! platforms package).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ImageError;

/// A platform in normal form where it came from [`Platform::parse`], [`Platform::host`] or [`Platform::normalized`]; as
/// received otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    #[serde(default, rename = "os.features", skip_serializing_if = "Option::is_none")]
    pub os_features: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl Platform {
    /// The platform that this program was built for.
    pub fn host() -> Self {
        Self::new(std::env::consts::OS, std::env::consts::ARCH, "").normalized()
    }

    pub fn new(os: &str, architecture: &str, variant: &str) -> Self {
        Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
            os_version: None,
            os_features: None,
        }
    }

    /// `linux`, `arm64`, `linux/arm64`, `linux/arm/v7`. What is left out is the host's.
    pub fn parse(text: &str) -> Result<Self, ImageError> {
        let bad = || ImageError::Platform(text.to_owned());
        let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        let parts: Vec<&str> = text.split('/').collect();
        if text.len() > 128 || !parts.iter().all(|part| !part.is_empty() && part.bytes().all(word)) {
            return Err(bad());
        }
        let host = Self::host();
        let platform = match parts[..] {
            [os] if is_os(os) => Self { os: os.to_owned(), ..host },
            [architecture] if is_architecture(architecture) => Self::new(&host.os, architecture, ""),
            [os, architecture] => Self::new(os, architecture, ""),
            [os, architecture, variant] => Self::new(os, architecture, variant),
            _ => return Err(bad()),
        };
        Ok(platform.normalized())
    }

    /// One spelling for each platform: `x86_64` is `amd64`, `arm64/v8` is `arm64`, `arm` is `arm/v7`.
    pub fn normalized(mut self) -> Self {
        let os = self.os.to_ascii_lowercase();
        self.os = if os == "macos" { "darwin".to_owned() } else { os };
        let architecture = self.architecture.to_ascii_lowercase();
        let variant = self.variant.to_ascii_lowercase();
        let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
            ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
            ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
            ("i386" | "i486" | "i586" | "i686" | "x86" | "386", _) => ("386", ""),
            ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
            ("aarch64" | "arm64", variant) => ("arm64", variant),
            ("armhf", _) => ("arm", "v7"),
            ("armel", _) => ("arm", "v6"),
            ("arm", "" | "7") => ("arm", "v7"),
            ("arm", "5") => ("arm", "v5"),
            ("arm", "6") => ("arm", "v6"),
            ("arm", "8") => ("arm", "v8"),
            ("powerpc64le", variant) => ("ppc64le", variant),
            (architecture, variant) => (architecture, variant),
        };
        (self.architecture, self.variant) = (architecture.to_owned(), variant.to_owned());
        self
    }

    /// How well an image for `offered` runs on this platform: 0 is exactly it, more is further away, `None` not at all.
    pub fn rank(&self, offered: &Self) -> Option<usize> {
        let offered = offered.clone().normalized();
        let runs = |(architecture, variant): &(String, String)| {
            *architecture == offered.architecture && *variant == offered.variant
        };
        if self.os != offered.os {
            return None;
        }
        self.runnable().iter().position(runs)
    }

    /// Architectures and variants that this platform's processors run, best first.
    fn runnable(&self) -> Vec<(String, String)> {
        let pair = |architecture: &str, variant: &str| (architecture.to_owned(), variant.to_owned());
        let mut all = vec![pair(&self.architecture, &self.variant)];
        let level = |text: &str| text.strip_prefix('v').and_then(|v| v.parse::<u8>().ok());
        match self.architecture.as_str() {
            "amd64" => {
                let own = level(&self.variant).unwrap_or(1).min(8);
                all.extend((2..own).rev().map(|v| pair("amd64", &format!("v{v}"))));
                if own > 1 {
                    all.push(pair("amd64", ""));
                }
                all.push(pair("386", ""));
            }
            "arm" => {
                let own = level(&self.variant).unwrap_or(7).min(8);
                all.extend((5..own).rev().map(|v| pair("arm", &format!("v{v}"))));
            }
            "arm64" => {
                if !self.variant.is_empty() {
                    all.push(pair("arm64", ""));
                }
                all.extend((5..=8).rev().map(|v| pair("arm", &format!("v{v}"))));
            }
            _ => {}
        }
        all
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

/// The names that Go knows: a single word must be one or the other.
fn is_os(word: &str) -> bool {
    let known = [
        "aix",
        "android",
        "darwin",
        "dragonfly",
        "freebsd",
        "illumos",
        "ios",
        "js",
        "linux",
        "macos",
        "netbsd",
        "openbsd",
        "plan9",
        "solaris",
        "wasip1",
        "windows",
    ];
    known.contains(&word.to_ascii_lowercase().as_str())
}

fn is_architecture(word: &str) -> bool {
    let known = [
        "386", "aarch64", "amd64", "arm", "arm64", "armel", "armhf", "i386", "i486", "i586", "i686", "loong64", "mips",
        "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64", "s390x", "wasm", "x86-64", "x86_64",
    ];
    known.contains(&word.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_has_one_normal_form() {
        let cases = [
            ("linux/x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("Linux/AARCH64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/i386", "linux/386"),
            ("macos/arm64", "darwin/arm64"),
        ];
        for (given, expected) in cases {
            assert_eq!(Platform::parse(given).unwrap().to_string(), expected, "{given}");
        }
    }

    #[test]
    fn a_single_word_is_completed_by_the_host() {
        assert_eq!(Platform::parse("linux").unwrap().os, "linux");
        assert_eq!(Platform::parse("s390x").unwrap().architecture, "s390x");
        for given in ["", "/", "linux/", "nonsense", "a/b/c/d", "linux/a b"] {
            let error = Platform::parse(given).unwrap_err().to_string();
            assert!(error.contains("unknown operating system or architecture"), "{error}");
        }
    }

    #[test]
    fn a_processor_runs_its_lower_variants_and_ranks_them() {
        let amd64 = Platform::new("linux", "amd64", "");
        assert_eq!(amd64.rank(&Platform::new("linux", "amd64", "")), Some(0));
        assert_eq!(amd64.rank(&Platform::new("linux", "386", "")), Some(1));
        assert_eq!(amd64.rank(&Platform::new("linux", "amd64", "v3")), None);
        assert_eq!(amd64.rank(&Platform::new("linux", "arm64", "v8")), None);
        assert_eq!(amd64.rank(&Platform::new("windows", "amd64", "")), None);
        let v7 = Platform::new("linux", "arm", "v7");
        assert_eq!(v7.rank(&Platform::new("linux", "arm", "v6")), Some(1));
        assert_eq!(v7.rank(&Platform::new("linux", "arm", "v8")), None);
        let arm64 = Platform::new("linux", "arm64", "");
        assert_eq!(arm64.rank(&Platform::new("linux", "arm64", "v8")), Some(0));
        assert!(arm64.rank(&v7).is_some());
    }
}
