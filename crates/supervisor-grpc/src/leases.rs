//! The leases service.

use containerd_api::services::leases::v1::leases_server::Leases;
use containerd_api::services::leases::v1::{
    AddResourceRequest, CreateRequest, CreateResponse, DeleteRequest, DeleteResourceRequest, ListRequest,
    ListResourcesRequest, ListResourcesResponse, ListResponse,
};
use tonic::{Request, Response, Status};

use crate::Services;
use crate::scope::namespace;
use crate::status::{invalid, status};

pub struct LeasesService(pub Services);

#[tonic::async_trait]
impl Leases for LeasesService {
    async fn create(&self, request: Request<CreateRequest>) -> Result<Response<CreateResponse>, Status> {
        let namespace = namespace(&request)?;
        let CreateRequest { id, labels } = request.into_inner();
        let lease = self.0.leases.create(&namespace, &id, labels).await.map_err(status)?;
        Ok(Response::new(CreateResponse { lease: Some(lease) }))
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<()>, Status> {
        let namespace = namespace(&request)?;
        let DeleteRequest { id, sync } = request.into_inner();
        self.0.leases.delete(&namespace, &id).await.map_err(status)?;
        if sync {
            self.0.collector.collect().await;
        }
        Ok(Response::new(()))
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        let namespace = namespace(&request)?;
        let leases = self.0.leases.list(&namespace, &request.get_ref().filters).map_err(status)?;
        Ok(Response::new(ListResponse { leases }))
    }

    async fn add_resource(&self, request: Request<AddResourceRequest>) -> Result<Response<()>, Status> {
        let namespace = namespace(&request)?;
        let AddResourceRequest { id, resource } = request.into_inner();
        let resource = resource.ok_or_else(|| invalid("no resource given"))?;
        self.0.leases.add_resource(&namespace, &id, resource).await.map_err(status)?;
        Ok(Response::new(()))
    }

    async fn delete_resource(&self, request: Request<DeleteResourceRequest>) -> Result<Response<()>, Status> {
        let namespace = namespace(&request)?;
        let DeleteResourceRequest { id, resource } = request.into_inner();
        let resource = resource.ok_or_else(|| invalid("no resource given"))?;
        self.0.leases.delete_resource(&namespace, &id, resource).await.map_err(status)?;
        Ok(Response::new(()))
    }

    async fn list_resources(
        &self,
        request: Request<ListResourcesRequest>,
    ) -> Result<Response<ListResourcesResponse>, Status> {
        let namespace = namespace(&request)?;
        let resources = self.0.leases.resources(&namespace, &request.get_ref().id).map_err(status)?;
        Ok(Response::new(ListResourcesResponse { resources }))
    }
}
