# What sg3-utils asks of a thin unit; the host looks at the image after each step.
start_iscsid
iscsiadm -m discovery -t sendtargets -p "$PORTAL" >/dev/null && iscsiadm -m node -l || die "login"
disk=$(wait_disks 1) || die "no disk"
step() { say "$1"; signal "$1"; await "$1-seen"; }
mapped() { # mapped LBA: GET LBA STATUS says that the extent which begins at LBA is mapped
	sg_get_lba_status --lba="$1" "$disk" >/run/status || die "GET LBA STATUS: $(cat /run/status)"
	grep -q "LBA: $(printf '0x%016x' "$1")" /run/status || die "no extent begins at $1: $(cat /run/status)"
	grep -m1 'LBA: ' /run/status | grep -q ' mapped'
}

sg_vpd --page=lbpv "$disk" >/run/lbpv || die "VPD B2h"
cat /run/lbpv
grep -q 'Unmap command supported (LBPU): 1' /run/lbpv || die "VPD B2h says that there is no UNMAP"
sg_readcap --long "$disk" >/run/capacity || die "READ CAPACITY (16)"
grep -q 'lbpme=1' /run/capacity || die "READ CAPACITY (16) does not say that the unit is thin: $(cat /run/capacity)"
mapped 0 && die "a new unit is mapped: $(cat /run/status)"
step created

tr '\0' '\132' </dev/zero | head -c 16777216 | dd of="$disk" bs=1M oflag=direct iflag=fullblock 2>/run/dd || die "write: $(cat /run/dd)"
sg_sync "$disk" || die "SYNCHRONIZE CACHE"
mapped 0 || die "a written extent is not mapped: $(cat /run/status)"
step written

sg_unmap --force --lba=8192 --num=8192 "$disk" || die "UNMAP"
mapped 8192 && die "an unmapped extent is mapped: $(cat /run/status)"
dd if="$disk" bs=1M skip=4 count=4 iflag=direct 2>/dev/null | cmp -n 4194304 - /dev/zero || die "unmapped blocks do not read as zeros"
dd if="$disk" bs=1M skip=8 count=1 iflag=direct 2>/dev/null | tr -d '\132' | cmp - /dev/null || die "UNMAP reached beyond its extent"
step unmapped

sg_write_same --16 --unmap --lba=16384 --num=8192 --xferlen=512 "$disk" || die "WRITE SAME (16) with UNMAP"
mapped 16384 && die "an extent unmapped by WRITE SAME is mapped: $(cat /run/status)"
step write-same-unmapped

tr '\0' '\245' </dev/zero | head -c 512 >/run/block
sg_write_same --16 --in=/run/block --lba=65536 --num=4096 --xferlen=512 "$disk" || die "WRITE SAME (16)"
dd if="$disk" bs=1M skip=32 count=2 iflag=direct 2>/dev/null | tr -d '\245' | cmp - /dev/null || die "WRITE SAME wrote something else"
for n in 1 2 3 4 5 6 7 8; do cat /run/block; done >/run/eight
sg_verify --16 --lba=65536 --count=8 --ndo=4096 --in=/run/eight "$disk" || die "VERIFY (16) with the same data"
if sg_verify --16 --lba=0 --count=1 --ndo=512 --in=/run/block "$disk" 2>/run/verify; then die "VERIFY (16) with other data passed"; fi
step write-same-pattern

blkdiscard "$disk" || die "blkdiscard"
mapped 0 && die "after discarding all, block 0 is mapped: $(cat /run/status)"
step discarded
iscsiadm -m node -u >/dev/null || die "logout"
