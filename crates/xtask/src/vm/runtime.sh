#!/bin/sh
# The runtime's own tests on cgroup v2, with AppArmor in the kernel and systemd as the first process.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root DOCKER_RUNC=/bin/docker-runc
for module in overlay veth loop unix_diag inet_diag netlink_diag; do
    modprobe "$module" 2>/dev/null || echo "vm: no module $module"
done
ip link set lo up
# Id-mapped mounts came to tmpfs later than this kernel.
dd if=/dev/zero of=/run/disk bs=1M count=0 seek=300 2>/dev/null
mke2fs -F /run/disk >/dev/null 2>&1
mount -t ext4 -o loop /run/disk /tmp || echo "vm: no file system for /tmp"
echo "vm: kernel $(uname -r), first process $(cat /proc/1/comm), AppArmor $(cat /sys/module/apparmor/parameters/enabled)"
# What strace(1) injects is the same on every kernel, and takes long under emulation.
runtime-suite --test-threads 2 --skip whatever_step_fails >/run/suite.log 2>&1
code=$?
sed 's/^test /vm: /' /run/suite.log
if [ "$code" = 0 ]; then echo "VM TEST PASSED"; else echo "VM TEST FAILED"; fi
poweroff -f
