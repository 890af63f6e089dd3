//! `docker update`: other limits and another restart policy for a container, running or not.

use std::sync::Arc;

use container_core::{Resources, RestartPolicy, State, check_resources, spec};
use metadata::Durability;

use crate::error::Error;
use crate::messages;
use crate::record::Container;
use crate::request::UpdateRequest;
use crate::service::Shared;

pub(crate) async fn update(
    shared: &Arc<Shared>,
    container: &Arc<Container>,
    request: UpdateRequest,
) -> Result<Vec<String>, Error> {
    let mut request = request;
    let warnings = check_resources(&mut request.resources, &shared.host)?;
    let _gate = container.gate.lock().await;
    let record = container.record();
    if matches!(record.state, State::Removing { .. } | State::Dead { .. }) {
        return Err(messages::cannot_update(&record.id, "container is marked for removal and cannot be \"update\""));
    }
    let mut host_config = (*record.host_config).clone();
    let refused = |why: String| messages::cannot_update(&record.id, &why);
    merge(&mut host_config.resources, &request.resources).map_err(|why| refused(why.to_owned()))?;
    if let Some(policy) = request.restart_policy {
        if host_config.auto_remove && policy != RestartPolicy::No {
            let why = "Restart policy cannot be updated because AutoRemove is enabled for the container";
            return Err(refused(why.to_owned()));
        }
        host_config.restart_policy = policy;
    }
    // What runs first: a limit that the kernel refuses is no limit of the container's.
    if record.state.has_process() {
        let resources = spec::updated_resources(&request.resources);
        let json =
            serde_json::to_vec(&resources).map_err(|error| messages::update_failed(&record.id, &error.to_string()))?;
        let updated = shared.containerd.update(&record.id, json).await;
        updated.map_err(|error| messages::update_failed(&record.id, &errors::chain(&error)))?;
    }
    let updated = container.change(|record| record.host_config = Arc::new(host_config));
    if let Err(error) =
        container.store(&shared.database, durability(&updated.host_config.restart_policy, &record)).await
    {
        container.change(|changed| changed.host_config = Arc::clone(&record.host_config));
        return Err(error);
    }
    shared.publish(&updated, "update", &[]);
    Ok(warnings)
}

/// A policy decides what the next boot starts.
fn durability(policy: &RestartPolicy, before: &crate::record::Record) -> Durability {
    if *policy == before.host_config.restart_policy { before.durability() } else { Durability::Synced }
}

/// Takes over what is asked for; zero and empty leave a limit as it is.
fn merge(limits: &mut Resources, wanted: &Resources) -> Result<(), &'static str> {
    let conflict = |what: bool, words: &'static str| if what { Err(words) } else { Ok(()) };
    conflict(
        wanted.nano_cpus > 0 && limits.cpu_period_us > 0,
        "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set",
    )?;
    conflict(
        wanted.nano_cpus > 0 && limits.cpu_quota_us > 0,
        "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set",
    )?;
    conflict(
        wanted.cpu_period_us > 0 && limits.nano_cpus > 0,
        "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set",
    )?;
    conflict(
        wanted.cpu_quota_us > 0 && limits.nano_cpus > 0,
        "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set",
    )?;
    // Without a limit of its own, memory and swap together are twice the memory.
    let swap = if limits.memory_swap == 0 { limits.memory.saturating_mul(2) } else { limits.memory_swap };
    conflict(
        wanted.memory != 0 && wanted.memory > swap && wanted.memory_swap == 0,
        "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
    )?;
    if wanted.memory != 0 && wanted.memory_swap == 0 && limits.memory_swap == 0 {
        // It was implied by the memory and stays what it was.
        limits.memory_swap = swap;
    }
    let set = |limit: &mut i64, wanted: i64| {
        if wanted != 0 {
            *limit = wanted;
        }
    };
    set(&mut limits.memory, wanted.memory);
    set(&mut limits.memory_swap, wanted.memory_swap);
    set(&mut limits.memory_reservation, wanted.memory_reservation);
    set(&mut limits.nano_cpus, wanted.nano_cpus);
    set(&mut limits.cpu_shares, wanted.cpu_shares);
    set(&mut limits.cpu_period_us, wanted.cpu_period_us);
    set(&mut limits.cpu_quota_us, wanted.cpu_quota_us);
    set(&mut limits.cpu_realtime_period_us, wanted.cpu_realtime_period_us);
    set(&mut limits.cpu_realtime_runtime_us, wanted.cpu_realtime_runtime_us);
    if wanted.blkio_weight != 0 {
        limits.blkio_weight = wanted.blkio_weight;
    }
    for (limit, wanted) in
        [(&mut limits.cpuset_cpus, &wanted.cpuset_cpus), (&mut limits.cpuset_mems, &wanted.cpuset_mems)]
    {
        if !wanted.is_empty() {
            limit.clone_from(wanted);
        }
    }
    if wanted.pids_limit.is_some() {
        limits.pids_limit = wanted.pids_limit;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(limits: Resources, wanted: Resources) -> Result<Resources, &'static str> {
        let mut limits = limits;
        merge(&mut limits, &wanted).map(|()| limits)
    }

    #[test]
    fn what_is_not_asked_for_stays() {
        let limits = Resources { memory: 64 << 20, cpu_shares: 512, pids_limit: Some(10), ..Resources::default() };
        let wanted = Resources { memory: 32 << 20, pids_limit: Some(0), ..Resources::default() };
        let merged = merged(limits, wanted).unwrap();
        assert_eq!((merged.memory, merged.cpu_shares, merged.pids_limit), (32 << 20, 512, Some(0)));
        assert_eq!(merged.memory_swap, 128 << 20, "the swap that was implied stays");
    }

    #[test]
    fn contradictions_with_what_is_set_get_docker_s_words() {
        let nano = Resources { nano_cpus: 1, ..Resources::default() };
        let quota = Resources { cpu_quota_us: 1, ..Resources::default() };
        assert!(merged(nano.clone(), quota.clone()).unwrap_err().starts_with("Conflicting options: CPU Quota cannot"));
        assert!(
            merged(quota, nano).unwrap_err().starts_with("Conflicting options: Nano CPUs cannot be updated as CPU Q")
        );
        let memory = |memory, memory_swap| Resources { memory, memory_swap, ..Resources::default() };
        assert!(merged(memory(0, 0), memory(1 << 20, 0)).unwrap_err().starts_with("Memory limit should be smaller"));
        assert!(merged(memory(0, 0), memory(1 << 20, 2 << 20)).is_ok());
        assert!(merged(memory(64, 100), memory(99, 0)).is_ok());
    }
}
