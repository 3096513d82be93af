# Units of other kinds, in the order of their numbers: 4096-byte blocks, 4096-byte physical blocks, read-only, removable,
# fixed.
start_iscsid
iscsiadm -m discovery -t sendtargets -p "$PORTAL" >/dev/null && iscsiadm -m node -l || die "login"
wait_disks 5 >/run/disks || die "not five disks: $(disks)"
set -- $(cat /run/disks)
lsscsi -s
attribute() { # attribute DISK NAME WANT
	local got
	got=$(cat "/sys/block/${1##*/}/$2")
	[ "$got" = "$3" ] || die "$1: $2 is $got, want $3"
}
attribute "$1" queue/logical_block_size 4096
attribute "$1" queue/physical_block_size 4096
mkfs.ext4 -q "$1" && mount "$1" /mnt && head -c 1000000 /dev/urandom >/mnt/file && umount /mnt && e2fsck -fn "$1" >/run/fsck 2>&1 ||
	die "a file system on 4096-byte blocks: $(cat /run/fsck)"
attribute "$2" queue/logical_block_size 512
attribute "$2" queue/physical_block_size 4096
attribute "$3" ro 1
[ "$(dd if="$3" bs=64k count=1 iflag=direct 2>/dev/null | tr -d '\167' | wc -c)" = 0 ] || die "the read-only unit does not hold its data"
generic=/dev/$(ls "/sys/block/${3##*/}/device/scsi_generic") # the kernel does not open the disk for writing
if sg_write_same --10 --in=/dev/zero --lba=0 --num=1 --xferlen=512 "$generic" 2>/run/refused; then die "the read-only unit was written"; fi
grep -qi 'data protect\|write protected' /run/refused || die "refused without DATA PROTECT: $(cat /run/refused)"
attribute "$4" removable 1
sg_prevent --prevent=1 "$4" || die "PREVENT"
if sg_start --eject "$4" 2>/run/refused; then die "ejected while removal is prevented"; fi
sg_prevent --allow "$4" || die "ALLOW"
sg_start --eject "$4" || die "eject"
if sg_turs "$4" 2>/run/refused; then die "ready after the medium was ejected"; fi
sg_start --load "$4" || die "load"
sg_turs "$4" >/dev/null 2>&1; sg_turs "$4" || die "not ready after the medium was loaded"
sg_readcap --long "$5" >/run/capacity || die "READ CAPACITY (16)"
grep -q 'lbpme=0' /run/capacity || die "a fixed unit says that it is thin: $(cat /run/capacity)"
if sg_unmap --force --lba=0 --num=8 "$5" 2>/run/refused; then die "a fixed unit did UNMAP"; fi
iscsiadm -m node -u >/dev/null || die "logout"
