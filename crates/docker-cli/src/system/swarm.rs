//! What `docker info` says of a swarm.

use std::time::Duration;

use engine_api::system::SwarmInfo;
use serde_json::Value as Json;

use super::info::Page;
use crate::text::duration::human_duration;

/// The node's state; what a manager knows of the whole.
pub fn describe(page: &mut Page, swarm: &SwarmInfo) {
    page.line(1, "Swarm", &swarm.local_node_state);
    if matches!(swarm.local_node_state.as_str(), "inactive" | "locked") {
        return;
    }
    page.line(2, "NodeID", &swarm.node_id);
    page.some(2, "Error", &swarm.error);
    page.line(2, "Is Manager", swarm.control_available);
    let is_whole = swarm.control_available && swarm.error.is_empty() && swarm.local_node_state != "error";
    if let (Some(cluster), true) = (&swarm.cluster, is_whole) {
        describe_cluster(page, swarm, cluster);
    }
    page.line(2, "Node Address", &swarm.node_addr);
    let managers = swarm.remote_managers.as_deref().unwrap_or_default();
    if !managers.is_empty() {
        let mut addresses: Vec<&str> = managers.iter().filter_map(|manager| manager["Addr"].as_str()).collect();
        addresses.sort_unstable();
        page.title(2, "Manager Addresses");
        addresses.iter().for_each(|address| page.item(3, address));
    }
}

fn describe_cluster(page: &mut Page, swarm: &SwarmInfo, cluster: &Json) {
    let spec = &cluster["Spec"];
    let number = |value: &Json| value.as_i64().unwrap_or(0);
    let truth = |value: &Json| value.as_bool().unwrap_or(false);
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let span = |value: &Json| human_duration(Duration::from_nanos(value.as_u64().unwrap_or(0)));
    page.line(2, "ClusterID", text(&cluster["ID"]));
    page.line(2, "Managers", swarm.managers);
    page.line(2, "Nodes", swarm.nodes);
    if let Some(pools) = cluster["DefaultAddrPool"].as_array() {
        let pools: String = pools.iter().map(|pool| text(pool) + "  ").collect();
        page.line(2, "Default Address Pool", pools);
        page.line(2, "SubnetSize", number(&cluster["SubnetSize"]));
    }
    if number(&cluster["DataPathPort"]) > 0 {
        page.line(2, "Data Path Port", number(&cluster["DataPathPort"]));
    }
    page.title(2, "Orchestration");
    page.line(3, "Task History Retention Limit", number(&spec["Orchestration"]["TaskHistoryRetentionLimit"]));
    let raft = &spec["Raft"];
    page.title(2, "Raft");
    page.line(3, "Snapshot Interval", number(&raft["SnapshotInterval"]));
    if let Some(kept) = raft["KeepOldSnapshots"].as_i64() {
        page.line(3, "Number of Old Snapshots to Retain", kept);
    }
    page.line(3, "Heartbeat Tick", number(&raft["HeartbeatTick"]));
    page.line(3, "Election Tick", number(&raft["ElectionTick"]));
    page.title(2, "Dispatcher");
    page.line(3, "Heartbeat Period", span(&spec["Dispatcher"]["HeartbeatPeriod"]));
    let authority = &spec["CAConfig"];
    page.title(2, "CA Configuration");
    page.line(3, "Expiry Duration", span(&authority["NodeCertExpiry"]));
    page.line(3, "Force Rotate", number(&authority["ForceRotate"]));
    let certificate = text(&authority["SigningCACert"]);
    if !certificate.trim().is_empty() {
        page.item(3, format!("Signing CA Certificate: \n{}\n", certificate.trim()));
    }
    let external = authority["ExternalCAs"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !external.is_empty() {
        page.title(3, "External CAs");
        external.iter().for_each(|one| page.line(5, &text(&one["Protocol"]), text(&one["URL"])));
    }
    page.line(2, "Autolock Managers", truth(&spec["EncryptionConfig"]["AutoLockManagers"]));
    page.line(2, "Root Rotation In Progress", truth(&cluster["RootRotationInProgress"]));
}
