"""What testcontainers does with an engine that has an image busybox."""

import urllib.request

from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network
from testcontainers.core.waiting_utils import wait_for_logs

SERVE = "echo hello > /tmp/index.html; echo serving; exec httpd -f -p 80 -h /tmp"


def expect(found, wanted):
    if found != wanted:
        raise SystemExit(f"found {found!r}, not {wanted!r}")


with Network() as network:
    web = DockerContainer("busybox").with_command(["sh", "-c", SERVE]).with_exposed_ports(80).with_env("A", "b")
    web = web.with_network(network).with_network_aliases("web")
    with web:
        wait_for_logs(web, "serving", timeout=20)
        place = f"http://{web.get_container_host_ip()}:{web.get_exposed_port(80)}/index.html"
        expect(urllib.request.urlopen(place, timeout=20).read(), b"hello\n")
        code, output = web.exec(["sh", "-c", "echo $A; exit 3"])
        expect((code, output), (3, b"b\n"))
        expect(web.get_logs()[0], b"serving\n")
        with DockerContainer("busybox").with_command("wget -q -O - http://web/index.html").with_network(network) as client:
            wait_for_logs(client, "hello", timeout=20)
print("all of it")
