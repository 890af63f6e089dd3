//! What a name server of the outside answers: taken only where it answers, kept, and given to the next who asks.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use dns::{Forwarder, Limits, Query, Started};
use libfuzzer_sys::fuzz_target;

const SERVERS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2))];
const ID: u16 = 0x1234;

fuzz_target!(|input: (Vec<u8>, Vec<Vec<u8>>)| {
    let (message, answers) = input;
    let Ok(query) = Query::parse(&message) else { return };
    let mut forwarder = Forwarder::new(Limits::default());
    let now = Duration::from_secs(1);
    let Ok(Started::Sent(sent)) = forwarder.start(now, ID, 1, (), (&query, &message), &SERVERS) else {
        panic!("an empty forwarder sends")
    };
    for mut answer in answers {
        // The id is what an attacker has to guess; here it has been.
        if let Some(id) = answer.get_mut(..2) {
            id.copy_from_slice(&ID.to_be_bytes());
        }
        if let Some((_, asked, given)) = forwarder.receive(now, sent.ticket, &answer) {
            assert_eq!((asked.id.to_be_bytes(), given.len()), ([given[0], given[1]], answer.len()));
            let again = forwarder.start(now, ID, 2, (), (&query, &message), &SERVERS);
            assert!(again.is_ok());
        }
    }
    forwarder.expire(now + Duration::from_secs(60));
    forwarder.expire(now + Duration::from_secs(120));
    forwarder.expire(now + Duration::from_secs(180));
    assert!(forwarder.next_deadline().is_none(), "a query waits for ever");
});
