//! The events service over gRPC, and its small sister over ttrpc that shims speak.

use std::pin::Pin;
use std::task::{Context, Poll};

use containerd_api::method;
use containerd_api::prost::Message;
use containerd_api::services::events::ttrpc::v1::ForwardRequest as ShimForwardRequest;
use containerd_api::services::events::v1::events_server::Events;
use containerd_api::services::events::v1::{ForwardRequest, PublishRequest, SubscribeRequest};
use containerd_api::types::Envelope;
use futures_core::Stream;
use supervisor::events::Subscription;
use tonic::{Request, Response, Status};

use crate::Services;
use crate::scope::namespace;
use crate::status::{invalid, status, ttrpc_status};

pub struct EventsService(pub Services);

/// Answers shims.
pub struct ShimEvents(pub Services);

#[tonic::async_trait]
impl Events for EventsService {
    type SubscribeStream = EventStream;

    async fn publish(&self, request: Request<PublishRequest>) -> Result<Response<()>, Status> {
        let namespace = namespace(&request)?;
        let PublishRequest { topic, event } = request.into_inner();
        self.0.tasks.note_exit_event(&namespace, event.as_ref());
        self.0.events.publish_any(&namespace, &topic, event).map_err(status)?;
        Ok(Response::new(()))
    }

    async fn forward(&self, request: Request<ForwardRequest>) -> Result<Response<()>, Status> {
        let envelope = request.into_inner().envelope.ok_or_else(|| invalid("no envelope given"))?;
        forward(&self.0, envelope).map_err(status)?;
        Ok(Response::new(()))
    }

    async fn subscribe(&self, request: Request<SubscribeRequest>) -> Result<Response<EventStream>, Status> {
        let subscription = self.0.events.subscribe(&request.get_ref().filters).map_err(status)?;
        Ok(Response::new(EventStream(subscription)))
    }
}

impl ttrpc::asynchronous::Service for ShimEvents {
    async fn call(&self, request: ttrpc::Request) -> Result<Vec<u8>, ttrpc::Status> {
        if (request.service.as_str(), request.method.as_str()) != (method::EVENTS, method::events::FORWARD) {
            return Err(ttrpc::Status::unknown_method(&request.service, &request.method));
        }
        let decoded = ShimForwardRequest::decode(request.payload.as_slice())
            .map_err(|error| ttrpc::Status::new(ttrpc::Code::InvalidArgument, error.to_string()))?;
        let envelope =
            decoded.envelope.ok_or_else(|| ttrpc::Status::new(ttrpc::Code::InvalidArgument, "no envelope given"))?;
        forward(&self.0, envelope).map_err(ttrpc_status)?;
        Ok(Vec::new())
    }
}

fn forward(services: &Services, envelope: Envelope) -> supervisor::Result<()> {
    services.tasks.note_exit_event(&envelope.namespace, envelope.event.as_ref());
    services.events.forward(envelope)
}

/// Events as they are sent; it ends with an error when the client does not keep up.
pub struct EventStream(Subscription);

impl Stream for EventStream {
    type Item = Result<Envelope, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next(context).map(|next| {
            next.map(|event| match event {
                Ok(event) => Ok((*event).clone()),
                Err(lagged) => Err(Status::resource_exhausted(lagged.to_string())),
            })
        })
    }
}
