//! The daemon's event bus: what happened lately, and who wants to hear of it.
//!
//! [`Bus::publish`] never waits. The bus owns the last [`KEPT`] events; a subscriber gets those that it asks for and then
//! the new ones, each once. A subscriber that falls [`QUEUED`] events behind is told so and cut off. No clock: who
//! publishes says when it happened.

mod filter;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast;

pub use filter::Filter;

/// Events kept for those who ask for the past: Docker's number.
const KEPT: usize = 256;
/// How far a subscriber may fall behind.
const QUEUED: usize = 1024;

/// The kind of object that an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Container,
    Image,
    Network,
    Volume,
    Daemon,
}

impl Subject {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Network => "network",
            Self::Volume => "volume",
            Self::Daemon => "daemon",
        }
    }
}

/// Something that happened to one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub subject: Subject,
    /// `create`, `die`, `exec_start: sh -c …`.
    pub action: String,
    /// The object's id; a name for images and volumes.
    pub id: String,
    /// `name`, `image`, `exitCode`, labels and the like.
    pub attributes: BTreeMap<String, String>,
    /// Nanoseconds since 1970.
    pub time_ns: i64,
}

/// Cheap to clone; all clones are one bus.
#[derive(Clone)]
pub struct Bus {
    shared: Arc<Shared>,
}

struct Shared {
    kept: Mutex<VecDeque<Arc<Event>>>,
    live: broadcast::Sender<Arc<Event>>,
    published: AtomicU64,
}

/// What a subscriber reads from.
pub struct Subscription {
    past: VecDeque<Arc<Event>>,
    live: broadcast::Receiver<Arc<Event>>,
    filter: Filter,
}

impl Default for Bus {
    fn default() -> Self {
        let (live, _) = broadcast::channel(QUEUED);
        let kept = Mutex::new(VecDeque::with_capacity(KEPT));
        Self { shared: Arc::new(Shared { kept, live, published: AtomicU64::new(0) }) }
    }
}

impl Bus {
    /// Keeps the event and hands it to every subscriber.
    pub fn publish(&self, event: Event) {
        let event = Arc::new(event);
        self.shared.published.fetch_add(1, Ordering::Relaxed);
        let mut kept = self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(Arc::clone(&event));
        // Under the lock, so that nobody who subscribes meanwhile sees it twice or never. An error means: nobody listens.
        let _ = self.shared.live.send(event);
    }

    /// How many events there were since the daemon's start.
    pub fn published(&self) -> u64 {
        self.shared.published.load(Ordering::Relaxed)
    }

    /// How many listen now.
    pub fn subscribers(&self) -> usize {
        self.shared.live.receiver_count()
    }

    /// The kept events since a time (`None`: none of them), then what comes.
    pub fn subscribe(&self, since_ns: Option<i64>, filter: Filter) -> Subscription {
        let kept = self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let live = self.shared.live.subscribe();
        let past = match since_ns {
            Some(since) => kept.iter().filter(|event| event.time_ns >= since).cloned().collect(),
            None => VecDeque::new(),
        };
        Subscription { past, live, filter }
    }
}

impl Subscription {
    /// The next event that the filter lets through; `None` when the subscriber fell too far behind.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        loop {
            let event = match self.past.pop_front() {
                Some(event) => event,
                None => self.live.recv().await.ok()?,
            };
            if self.filter.accepts(&event) {
                return Some(event);
            }
        }
    }

    /// The next event that is there already.
    pub fn next_kept(&mut self) -> Option<Arc<Event>> {
        loop {
            let event = self.past.pop_front().or_else(|| self.live.try_recv().ok())?;
            if self.filter.accepts(&event) {
                return Some(event);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, time_ns: i64) -> Event {
        Event {
            subject: Subject::Container,
            action: "start".into(),
            id: id.into(),
            attributes: BTreeMap::new(),
            time_ns,
        }
    }

    #[test]
    fn a_subscriber_gets_the_past_it_asks_for_and_then_the_new_each_once() {
        let bus = Bus::default();
        bus.publish(event("a", 1));
        bus.publish(event("b", 2));
        let mut late = bus.subscribe(Some(2), Filter::default());
        let mut fresh = bus.subscribe(None, Filter::default());
        bus.publish(event("c", 3));
        let ids = |s: &mut Subscription| std::iter::from_fn(|| s.next_kept().map(|e| e.id.clone())).collect::<Vec<_>>();
        assert_eq!(ids(&mut late), ["b", "c"]);
        assert_eq!(ids(&mut fresh), ["c"]);
    }

    #[test]
    fn only_the_last_events_are_kept() {
        let bus = Bus::default();
        for time in 0..300 {
            bus.publish(event("x", time));
        }
        let mut all = bus.subscribe(Some(0), Filter::default());
        assert_eq!(all.next_kept().map(|e| e.time_ns), Some(300 - 256));
    }
}
