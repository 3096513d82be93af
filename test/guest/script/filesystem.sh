# A file system on the disk, under both digests.
start_iscsid 'node.conn[0].iscsi.HeaderDigest=CRC32C' 'node.conn[0].iscsi.DataDigest=CRC32C'
iscsiadm -m discovery -t sendtargets -p "$PORTAL" >/dev/null || die "discovery"
iscsiadm -m node -l || die "login: $(cat /run/iscsid.log)"
iscsiadm -m session -P 2 >/run/session
for digest in HeaderDigest DataDigest; do
	grep -q "$digest: CRC32C" /run/session || die "$digest was not agreed: $(cat /run/session)"
done
disk=$(wait_disks 1) || die "no disk"
mkfs.ext4 -q "$disk" || die "mkfs.ext4"
mount "$disk" /mnt || die "mount"
fio --name=verify --directory=/mnt --size=12m --rw=randwrite --bsrange=4k-64k --ioengine=libaio --iodepth=8 --direct=1 \
	--verify=crc32c --verify_fatal=1 --do_verify=1 >/run/fio 2>&1 || die "fio: $(cat /run/fio)"
grep -E 'READ:|WRITE:' /run/fio
head -c 3000000 /dev/urandom >/mnt/file || die "write"
sum=$(sha256sum </mnt/file)
umount /mnt || die "umount"
e2fsck -fn "$disk" >/run/fsck 2>&1 || die "e2fsck: $(cat /run/fsck)"
iscsiadm -m node -u >/dev/null || die "logout"
# a new session reads from the target what the old one left there
iscsiadm -m node -l >/dev/null || die "second login"
disk=$(wait_disks 1) || die "no disk after the second login"
mount "$disk" /mnt || die "second mount"
[ "$(sha256sum </mnt/file)" = "$sum" ] || die "the file differs after the second login"
umount /mnt
iscsiadm -m node -u >/dev/null || die "second logout"
