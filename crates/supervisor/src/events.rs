//! The exchange: what happened, to everybody who wants to hear of it.
//!
//! Events are hints and nothing more: they are not kept, and a subscriber that does not keep up is cut off with
//! [`Lagged`] (it lists the truth and subscribes again). Publishing never waits. All subscribers see one order.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::SystemTime;

use containerd_api::types::Envelope;
use containerd_api::{Any, any, time};
use prost::{Message, Name};
use tokio::sync::mpsc;

use crate::error::{Error, Result};
use crate::filter::{Fields, Filter};
use crate::identifier;

/// How many events wait for a subscriber before it is cut off.
const MAX_QUEUED: usize = 8192;
/// How many subscribers there may be.
const MAX_SUBSCRIBERS: usize = 4096;

/// One event as it was published, shared by all who get it.
pub type Event = Arc<Envelope>;

/// The subscriber did not take its events fast enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the subscriber fell more than {MAX_QUEUED} events behind")]
pub struct Lagged;

#[derive(Debug, Default, Clone)]
pub struct Exchange {
    subscribers: Arc<Mutex<Vec<Subscriber>>>,
}

#[derive(Debug)]
struct Subscriber {
    filter: Filter,
    queue: mpsc::Sender<Event>,
    lagged: Arc<std::sync::atomic::AtomicBool>,
}

/// A stream of events; dropping it ends the subscription.
#[derive(Debug)]
pub struct Subscription {
    queue: mpsc::Receiver<Event>,
    lagged: Arc<std::sync::atomic::AtomicBool>,
}

impl Exchange {
    /// Publishes an event of our own, now.
    pub fn publish<M: Message + Name>(&self, namespace: &str, topic: &str, event: &M) {
        self.send(Envelope {
            timestamp: Some(time::to_timestamp(SystemTime::now())),
            namespace: namespace.to_owned(),
            topic: topic.to_owned(),
            event: Some(any::pack(event)),
        });
    }

    /// Publishes what a client sent.
    pub fn publish_any(&self, namespace: &str, topic: &str, event: Option<Any>) -> Result<()> {
        let timestamp = Some(time::to_timestamp(SystemTime::now()));
        self.forward(Envelope { timestamp, namespace: namespace.to_owned(), topic: topic.to_owned(), event })
    }

    /// Passes on an event that somebody else published.
    pub fn forward(&self, envelope: Envelope) -> Result<()> {
        identifier::check(&envelope.namespace)?;
        identifier::check_topic(&envelope.topic)?;
        if envelope.timestamp.is_none() {
            return Err(Error::InvalidArgument(
                "timestamp must be set on forwarded event: invalid argument".to_owned(),
            ));
        }
        self.send(envelope);
        Ok(())
    }

    /// Everything from now on that one of the filters lets through.
    pub fn subscribe(&self, filters: &[String]) -> Result<Subscription> {
        let filter = Filter::parse_all(filters)?;
        let (queue, receiver) = mpsc::channel(MAX_QUEUED);
        let lagged = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let mut subscribers = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        subscribers.retain(|subscriber| !subscriber.queue.is_closed());
        if subscribers.len() >= MAX_SUBSCRIBERS {
            return Err(Error::Unavailable(format!("there are {MAX_SUBSCRIBERS} subscribers of events already")));
        }
        subscribers.push(Subscriber { filter, queue, lagged: lagged.clone() });
        Ok(Subscription { queue: receiver, lagged })
    }

    fn send(&self, envelope: Envelope) {
        let event = Arc::new(envelope);
        let mut subscribers = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        subscribers.retain(|subscriber| {
            if !subscriber.filter.matches(event.as_ref()) {
                return !subscriber.queue.is_closed();
            }
            match subscriber.queue.try_send(event.clone()) {
                Ok(()) => true,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    subscriber.lagged.store(true, std::sync::atomic::Ordering::Release);
                    false
                }
                Err(mpsc::error::TrySendError::Closed(_)) => false,
            }
        });
    }
}

impl Subscription {
    /// The next event; an error once, when this subscriber was cut off.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<std::result::Result<Event, Lagged>>> {
        match Pin::new(&mut self.queue).poll_recv(context) {
            Poll::Ready(None) if self.lagged.swap(false, std::sync::atomic::Ordering::AcqRel) => {
                Poll::Ready(Some(Err(Lagged)))
            }
            Poll::Ready(next) => Poll::Ready(next.map(Ok)),
            Poll::Pending => Poll::Pending,
        }
    }

    pub async fn next(&mut self) -> Option<std::result::Result<Event, Lagged>> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }
}

/// `namespace`, `topic` and `event.FIELD` for the fields that events are told apart by.
impl Fields for Envelope {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match (path[0], path.get(1)) {
            ("namespace", None) => crate::filter::non_empty(&self.namespace),
            ("topic", None) => crate::filter::non_empty(&self.topic),
            ("event", Some(name)) => event_field(self.event.as_ref()?, name).map(Cow::Owned),
            _ => None,
        }
    }
}

fn event_field(event: &Any, name: &str) -> Option<String> {
    // Field 1 of every event of containerd is the thing it is about; only its name differs. See api/events.
    #[derive(Clone, PartialEq, prost::Message)]
    struct Subject {
        #[prost(string, tag = "1")]
        first: String,
    }
    let kind = any::type_name(event);
    let subject = match name {
        "container_id" if kind.starts_with("containerd.events.Task") => true,
        "id" if kind.starts_with("containerd.events.Container") => true,
        "name" if kind.starts_with("containerd.services.images.v1.Image") => true,
        "name" if kind.starts_with("containerd.events.Namespace") => true,
        "key" if kind.starts_with("containerd.events.Snapshot") => true,
        "digest" if kind.starts_with("containerd.events.Content") => true,
        _ => false,
    };
    if !subject {
        return None;
    }
    Subject::decode(event.value.as_slice()).ok().map(|decoded| decoded.first).filter(|first| !first.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use containerd_api::events::{TaskExit, TaskStart};

    fn started(id: &str) -> TaskStart {
        TaskStart { container_id: id.to_owned(), pid: 1 }
    }

    #[tokio::test]
    async fn a_subscriber_gets_what_its_filters_let_through_in_order() {
        let exchange = Exchange::default();
        let filters = ["topic==\"/tasks/exit\"".to_owned(), "event.container_id==b".to_owned()];
        let mut subscription = exchange.subscribe(&filters).expect("subscribe");
        exchange.publish("default", "/tasks/start", &started("a"));
        exchange.publish("default", "/tasks/start", &started("b"));
        exchange.publish("default", "/tasks/exit", &TaskExit { container_id: "a".into(), ..TaskExit::default() });
        let mut topics = Vec::new();
        for _ in 0..2 {
            topics.push(subscription.next().await.expect("an event").expect("not lagged").topic.clone());
        }
        assert_eq!(topics, ["/tasks/start", "/tasks/exit"]);
    }

    #[tokio::test]
    async fn a_slow_subscriber_is_cut_off_and_told_so_and_nobody_waits() {
        let exchange = Exchange::default();
        let mut slow = exchange.subscribe(&[]).expect("subscribe");
        for _ in 0..=MAX_QUEUED {
            exchange.publish("default", "/tasks/start", &started("a"));
        }
        let mut received = 0;
        let mut lagged = false;
        while let Some(next) = slow.next().await {
            match next {
                Ok(_) => received += 1,
                Err(Lagged) => lagged = true,
            }
        }
        assert_eq!((received, lagged), (MAX_QUEUED, true));
        assert!(exchange.subscribers.lock().expect("lock").is_empty());
    }

    #[test]
    fn foreign_envelopes_are_checked() {
        let exchange = Exchange::default();
        let good = Envelope {
            timestamp: Some(time::to_timestamp(SystemTime::now())),
            namespace: "default".into(),
            topic: "/tasks/oom".into(),
            event: None,
        };
        assert!(exchange.forward(good.clone()).is_ok());
        assert!(exchange.forward(Envelope { topic: "oom".into(), ..good.clone() }).is_err());
        assert!(exchange.forward(Envelope { namespace: "../x".into(), ..good.clone() }).is_err());
        assert!(exchange.forward(Envelope { timestamp: None, ..good }).is_err());
    }
}
