//! One operation, one function: the whole map of the API.

use std::sync::Arc;

use engine_api::endpoint::Operation;
use errors::ErrorKind;

use crate::request::Request;
use crate::status::{Answer, Failure};
use crate::{Api, build, buildkit, containers, disk_usage, exec, images, networks, session, system, volumes};

/// Calls the function of the request's operation.
pub async fn route(api: Arc<Api>, request: Request) -> Answer {
    use Operation as Op;
    match request.operation {
        Op::Ping => Ok(system::ping(&api, &request)),
        Op::Version => Ok(system::version(&api)),
        Op::Info => system::info(&api, request.version).await,
        Op::Events => system::events(api, &request),
        Op::DiskUsage => disk_usage::disk_usage(&api, &request).await,
        Op::Auth => system::auth(&api, request).await,
        Op::PluginList => Ok(system::plugins()),

        Op::ContainerList => containers::list(&api, &request).await,
        Op::ContainerCreate => containers::create(&api, request).await,
        Op::ContainerInspect => containers::inspect(&api, &request).await,
        Op::ContainerTop => containers::top(&api, &request).await,
        Op::ContainerLogs => containers::logs(api, &request).await,
        Op::ContainerResize => containers::resize(&api, &request).await,
        Op::ContainerStart => containers::start(&api, &request).await,
        Op::ContainerStop => containers::stop(&api, &request).await,
        Op::ContainerRestart => containers::restart(&api, &request).await,
        Op::ContainerKill => containers::kill(&api, &request).await,
        Op::ContainerRename => containers::rename(&api, &request).await,
        Op::ContainerPause => containers::pause(&api, &request).await,
        Op::ContainerUnpause => containers::unpause(&api, &request).await,
        Op::ContainerAttach => containers::attach(api, request).await,
        Op::ContainerWait => containers::wait(api, &request).await,
        Op::ContainerStats => containers::stats::stats(api, &request).await,
        Op::ContainerChanges => containers::archive::changes(&api, &request).await,
        Op::ContainerExport => containers::archive::export(&api, &request).await,
        Op::ContainerArchiveInfo => containers::archive::stat(&api, &request).await,
        Op::ContainerArchive => containers::archive::get(&api, &request).await,
        Op::PutContainerArchive => containers::archive::put(&api, request).await,
        Op::ContainerCommit => containers::archive::commit(&api, request).await,
        Op::ContainerUpdate => containers::update::update(&api, request).await,
        Op::ContainerPrune => containers::update::prune(&api, &request).await,
        Op::ContainerAttachWebsocket => containers::websocket::attach(api, request).await,
        Op::ContainerDelete => containers::remove(&api, &request).await,

        Op::ContainerExec => exec::create(&api, request).await,
        Op::ExecStart => exec::start(api, request).await,
        Op::ExecResize => exec::resize(&api, &request).await,
        Op::ExecInspect => exec::inspect(&api, &request).await,

        _ => route_to_things(api, request).await,
    }
}

/// What containers are made of and attached to: images, networks, volumes.
async fn route_to_things(api: Arc<Api>, request: Request) -> Answer {
    use Operation as Op;
    match request.operation {
        Op::ImageBuild if buildkit::is_asked_for(&request) => buildkit::build(api, request).await,
        Op::ImageBuild => build::build(api, request).await,
        Op::BuildCancel => buildkit::cancel(&api, &request),
        Op::Session => session::session(&api, request),
        Op::Grpc => session::grpc(api, request),
        Op::BuildPrune => build::prune(&api, &request).await,
        Op::ImageList => images::list(&api, &request).await,
        Op::ImageCreate => images::create(api, request).await,
        Op::ImageInspect => images::inspect(&api, &request).await,
        Op::ImageHistory => images::history(&api, &request).await,
        Op::ImagePush => images::push(api, request).await,
        Op::ImageTag => images::tag(&api, &request).await,
        Op::ImageGet | Op::ImageGetAll => images::archive::save(&api, &request).await,
        Op::ImageLoad => images::archive::load(api, request).await,
        Op::ImagePrune => images::prune::prune(&api, &request).await,
        Op::ImageSearch => images::remote::search(&api, &request).await,
        Op::DistributionInspect => images::remote::distribution(&api, &request).await,
        Op::ImageDelete => images::remove(&api, &request).await,

        Op::NetworkList => networks::list(&api, &request).await,
        Op::NetworkInspect => networks::inspect(&api, &request).await,
        Op::NetworkCreate => networks::create(&api, request).await,
        Op::NetworkConnect => networks::connect(&api, request).await,
        Op::NetworkPrune => networks::prune(&api, &request).await,
        Op::NetworkDisconnect => networks::disconnect(&api, request).await,
        Op::NetworkDelete => networks::remove(&api, &request).await,

        Op::VolumeList => volumes::list(&api, &request).await,
        Op::VolumeCreate => volumes::create(&api, request).await,
        Op::VolumeInspect => volumes::inspect(&api, &request).await,
        Op::VolumeUpdate => volumes::update(),
        Op::VolumeDelete => volumes::remove(&api, &request).await,
        Op::VolumePrune => volumes::prune(&api, &request).await,

        operation => {
            Err(Failure::new(ErrorKind::NotImplemented, format!("{operation:?} is not supported by this engine")))
        }
    }
}
