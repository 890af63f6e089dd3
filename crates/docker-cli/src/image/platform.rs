//! `--platform`: `os[/arch[/variant]]`, in containerd's normal form.

use engine_api::image::Platform;

use crate::failure::Failure;
use crate::system::version::architecture;

/// Systems and processors that stand alone.
const SYSTEMS: &[&str] = &[
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "wasip1",
    "windows",
    "zos",
];
const PROCESSORS: &[&str] = &[
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "armbe",
    "arm64",
    "arm64be",
    "loong64",
    "mips",
    "mipsle",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "ppc",
    "ppc64",
    "ppc64le",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
];

/// The platform, or containerd's words about it.
pub fn parse(text: &str) -> Result<Platform, String> {
    let quoted = crate::text::quote(text);
    let parts: Vec<&str> = text.splitn(4, '/').collect();
    let is_word = |part: &&str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
    };
    if text.contains('*') {
        return Err(format!("{quoted}: wildcards not yet supported: invalid argument"));
    }
    if let Some(wrong) = parts.iter().find(|part| !is_word(part)) {
        return Err(format!(
            "{} is an invalid component of {quoted}: platform specifier component must match \"^[A-Za-z0-9_.-]+$\": invalid argument",
            crate::text::quote(wrong)
        ));
    }
    let (os, architecture, variant) = match parts[..] {
        [one] => {
            let os = normal_system(one);
            let (architecture, variant) = normal_processor(one, "");
            if SYSTEMS.contains(&os.as_str()) {
                (os, self::architecture().to_owned(), String::new())
            } else if PROCESSORS.contains(&architecture.as_str()) {
                let variant = if architecture == "arm" && variant == "v7" { String::new() } else { variant };
                (std::env::consts::OS.to_owned(), architecture, variant)
            } else {
                return Err(format!("{quoted}: unknown operating system or architecture: invalid argument"));
            }
        }
        [os, processor] => {
            let (architecture, variant) = normal_processor(processor, "");
            let variant = if architecture == "arm" && variant == "v7" { String::new() } else { variant };
            (normal_system(os), architecture, variant)
        }
        [os, processor, variant] => {
            let (architecture, variant) = normal_processor(processor, variant);
            let variant = if architecture == "arm64" && variant.is_empty() { "v8".to_owned() } else { variant };
            (normal_system(os), architecture, variant)
        }
        _ => return Err(format!("{quoted}: cannot parse platform specifier: invalid argument")),
    };
    Ok(Platform { os, architecture, variant, ..Platform::default() })
}

/// As the API takes it in queries of images; empty when none was asked for.
pub fn parameter(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    serde_json::to_string(&parse(text)?).map_err(|error| error.to_string())
}

/// The same for commands that say in front that it is the platform which is wrong.
pub fn named_parameter(text: &str) -> Result<String, Failure> {
    parameter(text).map_err(|reason| Failure::Text(format!("invalid platform: {reason}")))
}

/// With slashes again, without what is unknown.
pub fn shown(platform: &Platform) -> String {
    let parts = [&platform.os, &platform.architecture, &platform.variant];
    let parts: Vec<&str> = parts.into_iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    parts.join("/")
}

fn normal_system(os: &str) -> String {
    match os.to_lowercase().as_str() {
        "macos" => "darwin".to_owned(),
        other => other.to_owned(),
    }
}

fn normal_processor(name: &str, variant: &str) -> (String, String) {
    let (name, variant) = (name.to_lowercase(), variant.to_lowercase());
    let (name, variant) = match (name.as_str(), variant.as_str()) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", other) => ("amd64", other),
        ("aarch64" | "arm64", "8" | "v8") => ("arm64", ""),
        ("aarch64" | "arm64", other) => ("arm64", other),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("arm", "" | "7") => ("arm", "v7"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "6") => ("arm", "v6"),
        ("arm", "8") => ("arm", "v8"),
        (name, variant) => (name, variant),
    };
    (name.to_owned(), variant.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_have_one_spelling() {
        let read = |text: &str| parse(text).map(|platform| shown(&platform));
        assert_eq!(read("linux/aarch64").unwrap(), "linux/arm64");
        assert_eq!(read("Linux/arm64/8").unwrap(), "linux/arm64/v8");
        assert_eq!(read("linux/arm").unwrap(), "linux/arm");
        assert_eq!(read("linux/arm/v7").unwrap(), "linux/arm/v7");
        assert_eq!(read("x86_64").unwrap(), format!("{}/amd64", std::env::consts::OS));
        assert_eq!(read("linux").unwrap(), format!("linux/{}", architecture()));
        assert_eq!(read("foo").unwrap_err(), "\"foo\": unknown operating system or architecture: invalid argument");
        assert!(read("a/b/c/d").unwrap_err().contains("cannot parse platform specifier"));
        assert!(read("linux/").is_err() && read("*").is_err());
    }
}
