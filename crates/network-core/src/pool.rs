//! Which subnet a network gets when its user names none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::subnet::Subnet;

/// A range that is cut into subnets of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    pub base: Subnet,
    /// Prefix length of the subnets.
    pub size: u8,
}

/// Docker's ranges: 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/16 in blocks of /20.
pub fn default_ipv4() -> Vec<Pool> {
    let range = |address: [u8; 4], length, size| Pool {
        base: Subnet::of(IpAddr::V4(Ipv4Addr::from(address)), length).expect("a constant prefix fits"),
        size,
    };
    vec![
        range([172, 17, 0, 0], 16, 16),
        range([172, 18, 0, 0], 16, 16),
        range([172, 19, 0, 0], 16, 16),
        range([172, 20, 0, 0], 14, 16),
        range([172, 24, 0, 0], 14, 16),
        range([172, 28, 0, 0], 14, 16),
        range([192, 168, 0, 0], 16, 20),
    ]
}

/// A unique local prefix of the daemon's own (RFC 4193: fd00::/8 and 40 random bits), cut into /64.
pub fn unique_local(random: [u8; 5]) -> Pool {
    let [a, b, c, d, e] = random;
    let address = Ipv6Addr::from([0xfd, a, b, c, d, e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    Pool { base: Subnet::of(address.into(), 48).expect("a constant prefix fits"), size: 64 }
}

/// The first subnet of the pools, in order, that overlaps nothing taken. Skips over what is in the way instead of
/// trying each block, so that a large range is no long loop.
pub fn choose(pools: &[Pool], taken: &[Subnet]) -> Option<Subnet> {
    pools.iter().find_map(|pool| choose_in(pool, taken))
}

fn choose_in(pool: &Pool, taken: &[Subnet]) -> Option<Subnet> {
    if pool.size < pool.base.length() {
        return None;
    }
    let mut candidate = Subnet::of(pool.base.base(), pool.size)?;
    // Every obstacle is passed at most once: candidates only move forward.
    for _ in 0..=taken.len() {
        match taken.iter().find(|taken| taken.overlaps(&candidate)) {
            None => return Some(candidate),
            Some(obstacle) => {
                let larger = if obstacle.length() < candidate.length() { *obstacle } else { candidate };
                candidate = larger.block_behind(pool.size)?;
                if !pool.base.contains(candidate.base()) {
                    return None;
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnets(texts: &[&str]) -> Vec<Subnet> {
        texts.iter().map(|text| text.parse().expect("a valid subnet")).collect()
    }

    fn chosen(taken: &[&str]) -> String {
        choose(&default_ipv4(), &subnets(taken)).map_or("none".to_owned(), |subnet| subnet.to_string())
    }

    #[test]
    fn networks_follow_each_other_through_the_ranges_of_docker() {
        assert_eq!(chosen(&[]), "172.17.0.0/16");
        assert_eq!(chosen(&["172.17.0.0/16"]), "172.18.0.0/16");
        assert_eq!(chosen(&["172.16.0.0/12"]), "192.168.0.0/20");
        assert_eq!(chosen(&["172.16.0.0/12", "192.168.0.0/20"]), "192.168.16.0/20");
    }

    #[test]
    fn routes_of_the_host_are_never_overlapped() {
        assert_eq!(chosen(&["172.17.42.0/24"]), "172.18.0.0/16");
        assert_eq!(chosen(&["172.16.0.0/12", "192.168.1.7/32", "192.168.17.0/24"]), "192.168.32.0/20");
    }

    #[test]
    fn exhausted_pools_give_nothing() {
        assert_eq!(chosen(&["172.16.0.0/12", "192.168.0.0/16"]), "none");
    }

    #[test]
    fn many_small_obstacles_in_one_block_are_passed() {
        let taken: Vec<String> = (0..200).map(|third| format!("172.17.{third}.0/24")).collect();
        let taken: Vec<&str> = taken.iter().map(String::as_str).collect();
        assert_eq!(chosen(&taken), "172.18.0.0/16");
    }

    #[test]
    fn a_unique_local_pool_is_cut_into_64s() {
        let pool = unique_local([1, 2, 3, 4, 5]);
        let first = choose(&[pool], &[]).expect("the pool is empty");
        assert_eq!(first.to_string(), "fd01:203:405::/64");
        assert_eq!(choose(&[pool], &[first]).map(|next| next.to_string()), Some("fd01:203:405:1::/64".to_owned()));
    }
}
