//! The containers service.

use std::pin::Pin;

use containerd_api::services::containers::v1::containers_server::Containers;
use containerd_api::services::containers::v1::{
    CreateContainerRequest, CreateContainerResponse, DeleteContainerRequest, GetContainerRequest, GetContainerResponse,
    ListContainerMessage, ListContainersRequest, ListContainersResponse, UpdateContainerRequest,
    UpdateContainerResponse,
};
use futures_core::Stream;
use tonic::{Request, Response, Status};

use crate::Services;
use crate::scope::namespace;
use crate::status::{invalid, status};

pub struct ContainersService(pub Services);

#[tonic::async_trait]
impl Containers for ContainersService {
    type ListStreamStream = Pin<Box<dyn Stream<Item = Result<ListContainerMessage, Status>> + Send>>;

    async fn get(&self, request: Request<GetContainerRequest>) -> Result<Response<GetContainerResponse>, Status> {
        let namespace = namespace(&request)?;
        let container = self.0.containers.get(&namespace, &request.get_ref().id).map_err(status)?;
        Ok(Response::new(GetContainerResponse { container: Some(container) }))
    }

    async fn list(&self, request: Request<ListContainersRequest>) -> Result<Response<ListContainersResponse>, Status> {
        let namespace = namespace(&request)?;
        let containers = self.0.containers.list(&namespace, &request.get_ref().filters).map_err(status)?;
        Ok(Response::new(ListContainersResponse { containers }))
    }

    async fn list_stream(
        &self,
        request: Request<ListContainersRequest>,
    ) -> Result<Response<Self::ListStreamStream>, Status> {
        let namespace = namespace(&request)?;
        let containers = self.0.containers.list(&namespace, &request.get_ref().filters).map_err(status)?;
        let messages = containers.into_iter().map(|container| Ok(ListContainerMessage { container: Some(container) }));
        Ok(Response::new(Box::pin(futures_util::stream::iter(messages))))
    }

    async fn create(
        &self,
        request: Request<CreateContainerRequest>,
    ) -> Result<Response<CreateContainerResponse>, Status> {
        let namespace = namespace(&request)?;
        let container = request.into_inner().container.ok_or_else(|| invalid("no container given"))?;
        let container = self.0.containers.create(&namespace, container).await.map_err(status)?;
        Ok(Response::new(CreateContainerResponse { container: Some(container) }))
    }

    async fn update(
        &self,
        request: Request<UpdateContainerRequest>,
    ) -> Result<Response<UpdateContainerResponse>, Status> {
        let namespace = namespace(&request)?;
        let UpdateContainerRequest { container, update_mask } = request.into_inner();
        let container = container.filter(|container| !container.id.is_empty());
        let container = container.ok_or_else(|| invalid("container.ID required"))?;
        let paths = update_mask.map(|mask| mask.paths).unwrap_or_default();
        let container = self.0.containers.update(&namespace, container, paths).await.map_err(status)?;
        Ok(Response::new(UpdateContainerResponse { container: Some(container) }))
    }

    async fn delete(&self, request: Request<DeleteContainerRequest>) -> Result<Response<()>, Status> {
        let namespace = namespace(&request)?;
        let id = request.into_inner().id;
        self.0.containers.delete(&namespace, &id).await.map_err(status)?;
        self.0.tasks.forget_dead(&namespace, &id);
        Ok(Response::new(()))
    }
}
