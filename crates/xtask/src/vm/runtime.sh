#!/bin/sh
# The runtime's own tests on cgroup v2, with AppArmor in the kernel and systemd as the first process.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root DOCKER_RUNC=/bin/docker-runc DOCKER_RUNC_NEEDS="systemd apparmor criu"
for module in overlay veth loop tun nf_tables unix_diag tcp_diag udp_diag netlink_diag af_packet_diag nft_compat xt_mark; do
    modprobe "$module" 2>/dev/null || echo "vm: no module $module"
done
ip link set lo up
# What criu finds out of the kernel it keeps; it needs a loopback for that, which the tests' own namespace does not have.
criu check >/dev/null 2>&1 || echo "vm: criu does not start"
# Id-mapped mounts came to tmpfs later than this kernel.
dd if=/dev/zero of=/run/disk bs=1M count=0 seek=300 2>/dev/null
mke2fs -F /run/disk >/dev/null 2>&1
mount -t ext4 -o loop /run/disk /tmp || echo "vm: no file system for /tmp"
echo "vm: kernel $(uname -r), first process $(cat /proc/1/comm), AppArmor $(cat /sys/module/apparmor/parameters/enabled)"
# What strace(1) injects is the same on every kernel, and takes long under emulation.
runtime-suite --test-threads 2 --skip nothing_is_left >/run/suite.log 2>&1
code=$?
sed 's/^test /vm: /' /run/suite.log
if [ "$code" = 0 ]; then echo "VM TEST PASSED"; else echo "VM TEST FAILED"; fi
poweroff -f
