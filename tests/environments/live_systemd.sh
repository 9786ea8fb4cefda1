#!/bin/bash
# Runs the systemd of this machine as the first process of namespaces of its own, over a copy of / in memory.
#
#   live_systemd.sh FOLDER     which has units in system/, is /srv/lab inside, and is told of through ready
#
# Called by live_systemd.py, within `unshare`. Of the machine itself nothing is written: not a file, for each folder lies in
# memory; not a setting of its kernel, for /proc/sys and /sys are read-only; and rights over its clock and modules are given up.
set -euo pipefail
folder=$1 root=$1/root
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$root"
mkdir "$root"/{upper,work,all}
mount -t overlay -o "lowerdir=/,upperdir=$root/upper,workdir=$root/work" overlay "$root/all"
cd "$root/all"

mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t tmpfs tmpfs sys/fs/cgroup
mount -t cgroup2 cgroup2 sys/fs/cgroup
for each in run tmp var/tmp var/log var/lib srv; do mount -t tmpfs -o mode=755 tmpfs "$each"; done
chmod 1777 tmp var/tmp
mount -t tmpfs -o mode=755 tmpfs dev
for each in null zero full random urandom tty; do
  touch "dev/$each"
  mount --bind "/dev/$each" "dev/$each"
done
mkdir dev/shm dev/pts srv/lab
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s /proc/self/fd dev/fd
ln -s pts/ptmx dev/ptmx
mount --bind "$folder" srv/lab
while read -r from to; do
  mkdir -p ".$to"
  mount --bind "$from" ".$to"
  mount -o remount,bind,ro ".$to"
done <"$folder/binds"

rm -rf etc/systemd/system etc/microshare-forwarder
mkdir etc/systemd/system
cp srv/lab/system/* etc/systemd/system/
echo 0123456789abcdef0123456789abcdef >etc/machine-id
# Of a whole system's services none is needed.
for each in sysinit timers; do
  printf '[Unit]\nDefaultDependencies=no\n' >"etc/systemd/system/$each.target"
done
cat >etc/systemd/system/lab.target <<'UNIT'
[Unit]
Requires=systemd-journald.service ready.service
After=systemd-journald.service ready.service
UNIT
cat >etc/systemd/system/ready.service <<'UNIT'
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'echo ready >/srv/lab/ready'
UNIT

mkdir old
pivot_root . old
umount -l old
# As the first process does it by itself where it is not in a container; credentials need it.
mount --make-rshared /
export container=lab
exec setpriv --bounding-set=-sys_time,-sys_module,-sys_rawio,-syslog,-sys_boot \
  /lib/systemd/systemd --system --unit=lab.target --log-target=console
