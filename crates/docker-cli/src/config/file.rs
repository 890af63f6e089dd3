//! Changes `config.json`: what others wrote there stays, and nobody ever reads half a file.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use engine_api::auth::AuthConfig;
use serde::Serialize as _;
use serde_json::{Map, Value as Json, json};

use super::credentials::OWN;
use super::{HUB_KEY, host_of};
use crate::failure::Failure;

const FILE: &str = "config.json";
/// Of a file and a folder that are made new: credentials are nobody else's business.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Makes a named context the current one; the empty name is the default.
pub fn set_current_context(folder: &Path, name: &str) -> Result<(), Failure> {
    update(folder, |config| {
        if name.is_empty() {
            config.shift_remove("currentContext");
        } else {
            config.insert("currentContext".to_owned(), json!(name));
        }
    })
}

/// Writes credentials down, readable by whoever can read the file. Answers whether they are new there.
pub fn store_credentials(folder: &Path, auth: &AuthConfig) -> Result<bool, Failure> {
    let pair = format!("{}:{}", auth.username, auth.password.expose());
    let mut entry = Map::new();
    entry.insert("auth".to_owned(), json!(base64::engine::general_purpose::STANDARD.encode(pair)));
    if !auth.identity_token.is_empty() {
        entry.insert("identitytoken".to_owned(), json!(auth.identity_token.expose()));
    }
    let mut changed = false;
    update(folder, |config| {
        let entry = Json::Object(std::mem::take(&mut entry));
        let auths = auths(config);
        changed = auths.get(&auth.server_address) != Some(&entry);
        auths.insert(auth.server_address.clone(), entry);
    })?;
    Ok(changed)
}

/// Notes that a program keeps the credentials of this registry: what stood here goes. Who keeps them is noted as well
/// where nobody was named; of our own program for the registry, too, since podman and skopeo look there alone.
pub fn note_kept_elsewhere(folder: &Path, key: &str, helper: &str) -> Result<(), Failure> {
    update(folder, |config| {
        auths(config).insert(key.to_owned(), json!({}));
        let named = config.get("credHelpers").and_then(|helpers| helpers.get(key)).is_some();
        if !named && config.get("credsStore").and_then(Json::as_str).is_none_or(str::is_empty) {
            config.insert("credsStore".to_owned(), json!(helper));
        }
        if helper == OWN && !named {
            object(config, "credHelpers").insert(registry_of(key).to_owned(), json!(helper));
        }
    })
}

/// As podman and skopeo name the registry of a key.
fn registry_of(key: &str) -> &str {
    if key == HUB_KEY { "docker.io" } else { host_of(key) }
}

/// Forgets the credentials under these keys.
pub fn erase_credentials(folder: &Path, keys: &[&str]) -> Result<(), Failure> {
    let stored: Map<String, Json> = match fs::read(folder.join(FILE)) {
        Ok(text) => serde_json::from_slice(&text).unwrap_or_default(),
        Err(_) => Map::new(),
    };
    if !keys.iter().any(|key| stored.get("auths").is_some_and(|auths| auths.get(*key).is_some())) {
        return Ok(());
    }
    update(folder, |config| {
        for key in keys {
            auths(config).shift_remove(*key);
        }
        let Some(Json::Object(helpers)) = config.get_mut("credHelpers") else { return };
        helpers.retain(|registry, helper| helper != OWN || !keys.iter().any(|key| registry_of(key) == registry));
        if helpers.is_empty() {
            config.shift_remove("credHelpers");
        }
    })
}

fn auths(config: &mut Map<String, Json>) -> &mut Map<String, Json> {
    object(config, "auths")
}

/// A member that is an object, made if need be.
fn object<'c>(config: &'c mut Map<String, Json>, name: &str) -> &'c mut Map<String, Json> {
    let entry = config.entry(name).or_insert_with(|| json!({}));
    if !entry.is_object() {
        *entry = json!({});
    }
    match entry {
        Json::Object(members) => members,
        _ => unreachable!("made an object above"),
    }
}

fn update(folder: &Path, edit: impl FnOnce(&mut Map<String, Json>)) -> Result<(), Failure> {
    // A link is followed, so that a file that lives elsewhere is changed there.
    let path = fs::canonicalize(folder.join(FILE)).unwrap_or_else(|_| folder.join(FILE));
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let mut config = if text.iter().all(u8::is_ascii_whitespace) {
        Map::new()
    } else {
        serde_json::from_slice(&text)
            .map_err(|error| Failure::text(format!("parsing config file ({}): {error}", path.display())))?
    };
    auths(&mut config);
    edit(&mut config);
    write(&path, &pretty(&Json::Object(config))?)
}

/// With tabs, as Docker writes it.
fn pretty(config: &Json) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    config
        .serialize(&mut serde_json::Serializer::with_formatter(&mut text, formatter))
        .map_err(|error| Failure::text(error.to_string()))?;
    Ok(text)
}

/// In one step, with the rights that the file had.
fn write(path: &Path, text: &[u8]) -> Result<(), Failure> {
    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&folder)?;
    let mode = fs::metadata(path).map_or(FILE_MODE, |metadata| metadata.permissions().mode() & 0o777);
    replace(&folder.join(FILE), path, text, mode)
}

/// Writes beside the file and renames.
fn replace(beside: &Path, path: &Path, text: &[u8], mode: u32) -> Result<(), Failure> {
    let mut name = beside.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let temporary = PathBuf::from(name);
    let written = (|| {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&temporary)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    Ok(written?)
}

#[cfg(test)]
mod tests {
    use engine_api::auth::Secret;

    use super::*;

    #[test]
    fn our_own_program_is_entered_for_all_clients_and_leaves_with_the_login() {
        let folder = tempfile::tempdir().unwrap();
        let read = || -> Json { serde_json::from_slice(&fs::read(folder.path().join(FILE)).unwrap()).unwrap() };
        note_kept_elsewhere(folder.path(), HUB_KEY, OWN).unwrap();
        note_kept_elsewhere(folder.path(), "r:5000", OWN).unwrap();
        assert_eq!(
            read(),
            json!({
                "auths": {HUB_KEY: {}, "r:5000": {}},
                "credsStore": "longshore",
                "credHelpers": {"docker.io": "longshore", "r:5000": "longshore"}
            })
        );
        erase_credentials(folder.path(), &[HUB_KEY]).unwrap();
        erase_credentials(folder.path(), &["r:5000", "http://r:5000"]).unwrap();
        assert_eq!(read(), json!({"auths": {}, "credsStore": "longshore"}));
        // Who named another program keeps it.
        fs::write(folder.path().join(FILE), r#"{"credsStore": "pass"}"#).unwrap();
        note_kept_elsewhere(folder.path(), "r", "pass").unwrap();
        assert_eq!(read(), json!({"credsStore": "pass", "auths": {"r": {}}}));
    }

    #[test]
    fn what_others_wrote_stays_and_the_file_is_ours_alone() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("new");
        let read = || fs::read_to_string(folder.join(FILE)).unwrap();
        set_current_context(&folder, "one").unwrap();
        assert_eq!(read(), "{\n\t\"auths\": {},\n\t\"currentContext\": \"one\"\n}");
        assert_eq!(fs::metadata(folder.join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(folder.join(FILE), "{\"zzz\":[1],\"currentContext\":\"one\"}").unwrap();
        fs::set_permissions(folder.join(FILE), fs::Permissions::from_mode(0o640)).unwrap();
        let auth = AuthConfig {
            username: "u".into(),
            password: Secret::new("p"),
            server_address: "r".into(),
            ..AuthConfig::default()
        };
        assert!(store_credentials(&folder, &auth).unwrap());
        assert!(!store_credentials(&folder, &auth).unwrap());
        let stored: Json = serde_json::from_str(&read()).unwrap();
        assert_eq!(stored["auths"]["r"]["auth"], "dTpw");
        assert_eq!(stored["zzz"], json!([1]));
        assert_eq!(fs::metadata(folder.join(FILE)).unwrap().permissions().mode() & 0o777, 0o640);
        erase_credentials(&folder, &["r", "s"]).unwrap();
        set_current_context(&folder, "").unwrap();
        assert_eq!(serde_json::from_str::<Json>(&read()).unwrap(), json!({"zzz": [1], "auths": {}}));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }
}
