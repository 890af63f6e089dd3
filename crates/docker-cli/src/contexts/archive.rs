//! `docker context export` and `import`: a tar archive of `meta.json` and `tls/ENDPOINT/FILE`, or a zip archive of the
//! same.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use super::create::{stored, told};
use super::store::{MAX_FILE, Meta, TlsData, check_name};
use super::zip;
use crate::command::{Args, Command, Matches};
use crate::container::options::os_words;
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::terminal;
use crate::text::quote;

pub const EXPORT: Command = Command {
    name: "export",
    usage: "[OPTIONS] CONTEXT [FILE|-]",
    about: "Export a context to a tar archive FILE or a tar stream on STDOUT.",
    args: Args::Between(1, 2),
    local: true,
    action: Some(|context, flags| Box::pin(async move { export(context, flags) })),
    ..Command::EMPTY
};

pub const IMPORT: Command = Command {
    name: "import",
    usage: "CONTEXT FILE|-",
    about: "Import a context from a tar or zip file",
    args: Args::Exactly(2),
    local: true,
    action: Some(|context, flags| Box::pin(async move { import(context, flags) })),
    ..Command::EMPTY
};

const META: &str = "meta.json";
const TLS: &str = "tls/";
/// What a tar archive is made of.
const BLOCK: usize = 512;
/// Most files of an archive.
const MAX_FILES: usize = 1000;

fn export(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let name = flags.arg(0);
    if name != super::store::DEFAULT {
        check_name(name)?;
    }
    let target = match flags.arg(1) {
        "" => format!("{name}.dockercontext"),
        target => target.to_owned(),
    };
    if target == "-" && terminal::stdout_is_terminal() {
        return Err(Failure::text("cowardly refusing to export to a terminal, specify a file path"));
    }
    let (meta, tls) = stored(context, name)?;
    let archive = pack(&meta, &tls)?;
    if target == "-" {
        context::write_all(&archive)?;
        return Ok(0);
    }
    let told = |error: io::Error| Failure::text(format!("open {target}: {}", os_words(&error)));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&target).map_err(told)?;
    file.write_all(&archive)?;
    context::say(&format!("Written file {}", quote(&target)));
    Ok(0)
}

fn pack(meta: &Meta, tls: &TlsData) -> Result<Vec<u8>, Failure> {
    let text = serde_json::to_vec(meta).map_err(|error| Failure::text(error.to_string()))?;
    let mut archive = tar::Builder::new(Vec::new());
    append(&mut archive, META, &text, 0o644)?;
    append_folder(&mut archive, "tls")?;
    for (endpoint, files) in tls {
        append_folder(&mut archive, &format!("{TLS}{endpoint}"))?;
        for (file, bytes) in files {
            append(&mut archive, &format!("{TLS}{endpoint}/{file}"), bytes, 0o600)?;
        }
    }
    Ok(archive.into_inner()?)
}

fn append(archive: &mut tar::Builder<Vec<u8>>, path: &str, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let mut header = tar::Header::new_ustar();
    header.set_mode(mode);
    header.set_size(bytes.len() as u64);
    Ok(archive.append_data(&mut header, path, bytes)?)
}

fn append_folder(archive: &mut tar::Builder<Vec<u8>>, path: &str) -> Result<(), Failure> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(0o700);
    header.set_size(0);
    Ok(archive.append_data(&mut header, path, io::empty())?)
}

fn import(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let (name, source) = (flags.arg(0), flags.arg(1));
    check_name(name)?;
    if context.contexts.has(name) {
        return Err(Failure::text(format!("context {} already exists", quote(name))));
    }
    let mut bytes = Vec::new();
    let limit = MAX_FILE + 1;
    if source == "-" {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)?;
    } else {
        let told = |error: io::Error| Failure::text(format!("open {source}: {}", os_words(&error)));
        fs::File::open(source).map_err(told)?.take(limit).read_to_end(&mut bytes)?;
    }
    if bytes.len() as u64 > MAX_FILE {
        return Err(Failure::text(format!("the archive is larger than {MAX_FILE} bytes")));
    }
    let (mut meta, tls) = unpack(&bytes)?;
    meta.name = name.to_owned();
    context.contexts.put(&meta)?;
    context.contexts.put_tls(name, &tls)?;
    told(name, "imported")
}

/// The context in an archive; whatever else is in it is refused.
fn unpack(bytes: &[u8]) -> Result<(Meta, TlsData), Failure> {
    let files = if zip::is_one(bytes) { zip::files(bytes, MAX_FILES, MAX_FILE)? } else { untar(bytes)? };
    let mut meta = None;
    let mut tls = TlsData::new();
    for (path, bytes) in files {
        check_path(&path).map_err(|reason| Failure::text(format!("{path}: {reason}")))?;
        if path == META {
            let read = serde_json::from_slice(&bytes).map_err(|error| Failure::text(error.to_string()))?;
            meta = Some(read);
            continue;
        }
        let inner = path.trim_start_matches(TLS).split_once('/');
        let (endpoint, file) =
            inner.filter(|(_, file)| !file.contains('/')).ok_or_else(|| Failure::text("archive format is invalid"))?;
        let files: &mut BTreeMap<String, Vec<u8>> = tls.entry(endpoint.to_owned()).or_default();
        files.insert(file.to_owned(), bytes);
    }
    let meta = meta.ok_or_else(|| Failure::text("invalid context: no metadata found"))?;
    Ok((meta, tls))
}

fn untar(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut files = Vec::new();
    // Docker's own archives end with the last file, without the padding behind it.
    let padding = if bytes.len() < BLOCK { 0 } else { bytes.len().next_multiple_of(BLOCK) - bytes.len() + 2 * BLOCK };
    let padding = vec![0; padding];
    let mut archive = tar::Archive::new(bytes.chain(padding.as_slice()));
    let broken = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Failure::text("unexpected EOF"),
        _ if error.to_string().contains("entire block") => Failure::text("unexpected EOF"),
        _ => Failure::text("archive/tar: invalid tar header"),
    };
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        if entry.header().entry_type().is_dir() {
            continue;
        }
        if files.len() == MAX_FILES {
            return Err(Failure::text(format!("the archive has more than {MAX_FILES} files")));
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(broken)?;
        files.push((path, content));
    }
    Ok(files)
}

fn check_path(path: &str) -> Result<(), &'static str> {
    if path != META && !path.starts_with(TLS) {
        return Err("unexpected context file");
    }
    let is_clean = path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    if !is_clean || path.contains('\\') {
        return Err("unexpected path format");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar_of(files: &[(&str, &str)]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, text) in files {
            append(&mut archive, path, text.as_bytes(), 0o644).unwrap();
        }
        archive.into_inner().unwrap()
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let mut meta = Meta { name: "n".into(), metadata: serde_json::json!({"Extra": 1}), ..Meta::default() };
        meta.set_docker("ssh://h", false);
        let tls = TlsData::from([("docker".to_owned(), BTreeMap::from([("ca.pem".to_owned(), b"x".to_vec())]))]);
        assert_eq!(unpack(&pack(&meta, &tls).unwrap()).unwrap(), (meta, tls));
    }

    #[test]
    fn an_archive_of_something_else_is_refused() {
        let refused = |files: &[(&str, &str)]| unpack(&tar_of(files)).unwrap_err().to_string();
        assert_eq!(refused(&[]), "invalid context: no metadata found");
        assert_eq!(refused(&[("foo", "")]), "foo: unexpected context file");
        assert_eq!(refused(&[("meta.json", "{}"), ("tls/f", "")]), "archive format is invalid");
        assert_eq!(refused(&[("meta.json", "{}"), ("tls/a/b/c", "")]), "archive format is invalid");
        assert!(check_path("tls/../x").is_err() && check_path("tls//x").is_err() && check_path("tls/a\\b").is_err());
        assert!(unpack(b"junk").is_err());
    }
}
