//! The service against the kernel and a real docker-netd, in network and mount namespaces of each test's own.
//!
//! This program plays three parts: the tests; docker-netd, when the service starts it with `--socket`; and a dockerd
//! that is killed, with `--controller FOLDER`.

mod drivers;
mod endpoints;
mod host;
mod hostile;
mod modes;
mod names;
mod plugins;
mod ports;
mod restart;
mod traffic;

use std::path::PathBuf;

use libtest_mimic::{Arguments, Trial};
use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountPropagationFlags, mount_change};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--socket", socket, "--pid-file", pid_file] => {
            let options = netd::Options {
                socket: PathBuf::from(socket),
                pid_file: PathBuf::from(pid_file),
                resolv_conf: "/etc/resolv.conf".into(),
            };
            if let Err(error) = netd::run(&options) {
                eprintln!("{}", errors::chain(&error));
                std::process::exit(1);
            }
            return;
        }
        ["--controller", folder] => restart::controller(folder.as_ref()),
        ["--changer", folder] => restart::changer(folder.as_ref()),
        _ => {}
    }
    let mut arguments = Arguments::from_args();
    // All trials of one process share its namespaces.
    arguments.test_threads = Some(1);
    if !arguments.list {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("namespaces need root");
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).expect("our mount namespace");
    }
    let trials = [
        Trial::test("containers_of_the_default_bridge_reach_each_other_and_the_host", traffic::default_bridge),
        Trial::test(
            "what_leaves_hides_behind_the_host_and_nothing_unpublished_enters",
            traffic::masquerade_and_direct_access,
        ),
        Trial::test("networks_are_isolated_and_internal_ones_have_no_way_out", traffic::isolation),
        Trial::test("an_emptied_ruleset_is_loaded_again_by_the_next_container", traffic::flushed_ruleset),
        Trial::test("networks_are_created_listed_and_removed_in_dockers_words", traffic::network_life),
        Trial::test("a_container_is_plugged_into_a_second_network_and_out_again", traffic::connect_and_disconnect),
        Trial::test("a_container_shares_the_sandbox_of_another", traffic::shared_sandbox),
        Trial::test("a_network_may_have_both_families", traffic::dual_stack),
        Trial::test("without_icc_containers_of_a_network_do_not_reach_each_other", traffic::no_communication_inside),
        Trial::test("noise_does_not_keep_the_resolver_from_answering", hostile::resolver),
        Trial::test("docker_netd_refuses_what_it_does_not_understand_and_ends_when_idle", hostile::control),
        Trial::test("a_refused_request_keeps_nothing", hostile::requests),
        Trial::test("a_published_port_answers_from_everywhere", ports::published),
        Trial::test("what_is_published_on_loopback_answers_only_there", ports::loopback_only),
        Trial::test("a_port_is_given_once_and_programs_of_the_host_are_respected", ports::conflicts),
        Trial::test("a_published_udp_port_is_relayed", ports::udp),
        Trial::test("a_udp_client_that_never_pauses_follows_the_port", ports::udp_flow_follows),
        Trial::test("large_transfers_pass_the_relay_whole", ports::large_transfer),
        Trial::test("sandboxes_made_at_once_share_no_address_and_no_port", ports::many_at_once),
        Trial::test("a_released_container_leaves_nothing", ports::nothing_left),
        Trial::test("names_resolve_inside_user_networks_over_udp_and_tcp", names::resolve),
        Trial::test("unknown_names_go_to_the_hosts_server_but_not_from_internal_networks", names::forward),
        Trial::test("a_container_may_serve_port_53_itself", names::own_name_server),
        Trial::test("a_container_may_filter_by_the_state_of_connections", names::own_packet_filter),
        Trial::test("names_and_ports_live_on_when_the_daemon_is_killed", restart::killed_daemon),
        Trial::test("a_new_daemon_keeps_the_living_and_clears_the_dead", restart::restore),
        Trial::test("a_daemon_killed_in_a_change_leaves_nothing_of_it", restart::killed_in_a_change),
        Trial::test("the_default_bridge_follows_its_flags_at_the_next_start", restart::changed_flags),
        Trial::test("a_docker_netd_that_dies_is_replaced_and_told_everything", restart::killed_netd),
        Trial::test("who_reaches_whom_is_as_the_table_says", modes::table),
        Trial::test("sources_and_marks_are_as_asked_for", modes::source_and_mark),
        Trial::test("a_policy_of_the_host_wins_and_is_told", modes::policy_of_the_host),
        Trial::test("a_flushed_ruleset_comes_back_by_itself", modes::flushed_and_restored),
        Trial::test("published_ports_are_reached_directly_where_that_is_allowed", modes::direct_routing),
        Trial::test("dockers_chains_stand_in_front_of_a_policy_that_drops", modes::docker_chains),
        Trial::test("a_container_may_be_set_up_while_its_links_are_made", endpoints::begun_and_completed),
        Trial::test("the_way_out_and_the_ports_move_with_networks", endpoints::way_out_moves),
        Trial::test("ports_wait_for_a_network_with_a_way_out", endpoints::internal_first),
        Trial::test("an_endpoint_has_links_names_sysctls_and_addresses", endpoints::settings),
        Trial::test("an_endpoint_of_nobody_is_forgotten", endpoints::forgotten),
        Trial::test("unused_networks_are_pruned", endpoints::pruned),
        Trial::test("every_driver_keeps_the_same_promises", drivers::conformance),
        Trial::test("a_bridge_that_somebody_made_is_left_behind", drivers::foreign_bridge),
        Trial::test("networks_that_cannot_be_are_refused_in_dockers_words", drivers::refusals),
        Trial::test("a_network_is_made_from_anothers_configuration", drivers::configuration),
        Trial::test("a_plugin_makes_links_and_gives_addresses", plugins::life),
        Trial::test("ports_on_a_plugins_network_are_the_plugins_to_publish", plugins::ports),
        Trial::test("addresses_that_nobody_manages_are_the_plugins_to_give", plugins::unmanaged_addresses),
        Trial::test("what_a_plugin_refuses_or_makes_up_leaves_nothing", plugins::refusals),
        Trial::test("two_thousand_containers_are_on_one_network", drivers::thousands),
    ];
    libtest_mimic::run(&arguments, trials.into()).exit();
}
