"""What docker-py does with an engine. Arguments: an image that the registry has, a name to push to, an archive to import."""

import sys
import threading

import docker

image, other, archive = sys.argv[1:]
client = docker.from_env()


def expect(found, wanted):
    if found != wanted:
        raise SystemExit(f"found {found!r}, not {wanted!r}")


expect(client.ping(), True)
expect(client.version()["Os"], "linux")
expect(client.info()["Containers"], 0)

name, tag = image.rsplit(":", 1)
pulled = client.images.pull(name, tag=tag)
expect(pulled.tags, [image])
expect([str(each.id) for each in client.images.list()], [pulled.id])
expect(pulled.attrs["Config"]["Env"], ["PATH=/bin", "COLOUR=red"])
expect(pulled.labels, {"made": "by hand"})
expect(len(pulled.history()), 1)

expect(client.containers.run(image, ["echo", "hello"], remove=True), b"hello\n")
try:
    client.containers.run(image, ["sh", "-c", "echo wrong >&2; exit 4"], remove=True)
    raise SystemExit("no error")
except docker.errors.ContainerError as error:
    expect((error.exit_status, error.stderr), (4, b"wrong\n"))
try:
    client.containers.get("nobody")
    raise SystemExit("no error")
except docker.errors.NotFound as error:
    expect(error.explanation, "No such container: nobody")

events = client.events(decode=True, filters={"container": "py"})
seen = []


def read_events():
    for event in events:
        seen.append(event["Action"])
        if event["Action"] == "destroy":
            return


reader = threading.Thread(target=read_events)
reader.start()
script = "trap 'exit 9' TERM; echo one; echo two; while :; do sleep 0.01; done"
long = client.containers.run(
    image, ["sh", "-c", script], name="py", detach=True, environment={"A": "b"}, mem_limit="64m", labels={"l": "1"}
)
stream = long.logs(stream=True, follow=True)
received = b""
while received != b"one\ntwo\n":
    received += next(stream)
long.reload()
expect((long.status, long.name, long.labels["l"]), ("running", "py", "1"))
expect(long.attrs["HostConfig"]["Memory"], 64 << 20)
expect([each.id for each in client.containers.list()], [long.id])

code, output = long.exec_run(["sh", "-c", "echo $A; echo err >&2; exit 3"], demux=True)
expect((code, output), (3, (b"b\n", b"err\n")))
code, stream = long.exec_run(["echo", "streamed"], stream=True)
expect(b"".join(stream), b"streamed\n")
_, channel = long.exec_run(["cat"], stdin=True, socket=True)
channel._sock.sendall(b"typed")
channel._sock.shutdown(1)
expect(channel.read(), b"\x01\x00\x00\x00\x00\x00\x00\x05typed")
channel.close()

long.pause()
long.unpause()
long.rename("renamed")
long.rename("py")
long.stop()
expect(long.wait()["StatusCode"], 9)
expect(long.logs(tail=1), b"two\n")
long.remove()
reader.join()
for action in ["create", "start", "die", "stop", "destroy"]:
    if action not in seen:
        raise SystemExit(f"{action} not in {seen}")

attached = client.containers.create(image, ["sh", "-c", "read line; echo got $line"], stdin_open=True)
channel = attached.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
attached.start()
channel._sock.sendall(b"a line\n")
expect(channel.read(), b"\x01\x00\x00\x00\x00\x00\x00\x0bgot a line\n")
channel.close()
expect(attached.wait()["StatusCode"], 0)
attached.remove()

network = client.networks.create("py-net")
expect(network.attrs["Name"], "py-net")
network.remove()

with open(archive, "rb") as file:
    client.api.import_image_from_data(file.read(), repository="imported", tag="1")
expect(client.images.get("imported:1").tags, ["imported:1"])
name, tag = other.rsplit(":", 1)
expect(pulled.tag(name, tag), True)
pushed = list(client.images.push(name, tag=tag, stream=True, decode=True))
if any("error" in line for line in pushed) or not any("aux" in line for line in pushed):
    raise SystemExit(f"{pushed}")
for each in [other, image, "imported:1"]:
    client.images.remove(each)
expect(client.images.list(), [])
print("all of it")
