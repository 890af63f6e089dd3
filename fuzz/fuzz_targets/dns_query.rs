//! What a container sends to its name server: read, answered from the table, and the answer read by the same rules.

#![no_main]

use dns::{Answer, EndpointNames, MIN_UDP_SIZE, Names, Query, Reply, SandboxNames, truncated};
use libfuzzer_sys::fuzz_target;

fn table() -> Names {
    let endpoint = EndpointNames {
        network_id: "n".to_owned(),
        network_name: "town".to_owned(),
        addresses: vec!["10.0.0.2".parse().expect("an address"), "fd00::2".parse().expect("an address")],
        names: vec!["web".to_owned(), "a.b".to_owned()],
        links: vec![("db".to_owned(), "web".to_owned())],
    };
    let mut names = Names::new();
    names.set("s", SandboxNames { endpoints: vec![endpoint] });
    names
}

fuzz_target!(|message: &[u8]| {
    let Ok(query) = Query::parse(message) else { return };
    let limit = query.udp_limit().max(MIN_UDP_SIZE);
    let reply = match table().answer("s", &query, 1) {
        Answer::Addresses(addresses) => Reply::Addresses(&addresses).encode(&query, limit),
        Answer::Pointer(name) => Reply::Pointer(&name).encode(&query, limit),
        Answer::NoData => Reply::NoData.encode(&query, limit),
        Answer::Unknown => Reply::Failure.encode(&query, limit),
    };
    assert!(reply.len() <= limit, "{} bytes where {limit} may be", reply.len());
    assert_eq!(reply[..2], message[..2], "the answer has another id");
    assert!(truncated(&reply).len() <= reply.len());
});
