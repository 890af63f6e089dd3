//! The STATUS column of `docker ps`.

use go_text::duration::human_duration;

use crate::health::HealthStatus;
use crate::state::State;
use crate::time::Timestamp;

/// "Up 2 seconds (healthy)", "Exited (0) 3 hours ago", … at `now`.
pub fn status(state: &State, health: Option<HealthStatus>, now: Timestamp) -> String {
    match state {
        State::Created { .. } => "Created".to_owned(),
        State::Running { started, .. } => {
            let up = human_duration(now.since(*started));
            match health {
                None => format!("Up {up}"),
                Some(HealthStatus::Starting) => format!("Up {up} (health: starting)"),
                Some(known) => format!("Up {up} ({})", known.as_str()),
            }
        }
        State::Paused { started, .. } => format!("Up {} (Paused)", human_duration(now.since(*started))),
        State::Restarting { .. } => format!("Restarting ({}) {}", state.exit_code(), ago(state, now)),
        State::Exited { .. } => format!("Exited ({}) {}", state.exit_code(), ago(state, now)),
        State::Removing { .. } => "Removal In Progress".to_owned(),
        State::Dead { .. } => "Dead".to_owned(),
    }
}

fn ago(state: &State, now: Timestamp) -> String {
    format!("{} ago", human_duration(state.finished().map_or_else(Default::default, |at| now.since(at))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Event;

    const NOW: Timestamp = Timestamp(1_000_000_000_000);

    #[test]
    fn each_state_is_told_as_docker_ps_tells_it() {
        let created = State::default();
        let running = created.after(Event::Started { pid: 1, at: Timestamp::from_parts(998, 0) }).unwrap();
        let exit = |restart| Event::Exited { code: 2, at: Timestamp::from_parts(995, 0), restart };
        assert_eq!(status(&created, None, NOW), "Created");
        assert_eq!(status(&running, None, NOW), "Up 2 seconds");
        let with = |health| status(&running, Some(health), NOW);
        assert_eq!(with(HealthStatus::Starting), "Up 2 seconds (health: starting)");
        assert_eq!(with(HealthStatus::Unhealthy), "Up 2 seconds (unhealthy)");
        assert_eq!(status(&running.after(Event::Paused).unwrap(), None, NOW), "Up 2 seconds (Paused)");
        assert_eq!(status(&running.after(exit(false)).unwrap(), None, NOW), "Exited (2) 5 seconds ago");
        assert_eq!(status(&running.after(exit(true)).unwrap(), None, NOW), "Restarting (2) 5 seconds ago");
        assert_eq!(status(&created.after(Event::RemovalBegun).unwrap(), None, NOW), "Removal In Progress");
    }
}
