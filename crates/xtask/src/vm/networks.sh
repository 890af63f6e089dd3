# What networks and volumes ask of a kernel that not every machine's has: SCTP, links over links, file systems of servers.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
say() { echo "vm: $*"; }
# Tries for half a minute: what is waited for takes its time under emulation.
until_done() { for _ in $(seq 60); do "$@" >/dev/null 2>&1 && return; usleep 500000; done; echo "vm: in vain: $*"; "$@"; }

# The shell's own does not make pairs of links.
ip() { /bin/ip "$@"; }
refused() { if "$@" >/dev/null 2>&1; then say "should fail: $*"; exit 1; fi; }

for module in sctp nfsd nfs nfsv4; do
    modprobe "$module" || say "no module $module"
done
export DOCKER_HOST=unix:///run/docker.sock
start() {
    dockerd >>/run/dockerd.log 2>&1 -H "$DOCKER_HOST" &
    until_done docker version
}
start
tar -c -f /run/image.tar -C / $(cd / && ls -d bin/* lib/* | grep -v -e docker -e modules) lib64 usr etc
docker import --change 'CMD ["sh"]' /run/image.tar busybox >/dev/null
rm /run/image.tar
say "imported"

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

# Layers of ipvlan, and who is kept apart by macvlan.
for mode in l3 l3s; do
    docker network create -d ipvlan --subnet 10.84.0.0/24 -o parent=wire -o ipvlan_mode=$mode over >/dev/null
    docker run -d --name served --network over busybox httpd -f -p 80 -h /etc >/dev/null
    docker run --rm --network over busybox timeout 20 wget -q -O - http://served/group | grep -q '^root:'
    docker run --rm --network over busybox ip route | grep -q '^default dev eth0'
    docker rm -f served >/dev/null
    docker network rm over >/dev/null
    say "ipvlan $mode routes without a neighbour"
done
docker network create -d macvlan --subnet 10.84.0.0/24 -o parent=wire -o macvlan_mode=private over >/dev/null
docker run -d --name served --network over busybox httpd -f -p 80 -h /etc >/dev/null
refused docker run --rm --network over busybox timeout 3 wget -q -O - http://10.84.0.2/group
docker rm -f served >/dev/null
docker network rm over >/dev/null
say "containers on a private macvlan do not reach each other"

# A server of NFS on this machine, and volumes that are its folders.
mkdir -p /srv/files /proc/fs/nfsd /var/lib/nfs/v4recovery /run/sendsigs.omit.d
mount -t tmpfs tmpfs /srv/files
mkdir /srv/files/part
chmod 777 /srv/files /srv/files/part
echo "127.0.0.1 server" >/etc/hosts
mount -t nfsd nfsd /proc/fs/nfsd
: >/var/lib/nfs/etab
: >/var/lib/nfs/rmtab
echo '/srv/files *(rw,fsid=0,no_subtree_check,no_root_squash,insecure)' >/etc/exports
echo 10 >/proc/fs/nfsd/nfsv4leasetime
echo 10 >/proc/fs/nfsd/nfsv4gracetime
exportfs -ra
rpc.nfsd -N 3 -V 4 --no-udp 2
rpc.mountd -N 3 -V 4 -u
say "a server of NFS serves"
docker volume create -d local -o type=nfs -o device=:/ -o o=addr=server,nfsvers=4,rw shared >/dev/null
docker volume create -d local -o type=nfs -o device=:/part -o o=addr=127.0.0.1,nfsvers=4,ro part >/dev/null
docker run --rm -v shared:/data busybox sh -c 'echo written >/data/part/file'
[ "$(cat /srv/files/part/file)" = written ]
docker run -d --name reader -v shared:/data -v part:/part busybox sleep 10000 >/dev/null
[ "$(docker exec reader cat /part/file)" = written ]
refused docker exec reader touch /part/more
docker exec reader mount | grep -q '/data type nfs4'
folder=$(docker volume inspect --format '{{.Mountpoint}}' shared)
mount | grep -q "on $folder type nfs4"
say "volumes are folders of an NFS server, by name and by address, in parts and read-only"
kill -9 $(cat /var/run/docker.pid)
start
[ "$(docker exec reader cat /data/part/file)" = written ]
docker volume rm shared 2>&1 | grep -q 'volume is in use'
docker rm -f reader >/dev/null
refused grep -q ' nfs4 ' /proc/mounts
docker volume rm shared part >/dev/null
[ "$(cat /srv/files/part/file)" = written ]
say "the mounts outlive dockerd and end with their last container; the files stay"
docker volume create -d local -o type=nfs -o device=:/none -o o=addr=127.0.0.1,nfsvers=4 absent >/dev/null
docker run --rm -v absent:/data busybox true 2>&1 | grep 'failed to mount local volume: mount :/none:' | grep -q 'no such file or directory'
docker volume rm absent >/dev/null
say "a folder that the server lacks is told"

# Ports of SCTP: through the packet filter, through the relay, from this machine, another, and containers.
ip link add outer type veth peer name inner
ip address add 192.0.2.1/24 dev outer
ip link set outer up
unshare -n sleep 10000 &
other=$!
apart() { [ "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/self/ns/net)" ]; }
until_done apart
ip link set inner netns $other
nsenter -t $other -n /bin/ip address add 192.0.2.2/24 dev inner
nsenter -t $other -n /bin/ip link set inner up
docker network create town >/dev/null
docker run -d --name greeter --network town -p 9132:132/sctp -p 127.0.0.1:9133:132/sctp busybox \
    socat SCTP-LISTEN:132,fork,reuseaddr 'SYSTEM:read line; echo greetings to $line $SOCAT_PEERADDR' >/dev/null
[ "$(docker port greeter)" = "132/sctp -> 0.0.0.0:9132
132/sctp -> 127.0.0.1:9133
132/sctp -> [::]:9132" ]
docker run -d --name other busybox sleep 10000 >/dev/null
until_done docker exec greeter grep -q ' 132 ' /proc/net/sctp/eps
# Who has said its last hears nothing any more: SCTP has no half of a connection. The end of the words is not passed on.
ask() { echo "echo someone | timeout 40 socat -t 30 - SCTP:$1,shut-none"; }
greets() { grep -q 'greetings to someone'; }
for place in 127.0.0.1:9132 192.0.2.1:9132 '[::1]:9132' 127.0.0.1:9133; do
    sh -c "$(ask $place)" | greets
    say "SCTP from this machine to $place"
done
[ "$(nsenter -t $other -n sh -c "$(ask 192.0.2.1:9132)")" = 'greetings to someone 192.0.2.2' ]
say "SCTP from another machine, which is seen as the client"
refused sh -c "nsenter -t $other -n sh -c '$(ask 192.0.2.1:9133)' | grep -q greetings"
say "SCTP published on loopback is not reached from another machine"
docker run --rm --network town busybox sh -c "$(ask greeter:132)" | greets
say "SCTP between containers"
# The host has more addresses than the one that is asked, and SCTP tells them all: time and again the same.
docker run -d --name near --network town busybox sleep 10000 >/dev/null
gateway=$(docker network inspect -f '{{(index .IPAM.Config 0).Gateway}}' town)
for round in 1 2 3 4 5; do
    docker exec other sh -c "$(ask 192.0.2.1:9132)" | greets
    docker exec near sh -c "$(ask 192.0.2.1:9132)" | greets
done
say "SCTP from containers of another network, and of the same one, to the host's port"
docker exec greeter sh -c "$(ask $gateway:9132)" | greets
say "SCTP from a container to itself by its gateway"
docker rm -f near >/dev/null
docker rm -f greeter other >/dev/null
docker network rm town >/dev/null
kill $other
[ -z "$(docker ps -aq)" ]
