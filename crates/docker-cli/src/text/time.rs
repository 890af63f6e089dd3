//! Points in time: RFC 3339 from the daemon, local time for people, `--since` and `--until` from people.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

use go_text::duration::{human_duration, parse_duration};

/// Where Go looks for a zone that has a name.
const ZONES: [&str; 3] = ["/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/usr/share/lib/zoneinfo"];
/// Largest file of a zone that is read.
const MAX_ZONE_BYTES: u64 = 1 << 20;

/// The zone of this machine or of `TZ`, as Go finds it: one file is read, and what cannot be read is UTC.
fn local_zone() -> TimeZone {
    static LOCAL: OnceLock<TimeZone> = OnceLock::new();
    let zone = LOCAL.get_or_init(|| {
        let files = match std::env::var("TZ") {
            Err(_) => vec![PathBuf::from("/etc/localtime")],
            Ok(name) => zone_files(&name),
        };
        files.iter().find_map(|file| read_zone(file)).unwrap_or(TimeZone::UTC)
    });
    zone.clone()
}

/// Empty for UTC.
fn zone_files(name: &str) -> Vec<PathBuf> {
    let name = name.strip_prefix(':').unwrap_or(name);
    match name {
        "" | "UTC" => Vec::new(),
        path if path.starts_with('/') => vec![PathBuf::from(path)],
        name if name.split('/').any(|part| part == "..") => Vec::new(),
        name => ZONES.iter().map(|folder| Path::new(folder).join(name)).collect(),
    }
}

fn read_zone(file: &Path) -> Option<TimeZone> {
    let mut bytes = Vec::new();
    File::open(file).ok()?.take(MAX_ZONE_BYTES).read_to_end(&mut bytes).ok()?;
    TimeZone::tzif("Local", &bytes).ok()
}

/// Seconds since 1970.
pub fn now_seconds() -> i64 {
    now().as_second()
}

fn now() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// `2 hours ago`, from seconds since 1970; a time to come counts as now.
pub fn ago(seconds: i64) -> String {
    let span = u64::try_from(now_seconds() - seconds).unwrap_or(0);
    format!("{} ago", human_duration(Duration::from_secs(span)))
}

/// RFC 3339 text to a point in time.
pub fn parse(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// Go's `2006-01-02 15:04:05 -0700 MST`, in local time.
pub fn local_go(seconds: i64) -> String {
    let Ok(time) = Timestamp::from_second(seconds) else { return String::new() };
    time.to_zoned_datetime(local_zone()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
}

/// A point in time as Go prints it by itself: `2025-05-30 12:07:14.5 +0000 UTC`.
pub fn go_time(text: &str) -> String {
    let Some(time) = parse(text) else { return text.to_owned() };
    let zoned = match text.ends_with('Z') {
        true => time.to_zoned_datetime(TimeZone::UTC),
        false => time.to_zoned_datetime(local_zone()),
    };
    let fraction = zoned.strftime("%.f").to_string();
    format!("{}{fraction} {}", zoned.strftime("%Y-%m-%d %H:%M:%S"), zoned.strftime("%z %Z"))
}

/// RFC 3339 with seconds, in local time, `Z` for UTC.
pub fn local_rfc3339(seconds: i64) -> String {
    let Ok(time) = Timestamp::from_second(seconds) else { return String::new() };
    with_zone(&time.to_zoned_datetime(local_zone()), "%Y-%m-%dT%H:%M:%S")
}

/// RFC 3339 with nine digits of a second, in local time.
pub fn local_rfc3339_nano(nanoseconds: i64) -> String {
    let Ok(time) = Timestamp::from_nanosecond(i128::from(nanoseconds)) else { return String::new() };
    with_zone(&time.to_zoned_datetime(local_zone()), "%Y-%m-%dT%H:%M:%S.%9f")
}

fn with_zone(time: &ZonedDateTime, layout: &str) -> String {
    let zone = if time.offset().is_zero() { "Z".to_owned() } else { time.strftime("%:z").to_string() };
    format!("{}{zone}", time.strftime(layout))
}

/// Go's ANSIC layout in local time: `Fri May 30 12:07:14 2025`.
pub fn local_ansic(text: &str) -> Option<String> {
    Some(parse(text)?.to_zoned_datetime(local_zone()).strftime("%a %b %e %H:%M:%S %Y").to_string())
}

/// What the daemon is told for `--since` and `--until`: seconds and nanoseconds since 1970.
///
/// A duration counts back from now; a date may lack its time, its seconds or its zone (then local); a number is passed on.
pub fn query_time(text: &str) -> Result<String, String> {
    if let Some(back) = parse_duration(text) {
        let nanoseconds = now().as_nanosecond() - i128::from(back);
        return Ok(seconds_and_nanoseconds(nanoseconds));
    }
    if let Some(time) = parse_date(text) {
        return Ok(seconds_and_nanoseconds(time.as_nanosecond()));
    }
    let number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if number && text.parse::<f64>().is_ok() {
        return Ok(text.to_owned());
    }
    Err(format!("failed to parse value as time or duration: {text:?}"))
}

fn parse_date(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let local = |datetime: jiff::civil::DateTime| datetime.to_zoned_datetime(local_zone()).ok().map(|z| z.timestamp());
    if let Ok(datetime) = text.parse::<jiff::civil::DateTime>()
        && text.contains('-')
        && !text.ends_with('Z')
    {
        return local(datetime);
    }
    let date = text.strip_suffix('Z').unwrap_or(text);
    let zone = if date.len() < text.len() { TimeZone::UTC } else { local_zone() };
    let datetime = jiff::civil::DateTime::strptime("%Y-%m-%dT%H:%M", date)
        .or_else(|_| jiff::civil::DateTime::strptime("%Y-%m-%dT%H", date))
        .or_else(|_| jiff::civil::Date::strptime("%Y-%m-%d", date).map(jiff::civil::DateTime::from))
        .ok()?;
    datetime.to_zoned_datetime(zone).ok().map(|z| z.timestamp())
}

fn seconds_and_nanoseconds(nanoseconds: i128) -> String {
    format!("{}.{:09}", nanoseconds.div_euclid(1_000_000_000), nanoseconds.rem_euclid(1_000_000_000))
}

/// Since 1970, for a point in time.
pub fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_one_file_or_utc() {
        assert_eq!(zone_files(":Europe/Paris")[0], Path::new("/usr/share/zoneinfo/Europe/Paris"));
        assert_eq!(zone_files("/etc/localtime"), [Path::new("/etc/localtime")]);
        assert!(zone_files("").is_empty() && zone_files("UTC").is_empty() && zone_files("../x").is_empty());
        assert_eq!(read_zone(Path::new("/etc/passwd")), None);
        if let Some(paris) = read_zone(Path::new("/usr/share/zoneinfo/Europe/Paris")) {
            let noon = Timestamp::from_second(1_700_000_000).unwrap().to_zoned_datetime(paris);
            assert_eq!(noon.strftime("%H:%M %z %Z").to_string(), "23:13 +0100 CET");
        }
    }

    #[test]
    fn query_times_are_seconds_and_nanoseconds() {
        assert_eq!(query_time("2020-01-02T03:04:05.5Z").unwrap(), "1577934245.500000000");
        assert_eq!(query_time("2020-01-02T03:04:05+01:00").unwrap(), "1577930645.000000000");
        assert_eq!(query_time("2020-01-02Z").unwrap(), "1577923200.000000000");
        assert_eq!(query_time("1577934245").unwrap(), "1577934245");
        assert_eq!(query_time("x").unwrap_err(), "failed to parse value as time or duration: \"x\"");
        let back: f64 = query_time("1h").unwrap().parse().unwrap();
        assert!((since_epoch().as_secs_f64() - 3600.0 - back).abs() < 5.0);
    }

    #[test]
    fn times_to_come_count_as_now() {
        assert_eq!(ago(now_seconds() + 100), "Less than a second ago");
        assert_eq!(ago(now_seconds() - 7200), "2 hours ago");
    }
}
