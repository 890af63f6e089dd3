//! `--add-host`, `--dns`, `--dns-search`, `--link`: names and addresses that a container is told.

use std::net::IpAddr;

/// `name:address` or `name=address`, brackets around an IPv6 address dropped.
pub fn extra_hosts(list: &[String]) -> Result<Vec<String>, String> {
    let one = |item: &String| {
        let (name, address) = item
            .split_once('=')
            .or_else(|| item.split_once(':'))
            .filter(|(name, address)| !name.is_empty() && !address.is_empty())
            .ok_or_else(|| format!("bad format for add-host: {item:?}"))?;
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
        if bare != "host-gateway" && bare.parse::<IpAddr>().is_err() {
            return Err(format!("invalid IP address in add-host: {address:?}"));
        }
        Ok(format!("{name}:{bare}"))
    };
    list.iter().map(one).collect()
}

/// `--add-host`, checked while the line is read.
pub fn check_extra_host(value: &str) -> Result<(), String> {
    extra_hosts(&[value.to_owned()]).map(drop)
}

/// `--dns`, each address in its shortest form.
pub fn servers(list: &[String]) -> Vec<String> {
    let one = |text: &String| match text.trim().parse::<IpAddr>() {
        Ok(address) => address.to_canonical().to_string(),
        Err(_) => text.clone(),
    };
    list.iter().map(one).collect()
}

/// `--dns`, checked while the line is read.
pub fn check_server(value: &str) -> Result<(), String> {
    match value.trim().parse::<IpAddr>() {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("IP address is not correctly formatted: {value}")),
    }
}

/// A server on the loopback, which a container has a different one of.
pub fn loopback_server(list: &[String]) -> Option<&String> {
    list.iter().find(|text| text.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()))
}

/// Longest domain name.
const MAX_DOMAIN: usize = 255;

/// `--dns-search`, without the dot at its end; `.` alone is no search.
pub fn domains(list: &[String]) -> Vec<String> {
    let one = |text: &String| match text.trim_matches(' ') {
        "." => ".".to_owned(),
        name => name.strip_suffix('.').unwrap_or(name).to_owned(),
    };
    list.iter().map(one).collect()
}

/// `--dns-search`, checked while the line is read.
pub fn check_domain(value: &str) -> Result<(), String> {
    let name = value.trim_matches(' ');
    let bare = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        let inner = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        !label.is_empty() && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    let is_name =
        bare.len() < MAX_DOMAIN && bare.split('.').all(is_label) && bare.contains(|c: char| c.is_ascii_alphabetic());
    if name == "." || is_name { Ok(()) } else { Err(format!("{value} is not a valid domain")) }
}

/// `--link name` or `name:alias`, checked while the line is read.
pub fn check_link(value: &str) -> Result<(), String> {
    match value.split(':').count() {
        _ if value.is_empty() => Err("empty string specified for links".to_owned()),
        1 | 2 => Ok(()),
        _ => Err(format!("bad format for links: {value}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_hosts_take_colon_and_equals_sign() {
        let read = |text: &str| extra_hosts(&[text.to_owned()]).map(|mut list| list.remove(0));
        assert_eq!(read("h:1.2.3.4").unwrap(), "h:1.2.3.4");
        assert_eq!(read("h=[::1]").unwrap(), "h:::1");
        assert_eq!(read("h:host-gateway").unwrap(), "h:host-gateway");
        assert!(read("h").is_err() && read("h:x").is_err());
    }

    #[test]
    fn domains_are_letters_digits_and_dashes() {
        assert!(check_domain(".").is_ok() && check_domain("example.com.").is_ok());
        for bad in ["a b", "", "1.2", "-a", "a-.b", "a..b"] {
            assert_eq!(check_domain(bad).unwrap_err(), format!("{bad} is not a valid domain"));
        }
        assert_eq!(domains(&["a.b.".to_owned(), ".".to_owned()]), ["a.b", "."]);
    }
}
