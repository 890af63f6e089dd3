//! The file that a container's output is kept in, whatever its driver: the driver's own, or the one that it ships from.

use std::path::{Path, PathBuf};

use go_text::size::Base;
use logs::Format;

use crate::messages::{bad_value, wrapped, wrong};
use crate::values::{parse_bool, parse_int, parse_size};
use crate::{Error, Info};

/// Rotation of json-file where no option names any; Docker's is endless.
const JSON_FILE_SIZE: u64 = 100_000_000;
const JSON_FILE_COUNT: u32 = 5;
/// Docker's, of the driver local and of its cache.
const LOCAL_SIZE: u64 = 20 << 20;
const LOCAL_COUNT: u32 = 5;
/// More files than anyone looks through.
const MAX_COUNT: i64 = 1000;
/// Docker's buffer of mode non-blocking.
const BUFFER: u64 = 1_000_000;
/// The shim's memory.
const MAX_BUFFER: u64 = 1 << 30;

/// How the pump is to keep a container's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalLog {
    pub path: PathBuf,
    pub format: Format,
    pub max_size: Option<u64>,
    pub max_file: u32,
    pub compress: bool,
    /// For a shipper.
    pub numbered: bool,
    pub attrs: Vec<(String, String)>,
    /// Bytes that wait in memory while the disk is slow; `None`: the container waits.
    pub buffer: Option<u64>,
}

/// The local log of a driver, below the container's folder; `None` for the driver `none`. Finds the mistakes that Docker
/// finds when a container starts.
pub fn local_log(driver: &str, info: &Info, folder: &Path) -> Result<Option<LocalLog>, Error> {
    let mut log = LocalLog {
        path: log_path(driver, &info.container_id, folder),
        format: log_format(driver),
        max_size: Some(LOCAL_SIZE),
        max_file: LOCAL_COUNT,
        compress: true,
        numbered: false,
        attrs: Vec::new(),
        buffer: None,
    };
    match driver {
        "none" => return Ok(None),
        "json-file" => {
            json_file(&mut log, info)?;
            log.attrs = attributes(info)?;
        }
        "local" => local(&mut log, info, "")?,
        _ => {
            local(&mut log, info, "cache-")?;
            log.numbered = true;
            log.attrs = attributes(info)?;
        }
    }
    if info.option("mode") == Some("non-blocking") {
        let size =
            info.option("max-buffer-size").map(|size| parse_size(size, Base::Binary)).transpose().map_err(wrong)?;
        log.buffer = Some(size.unwrap_or(BUFFER).min(MAX_BUFFER));
    }
    Ok(Some(log))
}

/// Whether `docker logs` reads what this driver keeps.
pub fn is_readable(driver: &str, options: &crate::Options) -> bool {
    match driver {
        "none" => false,
        "json-file" | "local" => true,
        _ => !options.get("cache-disabled").is_some_and(|value| parse_bool(value).unwrap_or(false)),
    }
}

/// Whether a driver sends its log elsewhere.
pub fn ships(driver: &str) -> bool {
    !matches!(driver, "none" | "json-file" | "local")
}

/// Where a driver's log is, below the container's folder.
pub fn log_path(driver: &str, id: &str, folder: &Path) -> PathBuf {
    match driver {
        "json-file" => folder.join(format!("{id}-json.log")),
        "local" => folder.join("local-logs").join("container.log"),
        _ => folder.join("container-cached.log"),
    }
}

pub fn log_format(driver: &str) -> Format {
    if driver == "json-file" { Format::JsonFile } else { Format::Local }
}

/// For a driver that keeps lines: no tag unless the user asks for one.
fn attributes(info: &Info) -> Result<Vec<(String, String)>, Error> {
    let mut attributes = info.attributes(str::to_owned)?;
    let tag = info.tag("")?;
    if !tag.is_empty() {
        attributes.insert("tag".to_owned(), tag);
    }
    Ok(attributes.into_iter().collect())
}

/// As in Docker one file is kept of a log whose size the user limits without a number of files; and where the user says
/// nothing, not all of it.
fn json_file(log: &mut LocalLog, info: &Info) -> Result<(), Error> {
    (log.max_size, log.max_file, log.compress) = (Some(JSON_FILE_SIZE), JSON_FILE_COUNT, false);
    if let Some(text) = info.options.get("max-size") {
        log.max_file = 1;
        log.max_size = match text.as_str() {
            "-1" => None,
            text => Some(parse_size(text, Base::Decimal).map_err(wrong)?),
        };
        if log.max_size == Some(0) {
            return Err(wrong("max-size must be a positive number"));
        }
    }
    if let Some(text) = info.options.get("max-file") {
        let count = parse_int(text).map_err(wrong)?;
        if count < 1 {
            return Err(wrong("max-file cannot be less than 1"));
        }
        log.max_file = file_count(count);
    }
    if let Some(text) = info.options.get("compress") {
        log.compress = parse_bool(text).map_err(wrong)?;
        if log.compress && (log.max_file == 1 || log.max_size.is_none()) {
            return Err(wrong("compress cannot be true when max-file is less than 2 or max-size is not set"));
        }
    }
    Ok(())
}

fn local(log: &mut LocalLog, info: &Info, prefix: &str) -> Result<(), Error> {
    let option = |name: &str| info.options.get(&format!("{prefix}{name}"));
    if let Some(text) = option("max-size") {
        let size = parse_size(text, Base::Decimal).map_err(|why| bad_value("max-size", text, &why))?;
        log.max_size = Some(size.max(1));
    }
    if let Some(text) = option("max-file") {
        let count = parse_int(text).map_err(|why| bad_value("max-file", text, &why))?;
        if count < 0 {
            return Err(wrong("max-file must not be negative"));
        }
        log.max_file = file_count(count);
    }
    if let Some(text) = option("compress") {
        log.compress = parse_bool(text)
            .map_err(|why| wrapped("compress", &why).to_string())
            .map_err(|text| wrong(text.replacen("invalid value", "invalid boolean value", 1)))?;
    }
    if log.compress && log.max_file <= 1 {
        return Err(wrong("compression cannot be enabled when max file count is 1"));
    }
    Ok(())
}

fn file_count(count: i64) -> u32 {
    u32::try_from(count.clamp(1, MAX_COUNT)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::info::tests::info;

    fn plan(driver: &str, options: &[(&str, &str)]) -> Result<LocalLog, String> {
        let log = local_log(driver, &info(options), Path::new("/c")).map_err(|error| error.to_string())?;
        log.ok_or_else(|| "none".to_owned())
    }

    #[test]
    fn files_are_where_docker_has_them() {
        let path = |driver| plan(driver, &[]).unwrap().path.display().to_string();
        assert_eq!(path("json-file"), format!("/c/{}-json.log", "0123456789abcdef".repeat(4)));
        assert_eq!(path("local"), "/c/local-logs/container.log");
        assert_eq!(path("syslog"), "/c/container-cached.log");
        assert_eq!(plan("none", &[]), Err("none".to_owned()));
    }

    #[test]
    fn sizes_and_counts_follow_dockers_rules() {
        let shape = |driver, options: &[(&str, &str)]| {
            plan(driver, options).map(|log| (log.max_size, log.max_file, log.compress))
        };
        assert_eq!(shape("json-file", &[]), Ok((Some(100_000_000), 5, false)));
        assert_eq!(shape("json-file", &[("max-size", "10m")]), Ok((Some(10_000_000), 1, false)));
        assert_eq!(shape("json-file", &[("max-size", "-1")]), Ok((None, 1, false)));
        assert_eq!(shape("json-file", &[("max-file", "3"), ("compress", "1")]), Ok((Some(100_000_000), 3, true)));
        assert_eq!(shape("json-file", &[("max-size", "0")]), Err("max-size must be a positive number".into()));
        assert_eq!(shape("json-file", &[("max-size", "big")]), Err("invalid size: 'big'".into()));
        assert_eq!(shape("json-file", &[("max-file", "0")]), Err("max-file cannot be less than 1".into()));
        let compress = "compress cannot be true when max-file is less than 2 or max-size is not set";
        assert_eq!(shape("json-file", &[("compress", "true"), ("max-size", "1m")]), Err(compress.into()));
        assert_eq!(shape("local", &[]), Ok((Some(20 << 20), 5, true)));
        let local = [("max-size", "1m"), ("max-file", "2"), ("compress", "false")];
        assert_eq!(shape("local", &local), Ok((Some(1_000_000), 2, false)));
        let count = "compression cannot be enabled when max file count is 1";
        assert_eq!(shape("local", &[("max-file", "1")]), Err(count.into()));
        assert_eq!(
            shape("local", &[("compress", "x")]),
            Err("invalid boolean value for compress: strconv.ParseBool: parsing \"x\": invalid syntax".into())
        );
        assert_eq!(shape("journald", &[("cache-max-size", "3k")]), Ok((Some(3000), 5, true)));
    }

    #[test]
    fn attributes_and_the_buffer_come_from_the_options() {
        let log = plan("json-file", &[("tag", "{{.Name}}"), ("env", "A"), ("mode", "non-blocking")]).unwrap();
        assert_eq!(log.attrs, [("A".to_owned(), "1".to_owned()), ("tag".to_owned(), "web".to_owned())]);
        assert_eq!((log.buffer, log.numbered), (Some(1_000_000), false));
        let log = plan("gelf", &[("mode", "non-blocking"), ("max-buffer-size", "2k")]).unwrap();
        assert!(log.attrs.is_empty() && log.numbered && log.buffer == Some(2048));
        assert!(!is_readable("none", &crate::Options::new()));
        assert!(is_readable("gelf", &crate::Options::new()));
        assert!(!is_readable("gelf", &[("cache-disabled".to_owned(), "true".to_owned())].into()));
    }
}
