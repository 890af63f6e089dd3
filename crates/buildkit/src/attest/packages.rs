//! What an image has in it, by the lists that its package managers keep: Debian's dpkg, Alpine's apk, Python, npm, Ruby.
//! Lists are an image's, and so an attacker's: each is read up to a limit, and what is none is left out.

use std::collections::BTreeSet;
use std::io::Read;

use builder::{ImageFile, ImageFiles};
use serde_json::Value;

/// The most that is read of one list, and of one package's own file.
const MAX_LIST: u64 = 256 << 20;
const MAX_FILE: u64 = 1 << 20;
const MAX_PACKAGES: usize = 200_000;
const MAX_WORD: usize = 512;

/// A package by its name in a registry of packages.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Package {
    /// `deb`, `apk`, `pypi`, `npm`, `gem`: as Package URLs have it.
    pub kind: &'static str,
    pub name: String,
    pub version: String,
    pub architecture: String,
    pub license: String,
}

/// Which distribution an image is of, by `/etc/os-release`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Distribution {
    pub id: String,
    pub version: String,
}

/// Everything that is found; each once. Blocks.
pub(super) fn find(files: &ImageFiles) -> std::io::Result<(Vec<Package>, Distribution)> {
    let (mut found, mut distribution) = (BTreeSet::new(), Distribution::default());
    for file in files.list() {
        let Some(reader) = reader(&file) else { continue };
        let limit = if reader.is_list { MAX_LIST } else { MAX_FILE };
        if file.size > limit {
            continue;
        }
        let mut bytes = Vec::new();
        // Links lead to files that are listed themselves.
        files.open(&file.path)?.take(limit).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        for package in (reader.read)(&file.path, &text) {
            if package.is_whole() && found.len() < MAX_PACKAGES {
                found.insert(package);
            }
        }
        if matches!(file.path.as_str(), "etc/os-release" | "usr/lib/os-release") && distribution.id.is_empty() {
            distribution = release(&text);
        }
    }
    Ok((found.into_iter().collect(), distribution))
}

impl Package {
    fn new(kind: &'static str, name: &str, version: &str) -> Self {
        let text = |text: &str| text.trim().to_owned();
        let (architecture, license) = (String::new(), String::new());
        Self { kind, name: text(name), version: text(version), architecture, license }
    }

    fn is_whole(&self) -> bool {
        let is_word = |text: &str| !text.is_empty() && text.len() <= MAX_WORD && !text.chars().any(char::is_control);
        is_word(&self.name) && is_word(&self.version) && self.license.len() <= MAX_WORD
    }

    /// `pkg:deb/debian/bash@5.2?arch=amd64&distro=debian-12` (Package URLs).
    pub fn url(&self, distribution: &Distribution) -> String {
        let name = match (self.kind, self.name.strip_prefix('@').and_then(|rest| rest.split_once('/'))) {
            ("npm", Some((scope, name))) => format!("%40{}/{}", escaped(scope), escaped(name)),
            ("pypi", _) => escaped(&self.name.to_lowercase().replace('_', "-")),
            _ => escaped(&self.name),
        };
        let of_system = matches!(self.kind, "deb" | "apk") && !distribution.id.is_empty();
        let vendor = if of_system { format!("{}/", escaped(&distribution.id)) } else { String::new() };
        let mut qualifiers = Vec::new();
        if !self.architecture.is_empty() {
            qualifiers.push(format!("arch={}", escaped(&self.architecture)));
        }
        if of_system && !distribution.version.is_empty() {
            qualifiers.push(format!("distro={}-{}", escaped(&distribution.id), escaped(&distribution.version)));
        }
        let mark = if qualifiers.is_empty() { "" } else { "?" };
        let (kind, version, qualifiers) = (self.kind, escaped(&self.version), qualifiers.join("&"));
        format!("pkg:{kind}/{vendor}{name}@{version}{mark}{qualifiers}")
    }
}

fn escaped(text: &str) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    text.bytes()
        .map(|byte| if is_plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

struct Reader {
    read: fn(&str, &str) -> Vec<Package>,
    /// It lists many.
    is_list: bool,
}

/// How a file is read that may tell of packages.
fn reader(file: &ImageFile) -> Option<Reader> {
    if !matches!(file.kind, archive::EntryKind::File) {
        return None;
    }
    let path = file.path.as_str();
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    let list = |read| Some(Reader { read, is_list: true });
    let single = |read| Some(Reader { read, is_list: false });
    match name {
        "status" if path == "var/lib/dpkg/status" => list(debian),
        _ if above == "var/lib/dpkg/status.d" && !name.ends_with(".md5sums") => single(debian),
        "installed" if path == "lib/apk/db/installed" || path == "usr/lib/apk/db/installed" => list(alpine),
        "METADATA" if above.ends_with(".dist-info") => single(python),
        "PKG-INFO" if above.ends_with(".egg-info") => single(python),
        "package.json" if is_npm(above) => single(npm),
        "os-release" if matches!(path, "etc/os-release" | "usr/lib/os-release") => single(|_, _| Vec::new()),
        _ if above.ends_with("/specifications") && name.ends_with(".gemspec") => single(ruby),
        _ => None,
    }
}

/// The folder of a package, and not one inside of it.
fn is_npm(folder: &str) -> bool {
    let Some((_, package)) = folder.rsplit_once("node_modules/") else { return false };
    match package.strip_prefix('@') {
        Some(scoped) => scoped.matches('/').count() == 1,
        None => !package.contains('/'),
    }
}

/// Fields of one paragraph: `Package: bash`.
fn field<'t>(paragraph: &'t str, name: &str) -> Option<&'t str> {
    paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn debian(_: &str, text: &str) -> Vec<Package> {
    let package = |paragraph: &str| {
        let is_installed = field(paragraph, "Status").is_none_or(|status| status.ends_with(" installed"));
        let package = Package::new("deb", field(paragraph, "Package")?, field(paragraph, "Version")?);
        let architecture = field(paragraph, "Architecture").unwrap_or_default().to_owned();
        is_installed.then_some(Package { architecture, ..package })
    };
    text.split("\n\n").filter_map(package).collect()
}

fn alpine(_: &str, text: &str) -> Vec<Package> {
    let package = |paragraph: &str| {
        let package = Package::new("apk", field(paragraph, "P")?, field(paragraph, "V")?);
        let value = |name: &str| field(paragraph, name).unwrap_or_default().to_owned();
        Some(Package { architecture: value("A"), license: value("L"), ..package })
    };
    text.split("\n\n").filter_map(package).collect()
}

fn python(_: &str, text: &str) -> Vec<Package> {
    // The description follows behind an empty line.
    let head = text.split("\n\n").next().unwrap_or_default();
    let package = || {
        let package = Package::new("pypi", field(head, "Name")?, field(head, "Version")?);
        let license = field(head, "License-Expression").or(field(head, "License")).unwrap_or_default().to_owned();
        Some(Package { license, ..package })
    };
    package().into_iter().collect()
}

fn npm(_: &str, text: &str) -> Vec<Package> {
    let Ok(told) = serde_json::from_str::<Value>(text) else { return Vec::new() };
    let value = |name: &str| told.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    vec![Package { license: value("license"), ..Package::new("npm", &value("name"), &value("version")) }]
}

/// `rake-13.0.6.gemspec`; the file itself is a program.
fn ruby(path: &str, _: &str) -> Vec<Package> {
    let name = path.rsplit('/').next().and_then(|name| name.strip_suffix(".gemspec")).unwrap_or_default();
    let at =
        name.match_indices('-').map(|(at, _)| at).find(|at| name[at + 1..].starts_with(|c: char| c.is_ascii_digit()));
    at.map(|at| Package::new("gem", &name[..at], &name[at + 1..])).into_iter().collect()
}

fn release(text: &str) -> Distribution {
    let value = |name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_default().trim().trim_matches(['"', '\'']).to_owned()
    };
    Distribution { id: value("ID"), version: value("VERSION_ID") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_distributions_are_read() {
        let dpkg = "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2.15-2+b7\n\n\
                    Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\nnonsense\n";
        let distribution = release("ID=debian\nVERSION_ID=\"12\"\n");
        let urls: Vec<String> = debian("", dpkg).iter().map(|package| package.url(&distribution)).collect();
        assert_eq!(urls, ["pkg:deb/debian/bash@5.2.15-2%2Bb7?arch=amd64&distro=debian-12"]);
        let apk = "C:Q1\nP:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\n\nP:half\n\n";
        let found = alpine("", apk);
        assert_eq!((found.len(), found[0].license.as_str()), (1, "MIT"));
        assert_eq!(found[0].url(&Distribution::default()), "pkg:apk/musl@1.2.5-r0?arch=x86_64");
    }

    #[test]
    fn packages_of_languages_are_read() {
        let none = Distribution::default();
        let wheel = python("", "Metadata-Version: 2.1\nName: Foo_Bar\nVersion: 1.0\n\nName: not this\n");
        assert_eq!(wheel[0].url(&none), "pkg:pypi/foo-bar@1.0");
        assert_eq!(npm("", r#"{"name":"@a/b","version":"1.2.3"}"#)[0].url(&none), "pkg:npm/%40a/b@1.2.3");
        assert_eq!(npm("", "[").len(), 0);
        assert_eq!(ruby("gems/specifications/a-b-1.0.gemspec", "")[0].url(&none), "pkg:gem/a-b@1.0");
        assert!(is_npm("app/node_modules/x") && is_npm("node_modules/@a/b") && !is_npm("node_modules/x/lib"));
        assert!(!Package::new("npm", "", "1").is_whole() && !Package::new("npm", "a\nb", "1").is_whole());
    }
}
