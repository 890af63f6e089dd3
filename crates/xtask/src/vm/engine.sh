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
# Networks over a link of the host.
ip link add wire type dummy
ip link set wire up
for kind in ipvlan macvlan; do
    docker network create -d $kind --subnet 10.81.0.0/24 -o parent=wire over >/dev/null
    docker run -d --name served --network over busybox httpd -f -p 80 -h /etc >/dev/null
    docker run --rm --network over busybox wget -q -O - http://served/group | grep -q '^root:'
    docker rm -f served >/dev/null
    docker network rm over >/dev/null
    say "containers over $kind find and reach each other"
    docker network create -d $kind --subnet 10.82.0.0/24 -o parent=wire.10 tagged >/dev/null
    grep -q 'VID: 10' /proc/net/vlan/wire.10
    docker run --rm --network tagged busybox sh -c :
    docker network rm tagged >/dev/null
    [ ! -e /sys/class/net/wire.10 ]
    docker network create -d $kind --subnet 10.83.0.0/24 alone >/dev/null
    docker run -d --name served --network alone busybox httpd -f -p 80 -h /etc >/dev/null
    docker run --rm --network alone busybox wget -q -O - http://served/group | grep -q '^root:'
    docker rm -f served >/dev/null
    docker network rm alone >/dev/null
    say "$kind makes the VLAN or the dummy that it is told to be over, and takes it away"
done
[ -z "$(docker ps -aq)" ]
