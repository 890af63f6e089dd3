//! Against the kernel, in network and mount namespaces of the test's own, entered before any thread exists.

use std::net::IpAddr;
use std::os::fd::AsFd;

use libtest_mimic::{Arguments, Failed, Trial};
use netlink::nft::{BaseChain, Element, Expression, Hook, Key, Meta, SetKind, SetSpec, Table, Transaction, Verdict};
use netlink::{Batch, PeerPlace, Prefix, Route, Veth, namespace};
use nix::sched::{CloneFlags, unshare};

fn main() {
    let arguments = Arguments::from_args();
    if !arguments.list {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("namespaces need root");
        rustix::mount::mount_change(
            "/",
            rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC,
        )
        .expect("the mount namespace is ours");
    }
    let trials = vec![
        Trial::test("a_veth_is_born_on_its_bridge_and_in_its_sandbox", veth_is_born_in_place),
        Trial::test("a_refusal_names_its_step_and_the_steps_behind_it_still_run", refusal_names_its_step),
        Trial::test("a_removed_namespace_takes_its_links_along", removal_takes_links),
        Trial::test("a_transaction_with_one_wrong_step_changes_nothing", transaction_is_atomic),
        Trial::test("a_transaction_without_the_privilege_is_refused_at_once", unprivileged_transaction),
        Trial::test("elements_come_and_go_without_touching_the_rules", elements_come_and_go),
        Trial::test("a_thousand_elements_fit_one_transaction", many_elements),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

const MAC: [u8; 6] = [0x02, 0x42, 10, 1, 0, 2];

/// A bridge, a namespace and a veth between them.
fn plumb(bridge: &str, host: &str, path: &std::path::Path) -> Result<Route, Failed> {
    let route = Route::open()?;
    let mut batch = Batch::new();
    batch.create_bridge(bridge, [0x02, 0x42, 1, 1, 1, 1], 1400);
    route.perform(&batch)?;
    let master = route.link_by_name(bridge)?.ok_or("no bridge")?.index;
    let inside = namespace::create(path, Route::open)?;
    let file = std::fs::File::open(path)?;
    let mut batch = Batch::new();
    let peer = PeerPlace { namespace: file.as_fd(), name: "eth0", mac: MAC };
    batch.create_veth(&Veth { name: host, master, mtu: 1400, peer });
    route.perform(&batch)?;
    Ok(inside)
}

fn veth_is_born_in_place() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("born");
    let inside = plumb("br-born", "veth-born", &path)?;
    let outside = Route::open()?;
    let bridge = outside.link_by_name("br-born")?.ok_or("no bridge")?;
    let host = outside.link_by_name("veth-born")?.ok_or("no veth")?;
    assert_eq!((host.master, host.up, host.mtu), (Some(bridge.index), true, 1400));
    assert_eq!(outside.link_by_name("eth0")?, None);

    let eth0 = inside.link_by_name("eth0")?.ok_or("no eth0")?;
    assert_eq!((eth0.mac, eth0.up), (Some(MAC), false));
    let prefix = Prefix::new(IpAddr::from([10, 1, 0, 2]), 24);
    let mut batch = Batch::new();
    batch.set_up(1);
    batch.add_address(eth0.index, prefix);
    batch.set_up(eth0.index);
    batch.add_default_route(IpAddr::from([10, 1, 0, 1]), eth0.index);
    inside.perform(&batch)?;
    assert!(inside.addresses()?.contains(&(eth0.index, prefix)));
    assert!(inside.routes()?.iter().any(|route| route.gateway == Some(IpAddr::from([10, 1, 0, 1]))));
    assert!(namespace::exists(&path));
    namespace::remove(&path)?;
    assert!(!path.exists());
    Ok(())
}

fn refusal_names_its_step() -> Result<(), Failed> {
    let route = Route::open()?;
    let mut batch = Batch::new();
    batch.create_bridge("br-twice", MAC, 1500);
    batch.create_bridge("br-twice", MAC, 1500);
    batch.create_bridge("br-after", MAC, 1500);
    let error = route.perform(&batch).expect_err("the second bridge exists");
    assert_eq!(error.to_string(), "cannot create bridge br-twice");
    assert_eq!(errors::Kind::kind(&error), errors::ErrorKind::AlreadyExists);
    assert!(route.link_by_name("br-after")?.is_some());
    Ok(())
}

fn removal_takes_links() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("gone");
    let inside = plumb("br-gone", "veth-gone", &path)?;
    drop(inside);
    namespace::remove(&path)?;
    let route = Route::open()?;
    // The kernel does it in the background: wait for the condition, with an end.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while route.link_by_name("veth-gone")?.is_some() {
        assert!(std::time::Instant::now() < deadline, "the veth outlived its namespace");
        std::thread::yield_now();
    }
    namespace::remove(&path)?;
    Ok(())
}

/// Without the privilege the kernel refuses the whole batch and says so once.
fn unprivileged_transaction() -> Result<(), Failed> {
    let outcome = std::thread::spawn(|| {
        let mut sets = rustix::thread::capabilities(None)?;
        sets.effective.remove(rustix::thread::CapabilitySet::NET_ADMIN);
        rustix::thread::set_capabilities(None, sets)?;
        let mut transaction = table("forbidden");
        transaction.add_table();
        Ok::<_, rustix::io::Errno>(transaction.commit().map_err(|error| errors::Kind::kind(&error)))
    });
    let committed = outcome.join().map_err(|_| "the thread panicked")??;
    assert_eq!(committed, Err(errors::ErrorKind::PermissionDenied));
    Ok(())
}

const PORTS: SetSpec = SetSpec { name: "ports", kind: SetKind::PortsTo4 };

fn table(name: &str) -> Transaction {
    Transaction::new(Table(name.to_owned()))
}

fn entry(port: u16) -> Element {
    let to = Key::new().address(IpAddr::from([172, 17, 0, 2])).port(80);
    Element::Entry(Key::new().protocol(6).port(port), to)
}

/// The listing of Debian's nft is the witness for what our messages mean.
fn listing(name: &str) -> Result<String, Failed> {
    let output = std::process::Command::new("nft").args(["list", "table", "inet", name]).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn transaction_is_atomic() -> Result<(), Failed> {
    let mut transaction = table("atomic");
    transaction.add_table();
    transaction.add_set(PORTS);
    transaction.add_elements("no-such-set", &[entry(80)]);
    let error = transaction.commit().expect_err("there is no such set");
    assert_eq!(error.to_string(), "cannot add to set no-such-set");
    assert_eq!(listing("atomic")?, "");
    Ok(())
}

fn elements_come_and_go() -> Result<(), Failed> {
    let mut transaction = table("coming");
    transaction.add_table();
    transaction.add_set(PORTS);
    transaction.add_set(SetSpec { name: "bridges", kind: SetKind::InterfaceNames });
    transaction.add_chain(BaseChain { name: "forward", kind: "filter", hook: Hook::Forward, priority: 0 });
    let rule = [
        Expression::Meta(Meta::InputName, 1),
        Expression::InSet { set: "bridges", register: 1 },
        Expression::End(Verdict::Drop),
    ];
    transaction.add_rule("forward", &rule);
    transaction.commit()?;
    let empty = listing("coming")?;
    assert!(empty.contains("iifname @bridges drop"), "{empty}");

    let mut transaction = table("coming");
    transaction.add_elements("ports", &[entry(80), entry(81)]);
    transaction.commit()?;
    let mut transaction = table("coming");
    transaction.add_elements("ports", &[entry(80)]);
    transaction.delete_elements("ports", &[entry(81)]);
    transaction.commit()?;
    let one = listing("coming")?;
    assert!(one.contains("elements = { tcp . 80 : 172.17.0.2 . 80 }"), "{one}");

    let mut transaction = table("coming");
    transaction.delete_elements("ports", &[entry(80)]);
    transaction.commit()?;
    assert_eq!(listing("coming")?, empty);
    let mut transaction = table("coming");
    transaction.delete_table();
    transaction.commit()?;
    assert_eq!(listing("coming")?, "");
    Ok(())
}

fn many_elements() -> Result<(), Failed> {
    let mut transaction = table("many");
    transaction.add_table();
    transaction.add_set(PORTS);
    let elements: Vec<Element> = (1..=5000).map(entry).collect();
    transaction.add_elements("ports", &elements);
    transaction.commit()?;
    assert!(listing("many")?.contains("tcp . 5000 : 172.17.0.2 . 80"));
    Ok(())
}
