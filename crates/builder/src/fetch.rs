//! ADD of addresses: a file of the web, or a Git repository.

use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archive::{Compression, Decompressed, Limits, TarReader};
use dockerfile::Transfer;
use ids::{Digest, Hasher};
use registry_client::{Proxies, RegistryError, WebFile, get_file};
use rustix::fs::{Mode, OFlags};
use tokio_util::sync::CancellationToken;

use crate::builder::blocking;
use crate::cancel::unless;
use crate::context;
use crate::error::BuildError;
use crate::messages;
use crate::paths::base_name;
use crate::remote;
use crate::state::Build;
use crate::transfer::{Content, Gathered, Item, Place};
use crate::tree::{Node, NodeKind, Store, Tree};

const USER_AGENT: &str = concat!("docker/28.2.2 longshore/", env!("CARGO_PKG_VERSION"));
/// The largest file that is fetched.
const MAX_FILE: u64 = 64 << 30;
/// What is read to tell an archive: a header of tar has 512 bytes.
const HEAD: u64 = 1 << 10;

pub(crate) fn is_address(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://") || remote::is_git(source)
}

/// Whether it is an archive that ADD unpacks: a known compression and a tar's header in it.
pub(crate) fn is_archive(source: impl Read) -> bool {
    let mut head = Vec::new();
    let mut source = io::BufReader::with_capacity(64 << 10, source);
    let marks = io::BufRead::fill_buf(&mut source).map(<[u8]>::to_vec).unwrap_or_default();
    let Ok(plain) = Decompressed::new(source, u64::MAX) else { return false };
    if plain.take(HEAD).read_to_end(&mut head).is_err() && head.len() < 512 {
        return false;
    }
    // Anything begins like an uncompressed archive that has zeros; a real one has a header with its checksum.
    if head.len() < 512 || head[..512].iter().all(|byte| *byte == 0) {
        return false;
    }
    let _ = Compression::detect(&marks);
    matches!(TarReader::new(Cursor::new(&head[..]), Limits::default()).next_entry(), Ok(Some(_)))
}

/// A file that was fetched, without a name on the disk.
pub(crate) struct Fetched {
    pub file: std::fs::File,
    pub size: u64,
    pub digest: Digest,
    /// The last part of its address, or what its head calls it.
    pub name: String,
    /// Seconds since 1970; 0 where its head does not say.
    pub modified: i64,
}

pub(crate) async fn fetch(address: &str, spool: &Path, token: &CancellationToken) -> Result<Fetched, BuildError> {
    let failed = |error: RegistryError| BuildError::invalid(errors::chain(&error));
    let asked = get_file(address, USER_AGENT, Proxies::from_environment());
    let mut web = unless(token, async { asked.await.map_err(failed) }).await?;
    let broken = |error| BuildError::file(format!("fetch {address}"), error);
    std::fs::create_dir_all(spool).map_err(broken)?;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::open(spool, flags, Mode::RUSR | Mode::WUSR).map_err(|errno| broken(errno.into()))?;
    let mut file = std::fs::File::from(file);
    let (mut hasher, mut size) = (Hasher::new(), 0_u64);
    while let Some(piece) = unless(token, async { web.next().await.map_err(failed) }).await? {
        size += piece.len() as u64;
        if size > MAX_FILE {
            return Err(BuildError::invalid(format!("{address} has more than {MAX_FILE} bytes")));
        }
        hasher.update(&piece);
        file.write_all(&piece).map_err(broken)?;
    }
    let (name, modified) = (name_of(&web), modified(&web));
    Ok(Fetched { file, size, digest: hasher.finish(), name, modified })
}

fn name_of(web: &WebFile) -> String {
    let named = web.disposition.split(';').find_map(|part| part.trim().strip_prefix("filename="));
    let named = named.map(|name| base_name(name.trim_matches('"')).to_owned()).filter(|name| !name.is_empty());
    let path = web.address.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    named.unwrap_or_else(|| if path.contains('/') { base_name(path).to_owned() } else { String::new() })
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, HTTP-date).
fn modified(web: &WebFile) -> i64 {
    jiff::fmt::rfc2822::parse(&web.last_modified).map_or(0, |time| time.timestamp().as_second())
}

/// One address of an ADD.
pub(crate) async fn add(
    build: &Build<'_>,
    given: &Transfer,
    address: &str,
    destination: &str,
    spool: &Path,
    gathered: &mut Gathered,
) -> Result<(), BuildError> {
    if remote::is_git(address) {
        let tree = remote::clone(address, given.keep_git_dir, spool, build.token).await?;
        gathered.add_unpacked(&Arc::new(tree));
        gathered.items.iter_mut().for_each(|item| item.keeps_owner = false);
        return Ok(());
    }
    let fetched = fetch(address, spool, build.token).await?;
    if !given.checksum.is_empty() {
        let wanted: Digest = given.checksum.parse().map_err(|_| {
            BuildError::invalid(format!("invalid checksum {:?}: unsupported digest algorithm", given.checksum))
        })?;
        if wanted != fetched.digest {
            return Err(messages::checksum(&wanted.to_string(), &fetched.digest.to_string()));
        }
    }
    if given.unpack == Some(true) {
        let spool: PathBuf = spool.to_owned();
        let tree = blocking(move || context::read(Rewound::new(fetched.file)?, &spool)).await??;
        gathered.add_unpacked(&Arc::new(tree));
        return Ok(());
    }
    if fetched.name.is_empty() && destination.ends_with('/') {
        return Err(BuildError::invalid(format!("cannot determine filename for source {address}")));
    }
    let kind = NodeKind::File { size: fetched.size, offset: 0, digest: Some(fetched.digest) };
    let node = Node { kind, mode: 0o600, mtime: (fetched.modified, 0), ..Node::folder() };
    let name = if fetched.name.is_empty() { "index".to_owned() } else { fetched.name };
    let tree = Tree { nodes: [(name.clone(), node.clone())].into(), store: Store::Spool(fetched.file) };
    let content = Content::Tree(Arc::new(tree), name.clone());
    gathered.items.push(Item { place: Place::Itself(name), content, node, keeps_owner: false });
    gathered.sources += 1;
    Ok(())
}

/// A file from its beginning.
pub(crate) struct Rewound(std::fs::File);

impl Rewound {
    pub fn new(mut file: std::fs::File) -> Result<io::BufReader<Self>, BuildError> {
        io::Seek::rewind(&mut file).map_err(|error| BuildError::file("read what was fetched", error))?;
        Ok(io::BufReader::with_capacity(256 << 10, Self(file)))
    }
}

impl Read for Rewound {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}
