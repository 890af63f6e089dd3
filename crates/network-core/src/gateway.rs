//! Which of a sandbox's endpoints leads out: the default routes, and where published ports lead.

/// What counts about one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    pub network: &'a str,
    pub is_internal: bool,
    /// `--gw-priority`.
    pub priority: i64,
    pub has_ipv4: bool,
    pub has_ipv6: bool,
}

/// Places of the endpoints with the default route of each family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gateways {
    pub ipv4: Option<usize>,
    pub ipv6: Option<usize>,
}

/// Docker's order: networks with a way out, the higher priority, the smaller name. The first that leads out in both
/// families is preferred over two that lead out in one each. A candidate without a gateway leads nowhere.
pub fn choose(candidates: &[Candidate<'_>]) -> Gateways {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by(|a, b| {
        let (a, b) = (&candidates[*a], &candidates[*b]);
        (a.is_internal, std::cmp::Reverse(a.priority), a.network).cmp(&(
            b.is_internal,
            std::cmp::Reverse(b.priority),
            b.network,
        ))
    });
    let mut chosen = Gateways::default();
    for at in order {
        let candidate = &candidates[at];
        if candidate.has_ipv4 && candidate.has_ipv6 {
            return Gateways { ipv4: Some(at), ipv6: Some(at) };
        }
        if candidate.has_ipv4 && chosen.ipv4.is_none() {
            chosen.ipv4 = Some(at);
        }
        if candidate.has_ipv6 && chosen.ipv6.is_none() {
            chosen.ipv6 = Some(at);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate<'a>(network: &'a str, priority: i64, families: &str) -> Candidate<'a> {
        Candidate {
            network,
            is_internal: false,
            priority,
            has_ipv4: families.contains('4'),
            has_ipv6: families.contains('6'),
        }
    }

    #[test]
    fn the_smaller_name_leads_out_unless_another_has_priority() {
        let (front, back) = (candidate("front", 0, "4"), candidate("back", 0, "4"));
        assert_eq!(choose(&[front, back]).ipv4, Some(1));
        assert_eq!(choose(&[candidate("front", 1, "4"), back]).ipv4, Some(0));
        assert_eq!(choose(&[candidate("front", -1, "4"), candidate("g", -2, "4")]).ipv4, Some(0));
    }

    #[test]
    fn each_family_finds_its_own_way_and_both_together_are_preferred() {
        let (four, six) = (candidate("four", 0, "4"), candidate("six", 0, "6"));
        assert_eq!(choose(&[six, four]), Gateways { ipv4: Some(1), ipv6: Some(0) });
        let both = candidate("z", 0, "46");
        assert_eq!(choose(&[six, four, both]), Gateways { ipv4: Some(2), ipv6: Some(2) });
    }

    #[test]
    fn without_a_gateway_nothing_leads_out() {
        assert_eq!(choose(&[candidate("closed", 9, "")]), Gateways::default());
        assert_eq!(choose(&[]), Gateways::default());
    }
}
