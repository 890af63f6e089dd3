#!/bin/busybox sh
# The first root cannot be pivoted away from: the image moves into a tmpfs, which can.
/bin/busybox mkdir /new
/bin/busybox mount -t tmpfs -o size=90% tmpfs /new
/bin/busybox cp -a /image/. /new/
/bin/busybox rm -rf /image
exec /bin/busybox switch_root /new /sbin/init
