# Run, exec and stop under control groups v2.
say() { echo "vm: $*"; }

export DOCKER_HOST=unix:///run/docker.sock
dockerd >/run/dockerd.log 2>&1 -H "$DOCKER_HOST" &
for _ in $(seq 600); do [ -S /run/docker.sock ] && break; usleep 100000; done
docker version --format 'vm: server {{.Server.Version}}, API {{.Server.APIVersion}}'
[ "$(docker info --format '{{.CgroupVersion}}')" = 2 ]

tar -C / -c bin/busybox bin/sh bin/sleep bin/cat bin/id bin/ps bin/wget bin/httpd bin/echo bin/trap bin/touch etc 2>/dev/null >/run/image.tar || true
docker import --change 'CMD ["sh"]' /run/image.tar busybox >/dev/null
say "imported"

[ "$(docker run --rm busybox echo hello)" = hello ]
say "run prints its output"
docker run --rm busybox sh -c 'exit 7' && exit 1 || [ $? = 7 ]
say "run answers the exit code"

docker run -d --name long --memory 64m --pids-limit 50 busybox sleep 1000 >/dev/null
[ "$(docker exec long sh -c 'cat /proc/self/cgroup')" = '0::/' ]
id=$(docker inspect --format '{{.Id}}' long)
[ "$(cat /sys/fs/cgroup/docker/$id/memory.max)" = 67108864 ]
[ "$(cat /sys/fs/cgroup/docker/$id/pids.max)" = 50 ]
say "exec joins the container, whose limits stand in its v2 group"

docker stop -t 1 long >/dev/null
[ "$(docker inspect --format '{{.State.ExitCode}}' long)" = 137 ]
docker start long >/dev/null
docker rm -f long >/dev/null
[ ! -e /sys/fs/cgroup/docker/$id ]
say "stop, start and rm -f; the group is gone"
[ -z "$(docker ps -aq)" ]
