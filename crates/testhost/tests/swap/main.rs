//! The swap matrix: each of our programs with the originals on the other side, from Debian's packages.

mod by_ctr;
mod containerd;
mod images;

use std::process::ExitCode;

use containerd::{SHIM, ShimOf};
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

const TESTS: &[Test] = &[
    test("ctr_drives_our_containerd_and_our_shim", CTR, |host| by_ctr::drives_ours(host, ShimOf::Ours)),
    test("ctr_drives_our_containerd_and_debian_s_shim", CTR, |host| by_ctr::drives_ours(host, ShimOf::Debian)),
    test("debian_s_containerd_starts_our_shim_by_its_path", CTR, by_ctr::debian_starts_our_shim_by_path),
    test("debian_s_containerd_starts_our_shim_by_its_name", CTR, by_ctr::debian_starts_our_shim_by_name),
    test("debian_s_containerd_and_shim_run_our_runtime", CTR, by_ctr::debian_s_shim_calls_our_runtime),
    test("our_shim_runs_runc_for_debian_s_containerd", CTR, |host| by_ctr::our_shim_calls(host, "/usr/sbin/runc")),
    test("our_shim_runs_crun_for_debian_s_containerd", CRUN, by_ctr::our_shim_calls_crun),
];

fn main() -> ExitCode {
    run(TESTS)
}
