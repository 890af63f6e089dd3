//! Networks that are made in every way, and joined and left while containers run.

use anyhow::{Result, ensure};
use testhost::{HOST_ADDRESS, Host, Outside, wait_until};

use crate::clients;

pub fn joined_and_left(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let outside = Outside::join(host)?;
    for docker in clients(&engine) {
        docker.run(&["network", "create", "front"])?;
        docker.run(&["network", "create", "--subnet", "10.77.0.0/24", "--ipv6", "back"])?;
        let serve = ["httpd", "-f", "-p", "80", "-h", "/etc"];
        docker.run(
            &[&["run", "-d", "--name", "web", "-p", "8080:80", "--network", "front", &image], &serve[..]].concat(),
        )?;
        docker.run(&["run", "-d", "--name", "peer", "--network", "back", &image, "sleep", "1000"])?;
        docker.run(&["exec", "web", "sh", "-c", "echo 1.2.3.4 by-hand >> /etc/hosts"])?;
        let page = || {
            let url = format!("http://{HOST_ADDRESS}:8080/group");
            outside.command(&["curl", "-sf", "--max-time", "5", "--noproxy", "*", &url])
        };
        wait_until("the published page", || page().ok())?;

        docker.run(&[
            "network",
            "connect",
            "--ip",
            "10.77.0.99",
            "--alias",
            "shop",
            "--gw-priority",
            "1",
            "back",
            "web",
        ])?;
        let routes = docker.run(&["exec", "web", "ip", "route"])?;
        ensure!(routes.contains("default via 10.77.0.1 dev eth1"), "{routes}");
        let hosts = docker.run(&["exec", "web", "cat", "/etc/hosts"])?;
        ensure!(hosts.contains("10.77.0.99\t") && hosts.contains("1.2.3.4 by-hand"), "{hosts}");
        let found = docker.run(&["exec", "peer", "nslookup", "shop"])?;
        ensure!(found.contains("10.77.0.99"), "{found}");
        docker.run(&["exec", "peer", "wget", "-q", "-O", "/dev/null", "http://shop/group"])?;
        ensure!(page()?.contains("root:x:0:"), "the port leads to the network with the way out");
        let shown =
            docker.run(&["inspect", "-f", "{{(index .NetworkSettings.Networks \"back\").IPAddress}}", "web"])?;
        ensure!(shown == "10.77.0.99", "{shown}");
        let listed = docker.run(&["network", "inspect", "-f", "{{range .Containers}}{{.Name}} {{end}}", "back"])?;
        ensure!(listed.split(' ').collect::<std::collections::BTreeSet<_>>() == ["peer", "web", ""].into(), "{listed}");
        let refused = |words: &[&str]| docker.try_run(words).map(|ran| ran.stderr.trim().to_owned());
        let again = refused(&["network", "connect", "back", "web"])?;
        ensure!(
            again == "Error response from daemon: endpoint with name web already exists in network back",
            "{again}"
        );
        let in_use = refused(&["network", "rm", "back"])?;
        ensure!(
            in_use.contains("network back has active endpoints (name:\"") && in_use.contains("name:\"peer\" id:\""),
            "{in_use}"
        );

        docker.run(&["network", "disconnect", "back", "web"])?;
        ensure!(docker.run(&["exec", "web", "ip", "route"])?.contains("dev eth0"));
        let hosts = docker.run(&["exec", "web", "cat", "/etc/hosts"])?;
        ensure!(!hosts.contains("10.77.0.99") && hosts.contains("1.2.3.4 by-hand"), "{hosts}");
        ensure!(docker.try_run(&["exec", "peer", "nslookup", "shop"])?.code != 0, "the alias went with the endpoint");
        ensure!(page()?.contains("root:x:0:"));
        let nobody = refused(&["network", "disconnect", "-f", "back", "nobody"])?;
        ensure!(nobody == "Error response from daemon: endpoint nobody not found", "{nobody}");

        // What was joined is joined again at the next start, and its network known in between.
        docker.run(&["network", "connect", "back", "web"])?;
        let network = docker.run(&["network", "inspect", "-f", "{{.Id}}", "back"])?;
        docker.run(&["stop", "-t", "0", "web"])?;
        let known =
            docker.run(&["inspect", "-f", "{{(index .NetworkSettings.Networks \"back\").NetworkID}}", "web"])?;
        ensure!(known == network, "{known}");
        docker.run(&["start", "web"])?;
        ensure!(docker.run(&["exec", "web", "ip", "-4", "-o", "address"])?.contains("inet 10.77.0."));
        docker.run(&["rm", "-f", "web", "peer"])?;
        docker.run(&["network", "rm", "front", "back"])?;
    }
    Ok(())
}

pub fn made_and_pruned(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    for docker in clients(&engine) {
        let refused = |words: &[&str]| docker.try_run(words).map(|ran| ran.stderr.trim().to_owned());
        let create = |words: &[&str]| docker.run(&[&["network", "create"], words].concat());
        create(&[
            "--subnet",
            "10.88.0.0/16",
            "--ip-range",
            "10.88.5.0/24",
            "--gateway",
            "10.88.0.9",
            "--aux-address",
            "printer=10.88.5.0",
            "--label",
            "team=blue",
            "--attachable",
            "-o",
            "com.docker.network.container_iface_prefix=net",
            "full",
        ])?;
        let shown =
            docker.run(&["network", "inspect", "-f", "{{json .IPAM.Config}} {{.Attachable}} {{.Labels}}", "full"])?;
        ensure!(
            shown
                == "[{\"Subnet\":\"10.88.0.0/16\",\"IPRange\":\"10.88.5.0/24\",\"Gateway\":\"10.88.0.9\",\
                    \"AuxiliaryAddresses\":{\"printer\":\"10.88.5.0\"}}] true map[team:blue]",
            "{shown}"
        );
        let inside =
            docker.run(&["run", "--rm", "--network", "full", &image, "ip", "-4", "-o", "address", "show", "net0"])?;
        ensure!(inside.contains("10.88.5.1/16"), "{inside}");
        create(&["--ipv4=false", "--ipv6", "six"])?;
        let six = docker.run(&["run", "--rm", "--network", "six", &image, "ip", "-o", "address", "show", "eth0"])?;
        ensure!(six.contains("inet6 fd") && !six.contains("inet 1"), "{six}");
        create(&["--config-only", "--subnet", "10.89.0.0/24", "conf"])?;
        create(&["--config-from", "conf", "made"])?;
        ensure!(
            docker.run(&["network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "made"])? == "10.89.0.0/24"
        );
        let cases: [(&[&str], &str); 6] = [
            (
                &["network", "create", "--subnet", "10.88.9.0/24", "x"],
                "invalid pool request: Pool overlaps with other one on this address space",
            ),
            (&["network", "create", "--ingress", "x"], "Ingress network can only be global scope network"),
            (
                &["network", "create", "-d", "weave", "x"],
                "could not find plugin weave in v1 plugin registry: plugin \"weave\" not found",
            ),
            (&["network", "create", "full"], "network with name full already exists"),
            (&["network", "create", "host"], "operation is not permitted on predefined host network"),
            (&["network", "prune", "-f", "--filter", "until=soon"], "invalid filter 'until=soon'"),
        ];
        for (words, expected) in cases {
            let told = refused(words)?;
            ensure!(told.contains(expected), "{told}");
        }
        let names = |filter: &str| docker.run(&["network", "ls", "--format", "{{.Name}}", "--filter", filter]);
        ensure!(names("label=team=blue")? == "full");
        ensure!(names("driver=host")? == "host" && names("name=si")? == "six");
        ensure!(names("type=builtin")?.lines().count() == 3);
        docker.run(&["run", "-d", "--name", "user", "--network", "full", &image, "sleep", "1000"])?;
        ensure!(!names("dangling=true")?.contains("full"));
        let pruned = docker.run(&["network", "prune", "-f", "--filter", "label!=team"])?;
        ensure!(pruned == "Deleted Networks:\nmade\nsix" || pruned == "Deleted Networks:\nsix\nmade", "{pruned}");
        docker.run(&["rm", "-f", "user"])?;
        ensure!(docker.run(&["network", "prune", "-f", "--filter", "until=1h"])?.is_empty());
        ensure!(docker.run(&["network", "prune", "-f"])? == "Deleted Networks:\nfull");
        docker.run(&["network", "rm", "conf"])?;
    }
    Ok(())
}

/// A daemon that is killed between two words of a user's.
pub fn killed_daemon(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    docker.run(&["network", "create", "front"])?;
    docker.run(&["network", "create", "back"])?;
    docker.run(&["run", "-d", "--name", "web", "--network", "front", &image, "sleep", "1000"])?;
    docker.run(&["run", "-d", "--name", "peer", "--network", "back", &image, "sleep", "1000"])?;
    docker.run(&["network", "connect", "--alias", "shop", "back", "web"])?;
    engine.kill_dockerd()?;
    engine.start_again()?;
    docker.run(&["exec", "peer", "ping", "-c", "1", "-W", "5", "shop"])?;
    docker.run(&["network", "disconnect", "back", "web"])?;
    engine.kill_dockerd()?;
    engine.start_again()?;
    ensure!(docker.try_run(&["exec", "peer", "nslookup", "shop"])?.code != 0);
    let shown =
        docker.run(&["inspect", "-f", "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}", "web"])?;
    ensure!(shown.trim() == "front", "{shown}");
    docker.run(&["rm", "-f", "web", "peer"])?;
    docker.run(&["network", "rm", "front", "back"])?;
    Ok(())
}
