//! Answers of upstream servers, kept as long as they say (RFC 1035, 7.4; RFC 2308 for names that are not there).
//!
//! What is kept belongs to the servers that gave it and to the very bytes of the question: spelling, flags and EDNS
//! options included. Lifetimes that are left are written into what is handed out again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::message::{HEADER, half, kind};
use crate::name::skip;

const MAX_ENTRIES: usize = 1024;
/// Larger answers are rare, and asked for again.
const MAX_ANSWER: usize = 4096;
/// No answer is kept longer, whatever it says of itself.
const MAX_LIFE: u32 = 3600;
const MAX_LIFE_NEGATIVE: u32 = 300;
const SOA: u16 = 6;
const NO_NAME: u16 = 3;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    servers: Vec<IpAddr>,
    /// The question without its id.
    message: Vec<u8>,
}

impl Key {
    pub(crate) fn new(servers: &[IpAddr], message: &[u8]) -> Self {
        Self { servers: servers.to_vec(), message: message.get(2..).unwrap_or_default().to_vec() }
    }
}

#[derive(Debug)]
struct Entry {
    answer: Vec<u8>,
    /// Where lifetimes stand in it.
    lives: Vec<usize>,
    stored: Duration,
    expires: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Cache {
    entries: HashMap<Key, Entry>,
}

impl Cache {
    /// The answer, with this id and what is left of its lifetimes.
    pub(crate) fn get(&mut self, key: &Key, id: u16, now: Duration) -> Option<Vec<u8>> {
        let entry = self.entries.get(key)?;
        if entry.expires <= now {
            self.entries.remove(key);
            return None;
        }
        let age = u32::try_from(now.saturating_sub(entry.stored).as_secs()).unwrap_or(u32::MAX);
        let mut answer = entry.answer.clone();
        answer[..2].copy_from_slice(&id.to_be_bytes());
        for at in &entry.lives {
            let left = word(&answer, *at).unwrap_or_default().saturating_sub(age);
            answer[*at..*at + 4].copy_from_slice(&left.to_be_bytes());
        }
        Some(answer)
    }

    /// Keeps an answer that says for how long.
    pub(crate) fn keep(&mut self, key: Key, answer: &[u8], now: Duration) {
        let Some((life, lives)) = lifetime(answer) else { return };
        if self.entries.len() >= MAX_ENTRIES && !self.entries.contains_key(&key) {
            self.entries.retain(|_, entry| entry.expires > now);
            if self.entries.len() >= MAX_ENTRIES {
                let first = self.entries.iter().min_by_key(|(_, entry)| entry.expires).map(|(key, _)| key.clone());
                first.and_then(|key| self.entries.remove(&key));
            }
        }
        let expires = now + Duration::from_secs(u64::from(life));
        self.entries.insert(key, Entry { answer: answer.to_vec(), lives, stored: now, expires });
    }
}

/// The shortest lifetime of its records, and where all of them stand; none where it is not to be kept.
fn lifetime(answer: &[u8]) -> Option<(u32, Vec<usize>)> {
    let flags = half(answer, 2)?;
    let code = flags & 0xf;
    let is_cut = flags & 0x0200 != 0;
    if answer.len() > MAX_ANSWER || is_cut || !matches!(code, 0 | NO_NAME) || half(answer, 4)? != 1 {
        return None;
    }
    let (answers, others) = (half(answer, 6)?, [half(answer, 8)?, half(answer, 10)?]);
    let records = others.iter().fold(usize::from(answers), |sum, count| sum + usize::from(*count));
    let is_negative = code == NO_NAME || answers == 0;
    let mut at = skip(answer, HEADER)? + 4;
    let mut lives = Vec::new();
    let mut shortest = None;
    let mut has_soa = false;
    for _ in 0..records {
        at = skip(answer, at)?;
        let (record, life, length) = (half(answer, at)?, word(answer, at + 4)?, usize::from(half(answer, at + 8)?));
        let end = at + 10 + length;
        let data = answer.get(at + 10..end)?;
        // The lifetime of an EDNS record is none.
        if record != kind::OPT {
            let mut life = life;
            if record == SOA && is_negative {
                has_soa = true;
                // Its last field: how long it is known that there is nothing.
                life = life.min(word(data, data.len().checked_sub(4)?)?);
            }
            shortest = Some(shortest.unwrap_or(u32::MAX).min(life));
            lives.push(at + 4);
        }
        at = end;
    }
    if is_negative && !has_soa {
        return None;
    }
    let longest = if is_negative { MAX_LIFE_NEGATIVE } else { MAX_LIFE };
    let life = shortest?.min(longest);
    (life > 0).then_some((life, lives))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::query_bytes;

    const SERVERS: [IpAddr; 1] = [IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 53))];

    /// An answer with one record in a section (3 answer, 4 authority) to the question.
    fn answer(query: &[u8], code: u8, section: usize, record: u16, life: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = query.to_vec();
        bytes[2..4].copy_from_slice(&[0x81, 0x80 | code]);
        bytes[section * 2 + 1] = 1;
        bytes.extend_from_slice(&[0xc0, 12]);
        bytes.extend_from_slice(&record.to_be_bytes());
        bytes.extend_from_slice(&[0, 1]);
        bytes.extend_from_slice(&life.to_be_bytes());
        bytes.extend_from_slice(&(data.len() as u16).to_be_bytes());
        bytes.extend_from_slice(data);
        bytes
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_answer_is_kept_as_long_as_it_says_and_grows_old() {
        let query = query_bytes(7, "example.org", kind::A, None);
        let mut cache = Cache::default();
        let key = Key::new(&SERVERS, &query);
        cache.keep(key.clone(), &answer(&query, 0, 3, kind::A, 60, &[1, 2, 3, 4]), at(100));
        let found = cache.get(&key, 0x0a0b, at(110)).expect("it is kept");
        assert_eq!(found, {
            let mut expected = answer(&query, 0, 3, kind::A, 50, &[1, 2, 3, 4]);
            expected[..2].copy_from_slice(&[0x0a, 0x0b]);
            expected
        });
        assert_eq!(cache.get(&key, 1, at(160)), None);
        assert_eq!(cache.entries.len(), 0);
    }

    #[test]
    fn other_servers_spellings_and_options_are_other_questions() {
        let query = query_bytes(7, "example.org", kind::A, None);
        let mut cache = Cache::default();
        cache.keep(Key::new(&SERVERS, &query), &answer(&query, 0, 3, kind::A, 60, &[1, 2, 3, 4]), at(0));
        let elsewhere = [IpAddr::from([192, 0, 2, 54])];
        assert!(cache.get(&Key::new(&elsewhere, &query), 1, at(1)).is_none());
        for other in [query_bytes(7, "Example.org", kind::A, None), query_bytes(7, "example.org", kind::A, Some(4096))]
        {
            assert!(cache.get(&Key::new(&SERVERS, &other), 1, at(1)).is_none());
        }
        assert!(cache.get(&Key::new(&SERVERS, &query_bytes(9, "example.org", kind::A, None)), 1, at(1)).is_some());
    }

    #[test]
    fn no_name_is_kept_by_its_authority_only() {
        let query = query_bytes(7, "nobody.example", kind::A, None);
        let mut authority = vec![0, 0];
        authority.extend_from_slice(&[0; 16]);
        authority.extend_from_slice(&30u32.to_be_bytes());
        assert_eq!(lifetime(&answer(&query, 3, 4, SOA, 900, &authority)).map(|(life, _)| life), Some(30));
        assert_eq!(lifetime(&answer(&query, 3, 4, 2, 900, &[0])), None);
        let mut bare = query.clone();
        bare[2..4].copy_from_slice(&[0x81, 0x83]);
        assert_eq!(lifetime(&bare), None);
    }

    #[test]
    fn failures_cut_answers_and_those_without_a_lifetime_are_not_kept() {
        let query = query_bytes(7, "example.org", kind::A, None);
        let good = answer(&query, 0, 3, kind::A, 60, &[1, 2, 3, 4]);
        assert!(lifetime(&good).is_some());
        assert!(lifetime(&answer(&query, 2, 3, kind::A, 60, &[1, 2, 3, 4])).is_none());
        assert!(lifetime(&answer(&query, 0, 3, kind::A, 0, &[1, 2, 3, 4])).is_none());
        let mut cut = good.clone();
        cut[2] |= 0x02;
        assert!(lifetime(&cut).is_none());
        assert!(lifetime(&good[..good.len() - 1]).is_none());
    }

    #[test]
    fn a_full_cache_lets_the_oldest_go() {
        let mut cache = Cache::default();
        for number in 0..MAX_ENTRIES + 50 {
            let query = query_bytes(7, &format!("n{number}.example"), kind::A, None);
            let life = 60 + number as u32;
            cache.keep(Key::new(&SERVERS, &query), &answer(&query, 0, 3, kind::A, life, &[1, 2, 3, 4]), at(0));
        }
        assert_eq!(cache.entries.len(), MAX_ENTRIES);
        let first = Key::new(&SERVERS, &query_bytes(7, "n0.example", kind::A, None));
        assert!(cache.get(&first, 1, at(1)).is_none());
    }

    proptest::proptest! {
        #[test]
        fn no_answer_makes_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
            let mut cache = Cache::default();
            let key = Key::new(&SERVERS, &bytes);
            cache.keep(key.clone(), &bytes, at(0));
            let _ = cache.get(&key, 1, at(1));
        }
    }
}
