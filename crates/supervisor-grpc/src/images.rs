//! The images service.

use containerd_api::services::images::v1::images_server::Images;
use containerd_api::services::images::v1::{
    CreateImageRequest, CreateImageResponse, DeleteImageRequest, GetImageRequest, GetImageResponse, ListImagesRequest,
    ListImagesResponse, UpdateImageRequest, UpdateImageResponse,
};
use tonic::{Request, Response, Status};

use crate::Services;
use crate::scope::namespace;
use crate::status::{invalid, status};

pub struct ImagesService(pub Services);

#[tonic::async_trait]
impl Images for ImagesService {
    async fn get(&self, request: Request<GetImageRequest>) -> Result<Response<GetImageResponse>, Status> {
        let namespace = namespace(&request)?;
        let image = self.0.images.get(&namespace, &request.get_ref().name).map_err(status)?;
        Ok(Response::new(GetImageResponse { image: Some(image) }))
    }

    async fn list(&self, request: Request<ListImagesRequest>) -> Result<Response<ListImagesResponse>, Status> {
        let namespace = namespace(&request)?;
        let images = self.0.images.list(&namespace, &request.get_ref().filters).map_err(status)?;
        Ok(Response::new(ListImagesResponse { images }))
    }

    async fn create(&self, request: Request<CreateImageRequest>) -> Result<Response<CreateImageResponse>, Status> {
        let namespace = namespace(&request)?;
        let CreateImageRequest { image, source_date_epoch } = request.into_inner();
        let image = image.filter(|image| !image.name.is_empty()).ok_or_else(|| invalid("Image.Name required"))?;
        let image = self.0.images.create(&namespace, image, source_date_epoch).await.map_err(status)?;
        Ok(Response::new(CreateImageResponse { image: Some(image) }))
    }

    async fn update(&self, request: Request<UpdateImageRequest>) -> Result<Response<UpdateImageResponse>, Status> {
        let namespace = namespace(&request)?;
        let UpdateImageRequest { image, update_mask, source_date_epoch } = request.into_inner();
        let image = image.filter(|image| !image.name.is_empty()).ok_or_else(|| invalid("Image.Name required"))?;
        let paths = update_mask.map(|mask| mask.paths).unwrap_or_default();
        let image = self.0.images.update(&namespace, image, paths, source_date_epoch).await.map_err(status)?;
        Ok(Response::new(UpdateImageResponse { image: Some(image) }))
    }

    async fn delete(&self, request: Request<DeleteImageRequest>) -> Result<Response<()>, Status> {
        let namespace = namespace(&request)?;
        let DeleteImageRequest { name, sync, target } = request.into_inner();
        let target = target.map(|target| target.digest);
        self.0.images.delete(&namespace, &name, target).await.map_err(status)?;
        if sync {
            self.0.collector.collect().await;
        }
        Ok(Response::new(()))
    }
}
