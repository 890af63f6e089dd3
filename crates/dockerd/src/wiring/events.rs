//! Every service's events onto the one bus.

use events::{Bus, Event, Subject};
use jiff::Timestamp;

/// The bus, as each service sees it.
#[derive(Clone, Default)]
pub struct BusSinks(pub Bus);

impl containers::EventSink for BusSinks {
    fn publish(&self, event: containers::ContainerEvent) {
        let subject = match event.subject {
            containers::EventSubject::Container => Subject::Container,
            containers::EventSubject::Volume => Subject::Volume,
        };
        let containers::ContainerEvent { action, id, attributes, time_ns, .. } = event;
        self.0.publish(Event { subject, action, id, attributes, time_ns });
    }
}

impl images::EventSink for BusSinks {
    fn image_event(&self, event: images::ImageEvent) {
        self.0.publish(Event {
            subject: Subject::Image,
            action: event.kind.as_str().to_owned(),
            id: event.id,
            attributes: event.attributes,
            time_ns: now_ns(),
        });
    }
}

impl volumes::EventSink for BusSinks {
    fn publish(&self, event: volumes::Event) {
        let volumes::Event { action, volume, attributes, time_ns } = event;
        self.0.publish(Event { subject: Subject::Volume, action: action.to_owned(), id: volume, attributes, time_ns });
    }
}

impl networks::EventSink for BusSinks {
    fn publish(&self, event: networks::Event) {
        self.0.publish(Event {
            subject: Subject::Network,
            action: event.action.as_str().to_owned(),
            id: event.network_id,
            attributes: event.attributes,
            time_ns: now_ns(),
        });
    }
}

fn now_ns() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}
