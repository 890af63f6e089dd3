//! The namespaces service.

use containerd_api::services::namespaces::v1::namespaces_server::Namespaces;
use containerd_api::services::namespaces::v1::{
    CreateNamespaceRequest, CreateNamespaceResponse, DeleteNamespaceRequest, GetNamespaceRequest, GetNamespaceResponse,
    ListNamespacesRequest, ListNamespacesResponse, UpdateNamespaceRequest, UpdateNamespaceResponse,
};
use tonic::{Request, Response, Status};

use crate::Services;
use crate::status::{invalid, status};

pub struct NamespacesService(pub Services);

#[tonic::async_trait]
impl Namespaces for NamespacesService {
    async fn get(&self, request: Request<GetNamespaceRequest>) -> Result<Response<GetNamespaceResponse>, Status> {
        let namespace = self.0.namespaces.get(&request.get_ref().name).map_err(status)?;
        Ok(Response::new(GetNamespaceResponse { namespace: Some(namespace) }))
    }

    async fn list(&self, _: Request<ListNamespacesRequest>) -> Result<Response<ListNamespacesResponse>, Status> {
        let namespaces = self.0.namespaces.list().map_err(status)?;
        Ok(Response::new(ListNamespacesResponse { namespaces }))
    }

    async fn create(
        &self,
        request: Request<CreateNamespaceRequest>,
    ) -> Result<Response<CreateNamespaceResponse>, Status> {
        let namespace = request.into_inner().namespace.ok_or_else(|| invalid("no namespace given"))?;
        let namespace = self.0.namespaces.create(namespace).await.map_err(status)?;
        Ok(Response::new(CreateNamespaceResponse { namespace: Some(namespace) }))
    }

    async fn update(
        &self,
        request: Request<UpdateNamespaceRequest>,
    ) -> Result<Response<UpdateNamespaceResponse>, Status> {
        let UpdateNamespaceRequest { namespace, update_mask } = request.into_inner();
        let namespace = namespace.ok_or_else(|| invalid("no namespace given"))?;
        let paths = update_mask.map(|mask| mask.paths).unwrap_or_default();
        let namespace = self.0.namespaces.update(namespace, paths).await.map_err(status)?;
        Ok(Response::new(UpdateNamespaceResponse { namespace: Some(namespace) }))
    }

    async fn delete(&self, request: Request<DeleteNamespaceRequest>) -> Result<Response<()>, Status> {
        let name = request.into_inner().name;
        let mut still = self.0.contents.kinds_in(&name).map_err(status)?;
        still.extend(self.0.snapshots.kinds_in(&name).map_err(status)?);
        self.0.namespaces.delete(&name, still).await.map_err(status)?;
        Ok(Response::new(()))
    }
}
