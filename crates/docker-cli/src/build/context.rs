//! A build's context: a folder, an archive or a Dockerfile on standard input, or an address that the daemon fetches.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use archive::{Marks, TreeOptions, TreeWriter, Visit};
use dockerfile::IgnoreRules;
use engine_client::Request;
use rustix::fs::{FileType, Stat};

use super::dockerfile_from_stdin;
use super::request::random_hex;
use crate::container::options::os_words;
use crate::failure::Failure;
use crate::stream::upload::Upload;
use crate::text::size::human_size;

pub const DOCKERFILE: &str = "Dockerfile";
const IGNORE_FILE: &str = ".dockerignore";
/// What is read to tell an archive from a Dockerfile.
const HEAD: usize = 512;

/// Where the context is.
pub enum Source {
    Folder(Folder),
    /// An archive on standard input, of which some bytes are read already; the Dockerfile's name in it.
    Archive {
        head: Vec<u8>,
        dockerfile: String,
    },
    /// A Dockerfile on standard input, and no other file.
    Lonely(Vec<u8>),
    /// The daemon fetches it.
    Remote {
        address: String,
        dockerfile: String,
    },
}

pub struct Folder {
    pub(super) path: PathBuf,
    /// As the daemon is told.
    pub(super) dockerfile: String,
    /// It comes from elsewhere and travels along.
    pub(super) outside: Option<Outside>,
    rules: IgnoreRules,
    ignore_text: Option<String>,
}

/// A Dockerfile that is not in its context.
pub struct Outside {
    pub bytes: Vec<u8>,
    /// Where it lies; `None`: it came on standard input.
    pub path: Option<PathBuf>,
}

/// A Dockerfile that this client has read.
pub struct DockerfileText {
    pub name: String,
    pub bytes: Vec<u8>,
}

impl Source {
    /// By what is typed: PATH, URL or `-`, and `--file`.
    pub fn of(context: &str, file: &str) -> Result<Self, Failure> {
        if context == "-" {
            if file == "-" {
                return Err(Failure::text("invalid argument: can't use stdin for both build context and dockerfile"));
            }
            return from_stdin(file);
        }
        let remote = ["http://", "https://", "git://", "git@", "ssh://", "github.com/"];
        if remote.iter().any(|start| context.starts_with(start)) && !Path::new(context).exists() {
            if file == "-" {
                return Err(Failure::text("a Dockerfile on standard input goes with a local context only"));
            }
            return Ok(Self::Remote { address: context.to_owned(), dockerfile: file.to_owned() });
        }
        Folder::open(Path::new(context), file).map(Self::Folder)
    }

    /// The Dockerfile, where this client has it.
    pub fn dockerfile_text(&self) -> Option<DockerfileText> {
        match self {
            Self::Folder(folder) => {
                let bytes = match &folder.outside {
                    Some(outside) => outside.bytes.clone(),
                    None => std::fs::read(folder.path.join(&folder.dockerfile)).ok()?,
                };
                let name = if folder.outside.is_some() { DOCKERFILE } else { &folder.dockerfile };
                Some(DockerfileText { name: name.to_owned(), bytes })
            }
            Self::Lonely(bytes) => Some(DockerfileText { name: DOCKERFILE.to_owned(), bytes: bytes.clone() }),
            Self::Archive { .. } | Self::Remote { .. } => None,
        }
    }

    /// The request with its body under way.
    pub fn attach(self, request: Request, quiet: bool, compress: bool) -> Result<(Request, Option<Upload>), Failure> {
        let request = request.header("content-type", "application/x-tar");
        let (name, mut upload) = match self {
            Self::Remote { address, dockerfile } => {
                return Ok((request.with("remote", address).with_some("dockerfile", dockerfile), None));
            }
            Self::Folder(folder) => {
                let name = folder.dockerfile.clone();
                (name, Upload::start(move |out| send(out, quiet, compress, |out| folder.write(out)))?)
            }
            Self::Lonely(bytes) => {
                let write = move |out: &mut dyn Write| lonely(out, &bytes);
                (DOCKERFILE.to_owned(), Upload::start(move |out| send(out, quiet, compress, write))?)
            }
            Self::Archive { head, dockerfile } => {
                let write = move |out: &mut dyn Write| {
                    out.write_all(&head)?;
                    io::copy(&mut io::stdin().lock(), out).map(drop)
                };
                (dockerfile, Upload::start(move |out| send(out, quiet, false, write))?)
            }
        };
        let mut request = request.with_some("dockerfile", name);
        if let Some(body) = upload.body() {
            request = request.upload(body);
        }
        Ok((request, Some(upload)))
    }
}

/// Writes a context, and says how large it was once it is whole.
fn send(
    out: File,
    quiet: bool,
    compress: bool,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), String> {
    let mut counted = Counted { out: io::BufWriter::with_capacity(256 << 10, out), bytes: 0 };
    let told = |error: io::Error| os_words(&error);
    if compress {
        let mut packed = flate2::write::GzEncoder::new(&mut counted, flate2::Compression::default());
        write(&mut packed).map_err(told)?;
        packed.finish().map_err(told)?;
    } else {
        write(&mut counted).map_err(told)?;
    }
    // Told before the daemon has everything and can say something.
    if !quiet {
        let bytes = i64::try_from(counted.bytes).unwrap_or(i64::MAX);
        let line = format!("Sending build context to Docker daemon  {:>7}\r\r\n", human_size(bytes));
        crate::context::print(&line).map_err(|error| error.to_string())?;
    }
    counted.out.flush().map_err(told)
}

struct Counted {
    out: io::BufWriter<File>,
    bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.out.write(bytes)?;
        self.bytes += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn from_stdin(file: &str) -> Result<Source, Failure> {
    let mut head = Vec::new();
    io::stdin().lock().take(HEAD as u64).read_to_end(&mut head)?;
    let compressed = archive::Compression::detect(&head) != archive::Compression::None;
    let is_tar = head.len() == HEAD && &head[257..262] == b"ustar";
    if compressed || is_tar {
        return Ok(Source::Archive { head, dockerfile: file.to_owned() });
    }
    if !file.is_empty() {
        return Err(Failure::text("ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles"));
    }
    head.extend(dockerfile_from_stdin()?);
    Ok(Source::Lonely(head))
}

fn lonely(out: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    let mut writer = TreeWriter::new(out);
    let added = writer.add_file(DOCKERFILE.as_bytes(), 0o600, bytes);
    added.and_then(|()| writer.finish().map(drop)).map_err(|error| io::Error::other(errors::chain(&error)))
}

impl Folder {
    fn open(path: &Path, file: &str) -> Result<Self, Failure> {
        let shown = path.display();
        let found = std::fs::metadata(path).map_err(|error| {
            let words = match error.kind() {
                io::ErrorKind::NotFound => format!("unable to prepare context: path \"{shown}\" not found"),
                _ => format!("unable to prepare context: {}", os_words(&error)),
            };
            Failure::Text(words)
        })?;
        if !found.is_dir() {
            return Err(Failure::Text(format!("unable to prepare context: context must be a directory: {shown}")));
        }
        let path = path.canonicalize()?;
        let (dockerfile, outside) = match file {
            "-" => (random_name(), Some(Outside { bytes: dockerfile_from_stdin()?, path: None })),
            file => find_dockerfile(&path, file)?,
        };
        let (rules, ignore_text) = rules(&path, &dockerfile)?;
        Ok(Self { path, dockerfile, outside, rules, ignore_text })
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let told = |error: archive::ArchiveError| io::Error::other(errors::chain(&error));
        let root = File::open(&self.path)?;
        let mut writer = TreeWriter::new(out);
        let visit = |inside: &Path, stat: &Stat| self.visit(inside, stat);
        writer.add_tree(root.as_fd(), &TreeOptions { name: None, marks: Marks::None, visit: &visit }).map_err(told)?;
        if let Some(Outside { bytes, .. }) = &self.outside {
            // The daemon is to leave it out of what is copied, which it reads in the ignore file.
            let own = self.ignore_text.clone().unwrap_or_else(|| IGNORE_FILE.to_owned());
            let rules = format!("{own}\n{}\n", self.dockerfile);
            writer.add_file(IGNORE_FILE.as_bytes(), 0o600, rules.as_bytes()).map_err(told)?;
            writer.add_file(self.dockerfile.as_bytes(), 0o600, bytes).map_err(told)?;
        }
        writer.finish().map(drop).map_err(told)
    }

    fn visit(&self, inside: &Path, stat: &Stat) -> Visit {
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Socket {
            return Visit::Skip;
        }
        // The daemon refuses names that are no UTF-8, and says which.
        let Some(path) = inside.to_str() else { return Visit::Whole };
        if self.outside.is_some() && path == IGNORE_FILE {
            return Visit::Skip;
        }
        if path == self.dockerfile || path == IGNORE_FILE || !self.rules.ignores(path) {
            return Visit::Whole;
        }
        let holds_the_file = self.dockerfile.starts_with(&format!("{path}/"));
        match kind == FileType::Directory && (holds_the_file || self.rules.has_exception_below(path)) {
            true => Visit::IfNeeded,
            false => Visit::Skip,
        }
    }
}

/// The Dockerfile's path within the folder; one that lies elsewhere travels along under a name of its own.
fn find_dockerfile(folder: &Path, file: &str) -> Result<(String, Option<Outside>), Failure> {
    let path = match file {
        "" => {
            let usual = folder.join(DOCKERFILE);
            let old = folder.join("dockerfile");
            if !usual.exists() && old.exists() { old } else { usual }
        }
        file if Path::new(file).is_absolute() => PathBuf::from(file),
        // Against where the command is typed, or else within the context, as Docker does.
        file if Path::new(file).exists() => std::env::current_dir()?.join(file),
        file => folder.join(file),
    };
    let missing = |error: io::Error| {
        let words = os_words(&error);
        Failure::Text(format!(
            "unable to prepare context: unable to evaluate symlinks in Dockerfile path: lstat {}: {words}",
            path.display()
        ))
    };
    let real = path.canonicalize().map_err(missing)?;
    match real.strip_prefix(folder) {
        Ok(inside) if inside.to_str().is_some() => Ok((inside.to_string_lossy().into_owned(), None)),
        _ => Ok((random_name(), Some(Outside { bytes: std::fs::read(&real)?, path: Some(real) }))),
    }
}

/// The rules that go with this Dockerfile (`NAME.dockerignore`), or the folder's.
fn rules(folder: &Path, dockerfile: &str) -> Result<(IgnoreRules, Option<String>), Failure> {
    for name in [format!("{dockerfile}{IGNORE_FILE}"), IGNORE_FILE.to_owned()] {
        match std::fs::read_to_string(folder.join(&name)) {
            Ok(text) => {
                let rules = IgnoreRules::parse(&text);
                let rules = rules.map_err(|error| Failure::Text(format!("error checking context: {error}")))?;
                return Ok((rules, Some(text)));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::Text(format!("error reading {name}: {}", os_words(&error)))),
        }
    }
    Ok((IgnoreRules::default(), None))
}

/// A name that no context has.
fn random_name() -> String {
    format!(".dockerfile.{}", random_hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Folder) -> Vec<String> {
        let mut bytes = Vec::new();
        folder.write(&mut bytes).unwrap();
        let mut archive = tar::Archive::new(&bytes[..]);
        let name = |entry: io::Result<tar::Entry<'_, &[u8]>>| {
            entry.unwrap().path().unwrap().to_string_lossy().trim_end_matches('/').to_owned()
        };
        archive.entries().unwrap().map(name).collect()
    }

    #[test]
    fn what_the_rules_name_stays_at_home_but_for_the_dockerfile() {
        let home = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("Dockerfile", "FROM a"),
            (".dockerignore", "*\n!src\nsrc/*.log\nDockerfile"),
            ("src/a", ""),
            ("src/b.log", ""),
            ("other/x", ""),
        ] {
            let path = home.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let folder = Folder::open(home.path(), "").unwrap();
        assert_eq!(names(&folder), [".dockerignore", "Dockerfile", "src", "src/a"]);
    }

    #[test]
    fn a_dockerfile_from_elsewhere_travels_along_and_is_hidden() {
        let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(home.path().join("x"), "").unwrap();
        let file = other.path().join("My");
        std::fs::write(&file, "FROM a").unwrap();
        let folder = Folder::open(home.path(), file.to_str().unwrap()).unwrap();
        let found = names(&folder);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[2].starts_with(".dockerfile."), "{found:?}");
        let error = Folder::open(home.path(), "").err().unwrap().to_string();
        assert!(error.contains("unable to evaluate symlinks in Dockerfile path"), "{error}");
    }
}
