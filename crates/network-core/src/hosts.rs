//! The container's `/etc/hosts`, line by line as Docker writes it.

use std::net::IpAddr;

/// Standard lines; those for IPv6 only where the container has IPv6.
const LOCAL4: &str = "127.0.0.1\tlocalhost\n";
const LOCAL6: &str = "::1\tlocalhost ip6-localhost ip6-loopback\n\
                      fe00::\tip6-localnet\n\
                      ff00::\tip6-mcastprefix\n\
                      ff02::1\tip6-allnodes\n\
                      ff02::2\tip6-allrouters\n";

/// A line that was asked for with `--add-host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraHost {
    pub name: String,
    pub address: IpAddr,
}

/// `own` are the container's addresses, each a line with the full name and its first label.
pub fn generate(hostname: &str, domainname: &str, own: &[IpAddr], extra: &[ExtraHost]) -> String {
    let mut text = String::from(LOCAL4);
    text.push_str(LOCAL6);
    add_extra(&mut text, extra);
    let names = match (hostname.split_once('.'), domainname) {
        (Some((short, _)), "") => format!("{hostname} {short}"),
        (_, "") => hostname.to_owned(),
        (_, domain) => format!("{hostname}.{domain} {hostname}"),
    };
    for address in own {
        text.push_str(&format!("{address}\t{names}\n"));
    }
    text
}

/// In the host's namespace the host's own file is what counts.
pub fn for_host_mode(host_file: &str, extra: &[ExtraHost]) -> String {
    let mut text = host_file.to_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    add_extra(&mut text, extra);
    text
}

fn add_extra(text: &mut String, extra: &[ExtraHost]) {
    for host in extra {
        text.push_str(&format!("{}\t{}\n", host.address, host.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_ends_with_the_containers_own_line() {
        let text = generate("0123456789ab", "", &[IpAddr::from([172, 17, 0, 2])], &[]);
        assert!(text.starts_with("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"));
        assert!(text.ends_with("ff02::2\tip6-allrouters\n172.17.0.2\t0123456789ab\n"));
    }

    #[test]
    fn a_full_name_is_followed_by_its_first_label() {
        let own = [IpAddr::from([10, 0, 0, 2])];
        assert!(generate("web.example.org", "", &own, &[]).ends_with("10.0.0.2\tweb.example.org web\n"));
        assert!(generate("web", "example.org", &own, &[]).ends_with("10.0.0.2\tweb.example.org web\n"));
    }

    #[test]
    fn extra_hosts_stand_before_the_own_line_and_behind_the_hosts_file() {
        let extra = [ExtraHost { name: "db".to_owned(), address: IpAddr::from([10, 9, 8, 7]) }];
        let text = generate("web", "", &[IpAddr::from([10, 0, 0, 2])], &extra);
        assert!(text.ends_with("10.9.8.7\tdb\n10.0.0.2\tweb\n"));
        assert_eq!(for_host_mode("127.0.0.1 localhost", &extra), "127.0.0.1 localhost\n10.9.8.7\tdb\n");
    }
}
