//! The tasks service.

use containerd_api::services::tasks::v1::tasks_server::Tasks;
use containerd_api::services::tasks::v1::{
    CheckpointTaskRequest, CheckpointTaskResponse, CloseIoRequest, CreateTaskRequest, CreateTaskResponse,
    DeleteProcessRequest, DeleteResponse, DeleteTaskRequest, ExecProcessRequest, GetRequest, GetResponse, KillRequest,
    ListPidsRequest, ListPidsResponse, ListTasksRequest, ListTasksResponse, MetricsRequest, MetricsResponse,
    PauseTaskRequest, ResizePtyRequest, ResumeTaskRequest, StartRequest, StartResponse, UpdateTaskRequest, WaitRequest,
    WaitResponse,
};
use containerd_api::task::v2;
use supervisor::Exit;
use supervisor::messages;
use supervisor::tasks::{NewTask, timestamp};
use tonic::{Request, Response, Status};

use crate::Services;
use crate::scope::namespace;
use crate::status::status;

pub struct TasksService(pub Services);

#[tonic::async_trait]
impl Tasks for TasksService {
    async fn create(&self, request: Request<CreateTaskRequest>) -> Result<Response<CreateTaskResponse>, Status> {
        let namespace = namespace(&request)?;
        let request = request.into_inner();
        if request.checkpoint.is_some() {
            return Err(status(messages::checkpoint_not_implemented()));
        }
        let container_id = request.container_id.clone();
        let new = NewTask {
            container_id: request.container_id,
            rootfs: request.rootfs,
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
            terminal: request.terminal,
            options: request.options,
            runtime: request.runtime_path,
        };
        let pid = self.0.tasks.create(&namespace, new).await.map_err(status)?;
        Ok(Response::new(CreateTaskResponse { container_id, pid }))
    }

    async fn start(&self, request: Request<StartRequest>) -> Result<Response<StartResponse>, Status> {
        let namespace = namespace(&request)?;
        let StartRequest { container_id, exec_id } = request.get_ref();
        let pid = self.0.tasks.start(&namespace, container_id, exec_id).await.map_err(status)?;
        Ok(Response::new(StartResponse { pid }))
    }

    async fn delete(&self, request: Request<DeleteTaskRequest>) -> Result<Response<DeleteResponse>, Status> {
        let namespace = namespace(&request)?;
        let id = &request.get_ref().container_id;
        self.0.containers.get(&namespace, id).map_err(status)?;
        let exit = self.0.tasks.delete(&namespace, id).await.map_err(status)?;
        Ok(Response::new(deleted(String::new(), &exit)))
    }

    async fn delete_process(&self, request: Request<DeleteProcessRequest>) -> Result<Response<DeleteResponse>, Status> {
        let namespace = namespace(&request)?;
        let DeleteProcessRequest { container_id, exec_id } = request.into_inner();
        let exit = self.0.tasks.delete_exec(&namespace, &container_id, &exec_id).await.map_err(status)?;
        Ok(Response::new(deleted(exec_id, &exit)))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        let namespace = namespace(&request)?;
        let GetRequest { container_id, exec_id } = request.get_ref();
        let process = self.0.tasks.get(&namespace, container_id, exec_id).await.map_err(status)?;
        Ok(Response::new(GetResponse { process: Some(process) }))
    }

    async fn list(&self, request: Request<ListTasksRequest>) -> Result<Response<ListTasksResponse>, Status> {
        let namespace = namespace(&request)?;
        Ok(Response::new(ListTasksResponse { tasks: self.0.tasks.list(&namespace).await }))
    }

    async fn kill(&self, request: Request<KillRequest>) -> Result<Response<()>, Status> {
        let namespace = namespace(&request)?;
        let KillRequest { container_id, exec_id, signal, all } = request.into_inner();
        let kill = v2::KillRequest { id: container_id, exec_id, signal, all };
        self.0.tasks.kill(&namespace, kill).await.map_err(status)?;
        Ok(Response::new(()))
    }

    async fn exec(&self, request: Request<ExecProcessRequest>) -> Result<Response<()>, Status> {
        let namespace = namespace(&request)?;
        let request = request.into_inner();
        let exec = v2::ExecProcessRequest {
            id: request.container_id,
            exec_id: request.exec_id,
            terminal: request.terminal,
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
            spec: request.spec,
        };
        self.0.tasks.exec(&namespace, exec).await.map_err(status)?;
        Ok(Response::new(()))
    }

    async fn resize_pty(&self, request: Request<ResizePtyRequest>) -> Result<Response<()>, Status> {
        let namespace = namespace(&request)?;
        let ResizePtyRequest { container_id, exec_id, width, height } = request.into_inner();
        let resize = v2::ResizePtyRequest { id: container_id, exec_id, width, height };
        self.0.tasks.resize(&namespace, resize).await.map_err(status)?;
        Ok(Response::new(()))
    }

    async fn close_io(&self, request: Request<CloseIoRequest>) -> Result<Response<()>, Status> {
        let namespace = namespace(&request)?;
        let CloseIoRequest { container_id, exec_id, stdin } = request.into_inner();
        let close = v2::CloseIoRequest { id: container_id, exec_id, stdin };
        self.0.tasks.close_io(&namespace, close).await.map_err(status)?;
        Ok(Response::new(()))
    }

    async fn pause(&self, request: Request<PauseTaskRequest>) -> Result<Response<()>, Status> {
        let namespace = namespace(&request)?;
        self.0.tasks.pause(&namespace, &request.get_ref().container_id).await.map_err(status)?;
        Ok(Response::new(()))
    }

    async fn resume(&self, request: Request<ResumeTaskRequest>) -> Result<Response<()>, Status> {
        let namespace = namespace(&request)?;
        self.0.tasks.resume(&namespace, &request.get_ref().container_id).await.map_err(status)?;
        Ok(Response::new(()))
    }

    async fn list_pids(&self, request: Request<ListPidsRequest>) -> Result<Response<ListPidsResponse>, Status> {
        let namespace = namespace(&request)?;
        let processes = self.0.tasks.pids(&namespace, &request.get_ref().container_id).await.map_err(status)?;
        Ok(Response::new(ListPidsResponse { processes }))
    }

    async fn checkpoint(
        &self,
        request: Request<CheckpointTaskRequest>,
    ) -> Result<Response<CheckpointTaskResponse>, Status> {
        namespace(&request)?;
        Err(status(messages::checkpoint_not_implemented()))
    }

    async fn update(&self, request: Request<UpdateTaskRequest>) -> Result<Response<()>, Status> {
        let namespace = namespace(&request)?;
        let UpdateTaskRequest { container_id, resources, annotations } = request.into_inner();
        let update = v2::UpdateTaskRequest { id: container_id, resources, annotations };
        self.0.tasks.update(&namespace, update).await.map_err(status)?;
        Ok(Response::new(()))
    }

    async fn metrics(&self, request: Request<MetricsRequest>) -> Result<Response<MetricsResponse>, Status> {
        let namespace = namespace(&request)?;
        let metrics = self.0.tasks.metrics(&namespace, &request.get_ref().filters).await.map_err(status)?;
        Ok(Response::new(MetricsResponse { metrics }))
    }

    async fn wait(&self, request: Request<WaitRequest>) -> Result<Response<WaitResponse>, Status> {
        let namespace = namespace(&request)?;
        let WaitRequest { container_id, exec_id } = request.get_ref();
        let exit = self.0.tasks.wait(&namespace, container_id, exec_id).await.map_err(status)?;
        Ok(Response::new(WaitResponse { exit_status: exit.status, exited_at: Some(timestamp(&exit)) }))
    }
}

fn deleted(id: String, exit: &Exit) -> DeleteResponse {
    DeleteResponse { id, pid: exit.pid, exit_status: exit.status, exited_at: Some(timestamp(exit)) }
}
