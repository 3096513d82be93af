# A disk that grows under a mounted file system.
start_iscsid 'node.session.timeo.replacement_timeout=120'
iscsiadm -m discovery -t sendtargets -p "$PORTAL" >/dev/null || die "discovery"
iscsiadm -m node -l >/dev/null || die "login: $(cat /run/iscsid.log)"
disk=$(wait_disks 1) || die "no disk"
[ "$(blockdev --getsize64 "$disk")" = $((64 << 20)) ] || die "the disk has $(blockdev --getsize64 "$disk") bytes"
mkfs.ext4 -q -E resize=1g "$disk" || die "mkfs.ext4"
mount "$disk" /mnt || die "mount"
yes "$RANDOM old" | head -c 5000000 >/mnt/old || die "write"
sum=$(sha256sum </mnt/old)
# writes go on while it grows
( while [ ! -e /run/stop ]; do yes "$RANDOM" | head -c 500000 >/mnt/busy && sync /mnt/busy || echo bad >/run/bad; sleep 0.5; done ) &
busy=$!
signal mounted
await grown
# the kernel hears of it by a unit attention of the next command, and says so
for n in $(seq 600); do dmesg | grep -qi 'capacity data has changed' && break; sleep 0.2; done
dmesg | grep -qi 'capacity data has changed' || die "no unit attention: $(dmesg | tail -20)"
iscsiadm -m session -R >/dev/null || die "rescan"
for n in $(seq 100); do [ "$(blockdev --getsize64 "$disk")" = $((256 << 20)) ] && break; sleep 0.1; done
[ "$(blockdev --getsize64 "$disk")" = $((256 << 20)) ] || die "after the rescan the disk has $(blockdev --getsize64 "$disk") bytes"
resize2fs "$disk" >/run/resize 2>&1 || die "resize2fs: $(cat /run/resize)"
: >/run/stop
wait $busy
[ -e /run/bad ] && die "a write failed while the disk grew"
[ "$(df --output=size -k /mnt | tail -1)" -gt 200000 ] || die "the file system has $(df -k /mnt)"
fallocate -l 150M /mnt/filler || die "there is no more room than before"
yes "$RANDOM new" | head -c 10000000 >/mnt/new || die "write into the new part"
new=$(sha256sum </mnt/new)
sync
signal resized
# the daemon is killed and comes back; the session with it
for n in $(seq 300); do [ "$(session_states)" != LOGGED_IN ] && break; sleep 0.2; done
signal lost
for n in $(seq 600); do [ "$(session_states)" = LOGGED_IN ] && break; sleep 0.2; done
echo 3 >/proc/sys/vm/drop_caches
[ "$(sha256sum </mnt/old)" = "$sum" ] || die "the old file differs"
[ "$(sha256sum </mnt/new)" = "$new" ] || die "the new file differs"
umount /mnt || die "umount"
e2fsck -fn "$disk" >/run/fsck 2>&1 || die "e2fsck: $(cat /run/fsck)"
iscsiadm -m node -u >/dev/null || die "logout"
iscsiadm -m node -l >/dev/null || die "second login"
disk=$(wait_disks 1) || die "no disk after the second login"
[ "$(blockdev --getsize64 "$disk")" = $((256 << 20)) ] || die "after the restart the disk has $(blockdev --getsize64 "$disk") bytes"
mount "$disk" /mnt || die "second mount"
[ "$(sha256sum </mnt/new)" = "$new" ] || die "the new file differs after the second login"
umount /mnt
iscsiadm -m node -u >/dev/null || die "second logout"
