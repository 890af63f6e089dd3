//! The swap matrix: each of our programs with the originals on the other side, from Debian's packages.

mod by_crun;
mod by_ctr;
mod by_docker;
mod by_libraries;
mod by_podman;
mod by_python;
mod containerd;
mod credentials;
mod distribution;
mod dockerd;
mod dockerfiles;
mod image_archives;
mod image_commands;
mod images;
mod life;
mod log_files;
mod on_containerd;
mod web_login;

use std::process::ExitCode;

use containerd::{SHIM, ShimOf};
use distribution::Guard;
use dockerd::{CLIENT, DOCKERD};
use testhost::{Needs, Test, run, test};

const CTR: &[Needs] = &[
    Needs::Program("ctr", "containerd"),
    Needs::Program("containerd", "containerd"),
    Needs::Path(SHIM),
    Needs::Program("runc", "runc"),
    Needs::Program("docker-registry", "docker-registry"),
    Needs::Program("skopeo", "skopeo"),
    Needs::Path("/bin/busybox"),
];
const CRUN: &[Needs] = &[
    Needs::Program("ctr", "containerd"),
    Needs::Program("containerd", "containerd"),
    Needs::Path("/usr/bin/crun"),
    Needs::Path("/bin/busybox"),
];
const DOCKER: &[Needs] = &[
    Needs::Path(DOCKERD),
    Needs::Path(CLIENT),
    Needs::Program("containerd", "containerd"),
    Needs::Path(SHIM),
    Needs::Program("docker-registry", "docker-registry"),
    Needs::Program("skopeo", "skopeo"),
    Needs::Path("/bin/busybox"),
];
/// Docker's client 28, which Debian does not have.
const CLIENT_28: &str = "/usr/local/bin/docker";
const CLIENT_28_NEEDS: &[Needs] = &[
    Needs::Path(CLIENT_28),
    Needs::Program("docker-registry", "docker-registry"),
    Needs::Program("skopeo", "skopeo"),
    Needs::Path("/bin/busybox"),
];
const PODMAN: &[Needs] = &[
    Needs::Program("podman", "podman"),
    Needs::Program("buildah", "buildah"),
    Needs::Program("umoci", "umoci"),
    Needs::Program("skopeo", "skopeo"),
    Needs::Program("docker-registry", "docker-registry"),
    Needs::Path("/bin/busybox"),
];
const WEB_LOGIN: &[Needs] =
    &[Needs::Path(CLIENT_28), Needs::Program("openssl", "openssl"), Needs::Path(by_python::PYTHON)];
const DISTRIBUTION: &[Needs] = &[
    Needs::Program("podman", "podman"),
    Needs::Program("skopeo", "skopeo"),
    Needs::Program("umoci", "umoci"),
    Needs::Program("docker-registry", "docker-registry"),
    Needs::Program("openssl", "openssl"),
    Needs::Path(by_python::PYTHON),
    Needs::Path("/bin/busybox"),
];
const CLIENTS_OF_REGISTRIES: &[Needs] = &[
    Needs::Path(CLIENT_28),
    Needs::Program("podman", "podman"),
    Needs::Program("skopeo", "skopeo"),
    Needs::Path("/usr/lib/python3/dist-packages/docker"),
    Needs::Program("docker-registry", "docker-registry"),
    Needs::Path("/bin/busybox"),
];
const DOCKER_PY: &[Needs] = &[
    Needs::Path(by_libraries::DOCKER_PY),
    Needs::Program("skopeo", "skopeo"),
    Needs::Program("docker-registry", "docker-registry"),
    Needs::Path("/bin/busybox"),
];
const TESTCONTAINERS_PY: &[Needs] = &[Needs::Path(by_libraries::TESTCONTAINERS_PY), Needs::Path("/bin/busybox")];
const TESTCONTAINERS_JS: &[Needs] =
    &[Needs::Program("node", "nodejs"), Needs::Path(by_libraries::TESTCONTAINERS_JS), Needs::Path("/bin/busybox")];
const PYTHON: &[Needs] = &[
    Needs::Path(by_python::PYTHON),
    Needs::Path("/usr/lib/python3/dist-packages/docker"),
    Needs::Program("docker-compose", "docker-compose"),
    Needs::Program("skopeo", "skopeo"),
    Needs::Program("docker-registry", "docker-registry"),
    Needs::Path("/bin/busybox"),
];

const TESTS: &[Test] = &[
    test("ctr_drives_our_containerd_and_our_shim", CTR, |host| by_ctr::drives_ours(host, ShimOf::Ours)),
    test("ctr_drives_our_containerd_and_debian_s_shim", CTR, |host| by_ctr::drives_ours(host, ShimOf::Debian)),
    test("debian_s_containerd_starts_our_shim_by_its_path", CTR, by_ctr::debian_starts_our_shim_by_path),
    test("debian_s_containerd_starts_our_shim_by_its_name", CTR, by_ctr::debian_starts_our_shim_by_name),
    test("debian_s_containerd_and_shim_run_our_runtime", CTR, by_ctr::debian_s_shim_calls_our_runtime),
    test("our_shim_runs_runc_for_debian_s_containerd", CTR, |host| by_ctr::our_shim_calls(host, "/usr/sbin/runc")),
    test("our_shim_runs_crun_for_debian_s_containerd", CRUN, by_ctr::our_shim_calls_crun),
    test("crun_runs_containers_of_our_dockerd", CRUN, by_crun::runs_containers_of_our_dockerd),
    test("debian_s_dockerd_runs_our_runtime_when_asked", DOCKER, by_docker::our_runtime_is_added),
    test("debian_s_dockerd_runs_our_runtime_by_default", DOCKER, by_docker::our_runtime_is_the_default),
    test("debian_s_dockerd_runs_on_our_containerd_and_our_shim", DOCKER, |host| {
        by_docker::debian_runs_on_our_containerd(host, ShimOf::Ours)
    }),
    test("debian_s_dockerd_runs_on_our_containerd_and_debian_s_shim", DOCKER, |host| {
        by_docker::debian_runs_on_our_containerd(host, ShimOf::Debian)
    }),
    test("log_files_of_either_engine_are_read_by_the_other", DOCKER, log_files::exchanged),
    test("what_either_engine_saves_the_other_loads", DOCKER, image_archives::exchanged),
    test("docker_s_store_keeps_the_ids_of_our_images", DOCKER, image_archives::through_docker),
    test("containerd_s_store_keeps_every_digest_of_our_images", CTR, image_archives::through_containerd),
    test("archives_go_to_podman_and_back", PODMAN, by_podman::archives_go_both_ways),
    test("generated_dockerfiles_make_the_same_image_at_docker_and_ours", DOCKER, dockerfiles::a_few),
    test("our_docker_drives_debian_s_dockerd", DOCKER, by_docker::our_client_drives_debian),
    test("docker_20_drives_our_dockerd", DOCKER, |host| by_docker::docker_drives_ours(host, CLIENT)),
    test("docker_28_drives_our_dockerd", CLIENT_28_NEEDS, |host| by_docker::docker_drives_ours(host, CLIENT_28)),
    test("podman_runs_our_runtime", PODMAN, by_podman::podman_runs_our_runtime),
    test("podman_updates_and_kills_by_our_runtime", PODMAN, by_podman::podman_updates_and_kills),
    test("buildah_runs_our_runtime", PODMAN, by_podman::buildah_runs_our_runtime),
    test("our_engine_reads_what_skopeo_and_podman_push", PODMAN, by_podman::we_read_what_others_push),
    test("skopeo_podman_and_umoci_read_what_we_push", PODMAN, by_podman::others_read_what_we_push),
    test("images_go_round_by_tls_and_password_with_equal_digests", DISTRIBUTION, |host| {
        distribution::round_trips(host, Guard::Password)
    }),
    test("images_go_round_by_tls_and_token_with_equal_digests", DISTRIBUTION, |host| {
        distribution::round_trips(host, Guard::Token)
    }),
    test("docker_28_does_all_image_commands_on_our_dockerd", CLIENT_28_NEEDS, image_commands::docker_28_on_ours),
    test("our_docker_does_all_image_commands_on_debian_s_dockerd", DOCKER, image_commands::ours_on_debian),
    test("a_login_of_ours_is_found_by_every_client", CLIENTS_OF_REGISTRIES, credentials::logins_are_found_by_all),
    test("a_login_without_arguments_goes_by_the_hub_s_web_page", WEB_LOGIN, web_login::by_the_hub_s_page),
    test("credentials_that_lie_in_a_file_stay_there", CLIENTS_OF_REGISTRIES, credentials::files_stay_files),
    test("docker_py_drives_our_dockerd", PYTHON, by_python::docker_py),
    test("docker_py_7_drives_our_dockerd", DOCKER_PY, by_libraries::docker_py),
    test("testcontainers_of_python_drive_our_dockerd", TESTCONTAINERS_PY, by_libraries::testcontainers_of_python),
    test("testcontainers_of_node_drive_our_dockerd", TESTCONTAINERS_JS, by_libraries::testcontainers_of_node),
    test("docker_compose_drives_our_dockerd", PYTHON, by_python::compose),
    test("our_dockerd_runs_on_debian_s_containerd_and_our_shim", CTR, on_containerd::with_our_shim),
    test("our_dockerd_says_what_debian_s_shim_cannot_do", CTR, on_containerd::with_debian_s_shim),
];

fn main() -> ExitCode {
    run(TESTS)
}
