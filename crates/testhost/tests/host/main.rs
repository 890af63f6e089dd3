//! What users see of the whole system: each test with daemons of its own, on a host of its own, and where the words are the
//! same by our client as well as by Docker's.

mod api;
mod authorization;
mod build;
mod build_cache;
mod build_classic;
mod build_client;
mod build_hostile;
mod build_mistakes;
mod build_outputs;
mod build_platforms;
mod build_secrets;
mod build_sessions;
mod commits;
mod daemon;
mod daemon_ends;
mod daemon_options;
mod events;
mod file_systems;
mod firewalls;
mod host_config;
mod hostile;
mod hostile_archives;
mod hostile_registry;
mod image_store;
mod images;
mod images_archives;
mod images_broken;
mod images_equal;
mod images_hostile;
mod images_killed;
mod images_large;
mod images_platforms;
mod kept_for_inspect;
mod lifecycle;
mod log_drivers;
mod logs;
mod network_plugins;
mod networks;
mod networks_at_once;
mod networks_of_debian;
mod networks_of_running;
mod old_clients;
mod plugin_socket;
mod probes;
mod processes;
mod propagation;
mod reachability;
mod refused_at_creation;
mod run;
mod shared_containerd;
mod signals;
mod statistics;
mod storage;
mod terminal;
mod throttles;
mod upkeep;
mod user_namespaces;
mod volume_plugins;
mod volumes;

use std::process::ExitCode;

use testhost::{Docker, Engine, Needs, Test, test};

const BUSYBOX: &[Needs] = &[Needs::Path("/bin/busybox")];
const KEYS: &[Needs] =
    &[Needs::Path("/bin/busybox"), Needs::Path("/usr/bin/ssh-agent"), Needs::Path("/usr/bin/ssh-keygen")];
const REGISTRY: &[Needs] =
    &[Needs::Path("/bin/busybox"), Needs::Program("docker-registry", "docker-registry"), DOCKER_OF_DOCKER];
const LARGE: &[Needs] = &[
    Needs::Program("docker-registry", "docker-registry"),
    Needs::Program("gzip", "gzip"),
    Needs::Program("zstd", "zstd"),
];
const PACKERS: &[Needs] = &[
    Needs::Path("/bin/busybox"),
    Needs::Program("zstd", "zstd"),
    Needs::Program("bzip2", "bzip2"),
    Needs::Program("xz", "xz-utils"),
];
const OCI_TOOLS: &[Needs] =
    &[Needs::Path("/bin/busybox"), Needs::Program("skopeo", "skopeo"), Needs::Program("umoci", "umoci")];
const NOTHING: &[Needs] = &[];
const REALTIME: &[Needs] = &[Needs::Path("/bin/busybox"), Needs::Path("/sys/fs/cgroup/cpu/cpu.rt_runtime_us")];
const NFT: &[Needs] = &[Needs::Program("nft", "nftables")];
const IPTABLES: &[Needs] = &[
    Needs::Path("/bin/busybox"),
    Needs::Program("nft", "nftables"),
    Needs::Program("iptables", "iptables"),
    DOCKER_OF_DOCKER,
];
const TLS: &[Needs] = &[Needs::Program("curl", "curl"), Needs::Program("openssl", "openssl"), DOCKER_OF_DOCKER];
const CURL: &[Needs] = &[Needs::Path("/bin/busybox"), Needs::Program("curl", "curl")];
const JOURNAL: &[Needs] = &[Needs::Path("/bin/busybox"), Needs::Path("/run/systemd")];
const RSYSLOG: &[Needs] = &[Needs::Path("/bin/busybox"), Needs::Program("rsyslogd", "rsyslog")];
const DOCKERD: &[Needs] = &[Needs::Path("/bin/busybox"), Needs::Path("/usr/sbin/dockerd"), DOCKER_OF_DOCKER];
const MIRROR: &[Needs] = &[
    Needs::Path("/bin/busybox"),
    Needs::Path(networks_of_debian::DEBIAN),
    Needs::Path(networks_of_debian::MIRROR),
    Needs::Program("curl", "curl"),
];
const SESSIONS: &[Needs] = &[
    Needs::Path("/bin/busybox"),
    Needs::Path(build_sessions::CLIENT),
    Needs::Path(build_sessions::COMPOSE),
    Needs::Program("python3", "python3"),
];
const MISTAKES: &[Needs] = &[Needs::Path("/bin/busybox"), DOCKER_OF_DOCKER, Needs::Path(build_sessions::CLIENT)];
const CLIENTS: &[Needs] = &[Needs::Path("/bin/busybox"), DOCKER_OF_DOCKER];
const DOCKER_OF_DOCKER: Needs = Needs::Program("docker", "docker.io");

const TESTS: &[Test] = &[
    test("a_command_prints_its_output_and_its_exit_code_is_docker_s", BUSYBOX, run::output_and_exit_code),
    test("standard_input_reaches_the_process_and_ends_with_the_client_s", BUSYBOX, run::standard_input),
    test("a_stopped_container_still_has_its_data_when_it_starts_again", BUSYBOX, run::data_survives),
    test("mistakes_get_docker_s_words_and_exit_codes", BUSYBOX, run::mistakes),
    test("old_clients_settings_go_to_the_endpoint_and_are_told", BUSYBOX, old_clients::endpoint_settings),
    test("engines_on_one_containerd_load_what_the_other_has", BUSYBOX, shared_containerd::saved_and_loaded),
    test("what_cannot_work_is_refused_at_creation", CLIENTS, refused_at_creation::mistakes),
    test("an_endpoint_that_cannot_be_is_refused_before_the_start", CLIENTS, refused_at_creation::endpoints),
    test("a_relative_volume_of_an_image_is_relative_to_the_root", CLIENTS, refused_at_creation::relative_volumes),
    test("version_and_info_tell_of_the_engine", CLIENTS, images::version_and_info),
    test("the_book_s_dockerfile_is_built_and_found_again", CLIENTS, build::book),
    test("the_last_stage_takes_what_it_needs_of_the_others", CLIENTS, build::stages),
    test("contexts_are_folders_archives_and_standard_input", CLIENTS, build::contexts),
    test("copies_go_where_the_image_s_links_lead_and_never_outside", BUSYBOX, build::copies),
    test("what_runs_in_a_build_sees_its_mounts_and_leaves_none", BUSYBOX, build::runs),
    test("instructions_change_the_image_s_configuration", BUSYBOX, build::configuration),
    test("mistakes_in_dockerfiles_are_told_with_their_lines", CLIENTS, build::mistakes),
    test("what_was_built_is_found_by_content_and_pruned", BUSYBOX, build::cache),
    test("stages_are_built_beside_each_other_and_told_in_order", BUSYBOX, build::beside),
    test("a_build_ends_with_its_client", CLIENTS, build::cancelled),
    test("a_killed_daemon_leaves_nothing_of_a_step", BUSYBOX, build::killed),
    test("a_build_s_result_goes_into_files_and_archives", BUSYBOX, build_outputs::files_and_archives),
    test("a_build_s_result_is_pushed_and_noted", REGISTRY, build_outputs::pushed),
    test("one_build_is_for_several_platforms", REGISTRY, build_platforms::platforms),
    test("bases_and_caches_are_of_their_platform", REGISTRY, build_platforms::bases),
    test("a_step_for_other_processors_says_which", BUSYBOX, build_platforms::foreign),
    test("what_is_said_of_an_image_lies_beside_it", REGISTRY, build_platforms::attestations),
    test("a_stage_begins_with_a_folder", BUSYBOX, build_platforms::folders),
    test("a_stage_begins_with_an_image_in_a_folder", BUSYBOX, build_platforms::layouts),
    test("keys_are_lent_by_an_agent_of_their_own", KEYS, build_platforms::keys),
    test("what_one_engine_has_built_another_takes_from_a_registry", REGISTRY, build_cache::registry),
    test("a_client_s_folder_takes_a_cache_to_another_engine", REGISTRY, build_cache::folder),
    test("the_least_of_a_cache_are_the_steps_of_the_result", REGISTRY, build_cache::least),
    test("an_image_lists_its_own_steps", REGISTRY, build_cache::inline),
    test("a_cache_that_cannot_be_had_costs_a_line", REGISTRY, build_cache::broken),
    test("containers_of_steps_stay_as_it_was_asked_for", CLIENTS, build_classic::containers_that_stay),
    test("triggers_of_a_stage_are_steps_of_those_on_it", CLIENTS, build_classic::triggers_of_stages),
    test("names_above_an_archive_s_root_stop_there", BUSYBOX, build_classic::unclean_names),
    test("squashed_layers_are_one_on_those_of_the_base", CLIENTS, build_classic::squashed),
    test("a_linked_copy_is_the_same_layer_on_any_base", BUSYBOX, build_classic::linked),
    test("what_a_build_mounts_is_the_mapped_user_s", BUSYBOX, user_namespaces::build_mounts),
    test("our_client_sends_what_has_changed_and_takes_results", BUSYBOX, build_client::travels),
    test("our_client_lends_secrets_agents_and_named_contexts", BUSYBOX, build_client::lends),
    test("our_client_s_progress_is_as_it_was_asked_for", BUSYBOX, build_client::progress),
    test("our_client_s_build_ends_with_ctrl_c", BUSYBOX, build_client::interrupted),
    test("one_build_of_many_clients_is_done_once", BUSYBOX, build_client::once),
    test("a_mistake_is_shown_with_its_place_and_a_hint", MISTAKES, build_mistakes::hints),
    test("a_quiet_build_that_fails_shows_what_led_there", MISTAKES, build_mistakes::quiet),
    test("a_dockerfile_without_instructions_is_none", MISTAKES, build_mistakes::nothing),
    test("contexts_reach_for_nothing_of_the_host", CLIENTS, build_hostile::contexts),
    test("archives_that_no_client_would_send_are_refused", BUSYBOX, build_hostile::archives),
    test("a_step_that_fills_the_disk_leaves_it_as_it_was", BUSYBOX, build_hostile::full_disk),
    test("a_step_that_multiplies_ends_with_ctrl_c", CLIENTS, build_hostile::fork_bomb),
    test("a_build_whose_daemons_die_leaves_nothing_running", BUSYBOX, build_hostile::containerd_killed),
    test("secret_files_of_a_build_are_nowhere_afterwards", BUSYBOX, build_secrets::files),
    test("secret_variables_of_a_build_are_in_no_file", BUSYBOX, build_secrets::variables),
    test("a_build_s_steps_are_told_as_buildkit_tells_them", SESSIONS, build_sessions::progress),
    test("only_files_that_changed_travel_and_results_come_back", SESSIONS, build_sessions::files_travel_once),
    test("secrets_and_agents_of_a_build_are_its_client_s", SESSIONS, build_sessions::lent),
    test("a_session_s_mistakes_are_told_at_their_step", SESSIONS, build_sessions::mistakes),
    test("equal_inputs_make_the_equal_image_by_every_client", SESSIONS, build_sessions::same_bits),
    test("strangers_at_the_session_s_door_are_refused", SESSIONS, build_sessions::hostile),
    test("an_image_goes_to_the_registry_and_comes_back", REGISTRY, images::push_and_pull),
    test("an_image_in_use_is_not_removed", CLIENTS, images::conflict),
    test("images_are_saved_and_loaded_with_every_digest_kept", CLIENTS, images_archives::saved_and_loaded),
    test("two_engines_save_an_image_alike", REGISTRY, images_archives::two_engines),
    test("an_image_is_saved_and_pushed_alike_however_it_was_made", REGISTRY, images_equal::saved_alike),
    test("daemons_killed_while_images_change_leave_a_whole_store", BUSYBOX, images_killed::at_any_moment),
    test(
        "a_client_netd_or_a_shim_killed_while_images_change_harms_none",
        REGISTRY,
        images_killed::client_netd_and_shim,
    ),
    test("each_platform_of_an_image_is_shown_saved_loaded_and_removed_alone", CLIENTS, images_platforms::chosen),
    test("a_platform_that_somebody_needs_is_not_removed", BUSYBOX, images_platforms::kept),
    test("an_archive_may_be_compressed_in_four_ways", PACKERS, images_archives::compressed),
    test("skopeo_and_umoci_read_what_is_saved_and_write_what_is_loaded", OCI_TOOLS, images_archives::other_tools),
    test("an_archive_that_is_no_image_leaves_nothing", BUSYBOX, images_archives::hostile),
    test("a_load_whose_daemon_is_killed_can_be_repeated", BUSYBOX, images_archives::killed),
    test("a_pull_goes_on_where_it_broke_off_over_a_daemon_s_death_too", REGISTRY, images_broken::broken_pulls),
    test("a_pull_outlives_five_deaths_of_its_registry", REGISTRY, images_large::registry_dies),
    test("a_push_that_is_killed_leaves_nothing_and_can_be_repeated", REGISTRY, images_large::killed_while_pushing),
    test("a_pull_takes_little_memory_whatever_the_image", LARGE, images_large::memory),
    test("whatever_a_registry_sends_gets_one_clear_error_and_leaves_nothing", BUSYBOX, images_hostile::refused),
    test("a_client_that_reads_no_archive_holds_up_nobody", REGISTRY, images_broken::stalled_save),
    test("images_that_nobody_uses_are_pruned_with_their_space", CLIENTS, images_archives::pruned),
    test("the_space_that_images_are_said_to_take_is_what_they_take", BUSYBOX, images_archives::measured),
    test("the_image_store_keeps_within_its_limit", BUSYBOX, image_store::limited),
    test("a_limit_of_the_image_store_that_is_none_is_refused", NOTHING, image_store::mistakes),
    test("what_is_told_of_the_disk_is_what_du_finds_and_comes_back", REGISTRY, image_store::measured),
    test("what_images_share_is_counted_once_whoever_goes_first", BUSYBOX, image_store::shared),
    test("mirrors_are_asked_before_docker_hub", REGISTRY, images_archives::mirrored),
    test("a_list_of_platforms_is_made_pushed_and_pulled", REGISTRY, images_archives::platforms),
    test("an_image_is_imported_from_a_url", CLIENTS, images_archives::from_a_url),
    test("a_broken_manifest_or_layer_fails_the_pull_and_leaves_nothing", REGISTRY, hostile::broken_images),
    test("a_hostile_archive_does_no_harm_at_any_door", BUSYBOX, hostile_archives::every_door),
    test("an_archive_of_a_broken_image_is_refused_with_its_reason", BUSYBOX, hostile_archives::images),
    test("hostile_requests_get_one_clear_error", BUSYBOX, hostile::requests),
    test("bodies_are_read_and_refused_as_go_and_docker_do", BUSYBOX, api::bodies),
    test("older_clients_get_what_their_version_knows", BUSYBOX, api::versions),
    test("an_exec_s_stream_is_what_its_start_says", BUSYBOX, api::exec_streams),
    test("a_shell_on_a_terminal_is_detached_from_and_attached_again", CLIENTS, terminal::shell),
    test("ps_lists_what_runs_and_what_has_ended", CLIENTS, lifecycle::listed),
    test("stop_asks_first_and_kills_when_the_time_is_over", CLIENTS, lifecycle::stopped),
    test("a_restart_policy_starts_what_failed_again", BUSYBOX, lifecycle::restarted),
    test("an_exec_runs_beside_the_container_s_process", CLIENTS, lifecycle::exec),
    test("logs_follow_a_container_to_its_end_and_are_cut_by_time_and_count", CLIENTS, logs::selected),
    test("a_log_is_shipped_without_a_gap_although_dockerd_is_killed", BUSYBOX, log_drivers::shipped),
    test("what_a_container_left_is_shipped_when_receiver_and_daemon_are_back", BUSYBOX, log_drivers::left_behind),
    test("journald_gets_dockers_fields", JOURNAL, log_drivers::journal),
    test("debian_s_rsyslog_takes_every_line", RSYSLOG, log_drivers::rsyslog),
    test("log_options_are_refused_in_docker_s_words", CLIENTS, log_drivers::words),
    test("a_log_that_turns_and_is_compressed_is_read_and_followed_whole", BUSYBOX, log_drivers::turning),
    test("logs_are_followed_through_a_restart_to_the_removal", BUSYBOX, log_drivers::restarted),
    test("a_full_disk_holds_up_no_container", BUSYBOX, log_drivers::full_disk),
    test("events_tell_a_container_s_life_in_order", CLIENTS, events::life),
    test("a_published_port_answers_the_host_and_the_outside", CURL, networks::published),
    test("a_routed_network_s_ports_are_told_without_the_host_s", CLIENTS, networks::routed),
    test("a_port_that_cannot_be_bound_is_told_in_docker_s_words", CLIENTS, networks::unbound),
    test("containers_of_a_network_find_each_other_by_name", BUSYBOX, networks::names),
    test("names_are_answered_to_containers_started_while_docker_netd_starts", BUSYBOX, networks::names_from_the_first),
    test("who_reaches_whom_in_a_container_s_networks", BUSYBOX, reachability::longshore),
    test("who_reaches_whom_in_docker_s_own_networks", DOCKERD, reachability::docker),
    test("debian_s_packages_come_by_name_and_serve_the_world", MIRROR, networks_of_debian::packages),
    test("a_hundred_starts_share_nothing_and_outlive_the_daemon", BUSYBOX, networks_at_once::hundred_starts),
    test("a_killed_daemon_leaves_no_network_half_joined", BUSYBOX, networks_at_once::killed_in_changes),
    test("a_killed_daemon_leaves_nothing_at_a_plugin_half_joined", BUSYBOX, network_plugins::killed_in_changes),
    test("a_killed_daemon_leaves_no_network_half_made", BUSYBOX, network_plugins::killed_in_creations),
    test("a_firewall_of_the_host_that_drops_wins_and_is_told", IPTABLES, firewalls::policy),
    test("a_firewall_that_starts_again_takes_nothing_of_ours_along", IPTABLES, firewalls::restarted),
    test("docker_user_stands_in_front_where_iptables_is_asked_for", IPTABLES, firewalls::chains),
    test("networks_are_joined_and_left_while_a_container_runs", CURL, networks_of_running::joined_and_left),
    test("networks_are_made_in_every_way_and_pruned", CLIENTS, networks_of_running::made_and_pruned),
    test("a_killed_daemon_finds_who_is_in_which_network", BUSYBOX, networks_of_running::killed_daemon),
    test("the_host_s_network_is_shared_and_none_is_empty", BUSYBOX, networks::host_and_none),
    test("folders_volumes_and_memory_are_mounted", CLIENTS, storage::mounts),
    test("a_volume_is_made_listed_pruned_and_never_removed_under_a_container", CLIENTS, volumes::life),
    test("a_volume_is_filled_from_the_image_and_shared_in_parts", BUSYBOX, volumes::filled),
    test("a_volume_that_is_a_mount_lasts_as_long_as_its_users_over_a_daemon_s_death_too", BUSYBOX, volumes::mounted),
    test("a_daemon_that_is_killed_leaves_no_volume_half_done", BUSYBOX, volumes::killed),
    test("a_daemon_that_is_killed_while_it_fills_a_volume_leaves_no_half", BUSYBOX, volumes::killed_filling),
    test("files_of_a_bind_are_the_container_s_user_s_where_that_is_asked_for", BUSYBOX, volumes::matched),
    test("a_plugin_s_volumes_are_docker_s_too", CLIENTS, volume_plugins::plugins),
    test("files_go_in_and_out_of_containers_that_run_and_that_do_not", CLIENTS, file_systems::copied),
    test("archives_of_containers_are_refused_in_docker_s_words", CLIENTS, file_systems::archives),
    test("a_container_that_swaps_links_leads_a_copy_nowhere", CLIENTS, file_systems::swapped),
    test("diff_tells_what_a_container_changed_and_nothing_else", CLIENTS, file_systems::changed),
    test("a_container_becomes_an_image", CLIENTS, file_systems::committed),
    test("an_exported_container_can_be_imported", CLIENTS, file_systems::exported),
    test("limits_policies_and_names_change_while_a_container_runs", CLIENTS, upkeep::updated),
    test("statistics_are_shown_once_and_until_somebody_has_seen_enough", CLIENTS, statistics::shown),
    test("what_does_not_run_is_pruned_and_its_size_told", CLIENTS, upkeep::pruned),
    test("a_websocket_attaches_to_both_streams", CLIENTS, upkeep::websocket),
    test("a_shim_is_the_parent_of_its_container_and_the_runtime_is_gone", BUSYBOX, processes::tree),
    test("several_sockets_are_served_and_only_left_over_ones_replaced", CURL, daemon::sockets),
    test("tls_lets_in_who_has_a_certificate_of_the_authority", TLS, daemon::tls),
    test("sockets_come_from_the_service_manager_and_it_hears_of_readiness", NFT, daemon::activation),
    test("thousands_of_silent_clients_cost_next_to_nothing", NOTHING, daemon::silent_clients),
    test("a_daemon_that_ends_ends_streams_at_once", BUSYBOX, daemon::shutdown),
    test("containers_end_with_the_daemon_where_live_restore_is_off", BUSYBOX, daemon::live_restore_off),
    test("sighup_reloads_what_docker_reloads", NOTHING, daemon::reload),
    test("configurations_are_validated_in_docker_s_words", NOTHING, daemon::configuration),
    test("a_seccomp_profile_of_the_daemon_is_all_containers", BUSYBOX, daemon_options::seccomp_profile),
    test("a_real_time_share_of_the_daemon_is_there_for_its_containers", REALTIME, daemon_options::realtime),
    test("the_default_bridge_and_new_networks_are_as_the_daemon_was_told", BUSYBOX, daemon_options::default_bridge),
    test("a_daemon_that_was_killed_is_followed_at_once", BUSYBOX, daemon_ends::followed_at_once),
    test("a_daemon_takes_the_bridge_along_that_nobody_is_on", BUSYBOX, daemon_ends::takes_its_bridge_along),
    test("where_there_is_no_bridge_containers_have_the_loopback_alone", BUSYBOX, daemon_ends::without_a_bridge),
    test("binds_of_the_daemon_s_folders_follow_what_is_mounted_there", BUSYBOX, propagation::of_the_daemon_s_folders),
    test("a_committed_image_knows_what_it_was_laid_on", BUSYBOX, commits::parents),
    test("a_probe_is_over_before_its_health_is_told", BUSYBOX, events::of_health),
    test("a_device_s_limits_are_in_the_container_s_group", BUSYBOX, throttles::of_a_device),
    test("what_sockets_may_buffer_is_in_the_container_s_group", BUSYBOX, throttles::of_socket_buffers),
    test("signals_of_a_run_are_its_container_s_on_a_terminal_too", CLIENTS, signals::passed_on),
    test("members_that_are_only_kept_are_shown", BUSYBOX, kept_for_inspect::members),
    test("prometheus_reads_docker_s_metrics", BUSYBOX, daemon::metrics),
    test("nothing_passes_an_authorization_plugin_unseen", BUSYBOX, authorization::plugins),
    test("a_container_is_as_healthy_as_its_probes_over_a_daemon_s_death_too", BUSYBOX, host_config::health),
    test("an_init_stands_before_the_command_and_ends_as_it_does", BUSYBOX, host_config::init),
    test("memory_is_shared_with_whom_it_may_be_and_links_name_their_targets", BUSYBOX, host_config::shared),
    test("images_and_parts_of_volumes_are_mounted", CLIENTS, host_config::mounts),
    test("users_of_a_container_are_others_on_the_host", BUSYBOX, user_namespaces::inside_and_outside),
    test("files_of_mapped_users_have_owners_on_both_sides", BUSYBOX, user_namespaces::files),
    test("mapped_containers_outlive_the_daemon_and_share_with_their_like", BUSYBOX, user_namespaces::life),
    test("the_default_user_of_a_mapping_is_made", BUSYBOX, user_namespaces::accounts),
];

fn main() -> ExitCode {
    testhost::run(TESTS)
}

/// Our client and Docker's own.
fn clients(engine: &Engine) -> [Docker; 2] {
    [engine.docker.clone(), engine.docker_of_docker()]
}
