// What testcontainers does with an engine that has an image busybox.
const { GenericContainer, Network, Wait } = require("testcontainers");

const SERVE = "echo hello > /tmp/index.html; echo serving; exec httpd -f -p 80 -h /tmp";

function expect(found, wanted) {
  if (JSON.stringify(found) !== JSON.stringify(wanted)) {
    throw new Error(`found ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`);
  }
}

async function main() {
  const network = await new Network().start();
  const web = await new GenericContainer("busybox")
    .withCommand(["sh", "-c", SERVE])
    .withExposedPorts(80)
    .withEnvironment({ A: "b" })
    .withNetwork(network)
    .withNetworkAliases("web")
    .withWaitStrategy(Wait.forLogMessage("serving"))
    .start();
  const answer = await fetch(`http://${web.getHost()}:${web.getMappedPort(80)}/index.html`);
  expect(await answer.text(), "hello\n");
  const ran = await web.exec(["sh", "-c", "echo $A; exit 3"]);
  expect([ran.output, ran.exitCode], ["b\n", 3]);
  await web.restart();
  await web.stop();
  await network.stop();
  console.log("all of it");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
