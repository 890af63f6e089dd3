//! Containers as file systems: archives in and out, changes, export, commit.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine_api::IdResponse;
use engine_api::container as wire;
use futures_util::StreamExt;
use futures_util::stream;
use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt;
use ids::Reference;

use crate::Api;
use crate::reply::{self, Reply};
use crate::request::Request;
use crate::status::{Answer, Failure};
use ::containers::{ArchiveSender, ChangeKind, CommitRequest, PathStat, PutArchive, TarStream, archive_channel};
use container_core::rfc3339;

const STAT_HEADER: &str = "x-docker-container-path-stat";
const TAR: HeaderValue = HeaderValue::from_static("application/x-tar");
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// `HEAD …/archive`: what is at a path.
pub async fn stat(api: &Api, request: &Request) -> Answer {
    let stat = api.containers.file_systems.stat(&request.name, path(request)?).await?;
    with_stat(reply::empty(StatusCode::OK), &stat)
}

pub async fn get(api: &Api, request: &Request) -> Answer {
    let (stat, archive) = api.containers.file_systems.get(&request.name, path(request)?).await?;
    with_stat(reply::chunks(TAR, pieces(archive)), &stat)
}

pub async fn put(api: &Api, request: Request) -> Answer {
    let wanted = PutArchive {
        path: path(&request)?.to_owned(),
        no_overwrite_dir_non_dir: request.query.flag("noOverwriteDirNonDir"),
        copy_owner: request.query.flag("copyUIDGID"),
    };
    let (sender, source) = archive_channel();
    let body = request.body.into_data_stream().map(|piece| piece.map_err(std::io::Error::other));
    let put = api.containers.file_systems.put(&request.name, wanted, source);
    let (put, ()) = tokio::join!(put, feed(body, sender));
    put?;
    Ok(reply::empty(StatusCode::OK))
}

/// Hands the body on, until nobody wants more of it.
async fn feed<S>(mut body: S, sender: ArchiveSender)
where
    S: futures_util::Stream<Item = std::io::Result<bytes::Bytes>> + Unpin,
{
    while let Some(piece) = body.next().await {
        let broken = piece.is_err();
        if sender.send(piece).await.is_err() || broken {
            return;
        }
    }
}

pub async fn export(api: &Api, request: &Request) -> Answer {
    let archive = api.containers.file_systems.export(&request.name).await;
    let archive = archive.map_err(|error| in_words("Error exporting container", &request.name, error))?;
    Ok(reply::chunks(OCTETS, pieces(archive)))
}

/// Docker puts its words before what went wrong, but for a container that is not there or may not be used.
fn in_words(words: &str, name: &str, error: ::containers::Error) -> Failure {
    let mut failure = Failure::from(error);
    if failure.status == StatusCode::INTERNAL_SERVER_ERROR {
        failure.message = format!("{words} {name}: {}", failure.message);
    }
    failure
}

pub async fn changes(api: &Api, request: &Request) -> Answer {
    let changes = api.containers.file_systems.changes(&request.name).await?;
    let changes = changes.into_iter().map(|change| wire::Change {
        path: change.path.to_string_lossy().into_owned(),
        kind: match change.kind {
            ChangeKind::Modified => 0,
            ChangeKind::Added => 1,
            ChangeKind::Deleted => 2,
        },
    });
    let changes: Vec<_> = changes.collect();
    // As in Docker, none are `null`.
    Ok(reply::ok(&Some(changes).filter(|changes| !changes.is_empty())))
}

pub async fn commit(api: &Api, request: Request) -> Answer {
    let query = &request.query;
    let text = |name: &str| query.text(name).unwrap_or_default().to_owned();
    let name = reference(query.text("repo"), query.text("tag"))?;
    let (container, pause) = (text("container"), query.flag_or("pause", true));
    let (author, comment) = (text("author"), text("comment"));
    // Clients send one line a parameter, or many in one.
    let changes = query.all("changes").iter().flat_map(|lines| lines.lines().map(str::to_owned)).collect();
    let body: Option<wire::Config> = request.json().await?;
    let config = body.filter(|config| *config != wire::Config::default()).map(super::create::config);
    let wanted = CommitRequest { config, changes, author, comment, name, pause };
    let id = api.containers.file_systems.commit(&container, wanted).await?;
    Ok(reply::json(StatusCode::CREATED, &IdResponse { id }))
}

/// `repo` and `tag` as one name.
fn reference(repository: Option<&str>, tag: Option<&str>) -> Result<Option<String>, Failure> {
    let Some(repository) = repository else { return Ok(None) };
    let name = Reference::parse_familiar(repository)?;
    if name.digest().is_some() {
        return Err(Failure::bad_request("cannot use digest reference"));
    }
    let name = match tag {
        Some(tag) => name.with_tag(tag)?,
        None => name.with_default_tag(),
    };
    Ok(Some(name.familiar()))
}

fn path(request: &Request) -> Result<&str, Failure> {
    request.query.text("path").ok_or_else(|| Failure::bad_request("bad parameter: pathcannot be empty"))
}

fn pieces(archive: TarStream) -> impl futures_util::Stream<Item = std::io::Result<bytes::Bytes>> {
    stream::unfold(archive, |mut archive| async move {
        let piece = archive.next().await?;
        Some((piece, archive))
    })
}

fn with_stat(mut reply: Reply, stat: &PathStat) -> Answer {
    let stat = wire::PathStat {
        name: stat.name.clone(),
        size: stat.size,
        mode: go_mode(stat.mode),
        mtime: rfc3339(Some(stat.mtime)),
        link_target: stat.link_target.clone(),
    };
    let text = STANDARD.encode(serde_json::to_vec(&stat).unwrap_or_default());
    // The alphabet of base64 is a header's.
    let value = HeaderValue::from_str(&text).map_err(|error| Failure::bad_request(error.to_string()))?;
    reply.headers_mut().insert(STAT_HEADER, value);
    Ok(reply)
}

/// Go's `os.FileMode` of a mode of stat(2).
fn go_mode(mode: u32) -> u32 {
    const DIRECTORY: u32 = 1 << 31;
    const SYMLINK: u32 = 1 << 27;
    const DEVICE: u32 = 1 << 26;
    const FIFO: u32 = 1 << 25;
    const SOCKET: u32 = 1 << 24;
    const SET_UID: u32 = 1 << 23;
    const SET_GID: u32 = 1 << 22;
    const CHARACTER: u32 = 1 << 21;
    const STICKY: u32 = 1 << 20;
    let kind = match mode & 0o170_000 {
        0o040_000 => DIRECTORY,
        0o120_000 => SYMLINK,
        0o060_000 => DEVICE,
        0o020_000 => DEVICE | CHARACTER,
        0o010_000 => FIFO,
        0o140_000 => SOCKET,
        _ => 0,
    };
    let bits = [(0o4000, SET_UID), (0o2000, SET_GID), (0o1000, STICKY)];
    let special = bits.iter().filter(|(bit, _)| mode & bit != 0).fold(0, |all, (_, flag)| all | flag);
    kind | special | (mode & 0o777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_go_s() {
        assert_eq!(go_mode(0o100_644), 0o644);
        assert_eq!(go_mode(0o040_755), 0x8000_01ed);
        assert_eq!(go_mode(0o120_777), 0x0800_01ff);
        assert_eq!(go_mode(0o041_777), 0x8010_01ff);
        assert_eq!(go_mode(0o104_755), 0x0080_01ed);
        assert_eq!(go_mode(0o020_620), 0x0420_0190);
    }

    #[test]
    fn a_repository_and_a_tag_are_one_name() {
        let name = |repository: Option<&str>, tag| reference(repository, tag).map_err(|failure| failure.message);
        assert_eq!(name(None, Some("x")), Ok(None));
        assert_eq!(name(Some("a/b"), None), Ok(Some("a/b:latest".to_owned())));
        assert_eq!(name(Some("localhost:5000/a"), Some("1")), Ok(Some("localhost:5000/a:1".to_owned())));
        assert!(name(Some("UPPER"), None).is_err());
    }
}
