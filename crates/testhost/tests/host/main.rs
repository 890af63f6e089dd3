//! What users see of the whole system: each test with daemons of its own, on a host of its own, and where the words are the
//! same by our client as well as by Docker's.

mod authorization;
mod build;
mod daemon;
mod events;
mod file_systems;
mod host_config;
mod hostile;
mod images;
mod lifecycle;
mod log_drivers;
mod logs;
mod networks;
mod processes;
mod run;
mod storage;
mod terminal;
mod upkeep;
mod user_namespaces;
mod volume_plugins;
mod volumes;

use std::process::ExitCode;

use testhost::{Docker, Engine, Needs, Test, test};

const BUSYBOX: &[Needs] = &[Needs::Path("/bin/busybox")];
const REGISTRY: &[Needs] =
    &[Needs::Path("/bin/busybox"), Needs::Program("docker-registry", "docker-registry"), DOCKER_OF_DOCKER];
const NOTHING: &[Needs] = &[];
const NFT: &[Needs] = &[Needs::Program("nft", "nftables")];
const TLS: &[Needs] = &[Needs::Program("curl", "curl"), Needs::Program("openssl", "openssl"), DOCKER_OF_DOCKER];
const CURL: &[Needs] = &[Needs::Path("/bin/busybox"), Needs::Program("curl", "curl")];
const JOURNAL: &[Needs] = &[Needs::Path("/bin/busybox"), Needs::Path("/run/systemd")];
const RSYSLOG: &[Needs] = &[Needs::Path("/bin/busybox"), Needs::Program("rsyslogd", "rsyslog")];
const CLIENTS: &[Needs] = &[Needs::Path("/bin/busybox"), DOCKER_OF_DOCKER];
const DOCKER_OF_DOCKER: Needs = Needs::Program("docker", "docker.io");

const TESTS: &[Test] = &[
    test("a_command_prints_its_output_and_its_exit_code_is_docker_s", BUSYBOX, run::output_and_exit_code),
    test("standard_input_reaches_the_process_and_ends_with_the_client_s", BUSYBOX, run::standard_input),
    test("a_stopped_container_still_has_its_data_when_it_starts_again", BUSYBOX, run::data_survives),
    test("mistakes_get_docker_s_words_and_exit_codes", BUSYBOX, run::mistakes),
    test("version_and_info_tell_of_the_engine", CLIENTS, images::version_and_info),
    test("the_book_s_dockerfile_is_built_and_found_again", CLIENTS, build::book),
    test("the_last_stage_takes_what_it_needs_of_the_others", CLIENTS, build::stages),
    test("contexts_are_folders_archives_and_standard_input", CLIENTS, build::contexts),
    test("copies_go_where_the_image_s_links_lead_and_never_outside", BUSYBOX, build::copies),
    test("what_runs_in_a_build_sees_its_mounts_and_leaves_none", BUSYBOX, build::runs),
    test("instructions_change_the_image_s_configuration", BUSYBOX, build::configuration),
    test("mistakes_in_dockerfiles_are_told_with_their_lines", CLIENTS, build::mistakes),
    test("what_was_built_is_found_by_content_and_pruned", BUSYBOX, build::cache),
    test("an_image_goes_to_the_registry_and_comes_back", REGISTRY, images::push_and_pull),
    test("an_image_in_use_is_not_removed", CLIENTS, images::conflict),
    test("a_broken_manifest_or_layer_fails_the_pull_and_leaves_nothing", REGISTRY, hostile::broken_images),
    test("hostile_requests_get_one_clear_error", BUSYBOX, hostile::requests),
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
    test("containers_of_a_network_find_each_other_by_name", BUSYBOX, networks::names),
    test("the_host_s_network_is_shared_and_none_is_empty", BUSYBOX, networks::host_and_none),
    test("folders_volumes_and_memory_are_mounted", CLIENTS, storage::mounts),
    test("a_volume_is_made_listed_pruned_and_never_removed_under_a_container", CLIENTS, volumes::life),
    test("a_volume_is_filled_from_the_image_and_shared_in_parts", BUSYBOX, volumes::filled),
    test("a_volume_that_is_a_mount_lasts_as_long_as_its_users_over_a_daemon_s_death_too", BUSYBOX, volumes::mounted),
    test("a_daemon_that_is_killed_leaves_no_volume_half_done", BUSYBOX, volumes::killed),
    test("files_of_a_bind_are_the_container_s_user_s_where_that_is_asked_for", BUSYBOX, volumes::matched),
    test("a_plugin_s_volumes_are_docker_s_too", CLIENTS, volume_plugins::plugins),
    test("files_go_in_and_out_of_containers_that_run_and_that_do_not", CLIENTS, file_systems::copied),
    test("archives_of_containers_are_refused_in_docker_s_words", CLIENTS, file_systems::archives),
    test("a_container_that_swaps_links_leads_a_copy_nowhere", CLIENTS, file_systems::swapped),
    test("diff_tells_what_a_container_changed_and_nothing_else", CLIENTS, file_systems::changed),
    test("a_container_becomes_an_image", CLIENTS, file_systems::committed),
    test("an_exported_container_can_be_imported", CLIENTS, file_systems::exported),
    test("limits_policies_and_names_change_while_a_container_runs", CLIENTS, upkeep::updated),
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
