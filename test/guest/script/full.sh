# A thin unit that is bigger than the file system below it: fio fills it, Linux hears of the threshold and of the writes
# that found no space, and of no others. It hears of the threshold twice, of the file system's and of the unit's, the
# second time at any moment. The host looks at the image, and makes room.
start_iscsid
iscsiadm -m discovery -t sendtargets -p "$PORTAL" >/dev/null && iscsiadm -m node -l || die "login"
disk=$(wait_disks 1) || die "no disk"
step() { say "$1"; signal "$1"; await "$1-seen"; }
# used: the sets of 2^11 blocks that the log page says the unit has
used() { heard sg_logs --page=0xc "$disk" >/run/log || die "log page 0Ch: $(cat /run/log)"; sed -n '/Used LBA mapping.*count:/s/.*: *//p' /run/log; }
fill() { # fill BYTE SKIP_MIB SIZE_MIB, into /run/fio
	fio --name=fill --filename="$disk" --rw=write --bs=64k --direct=1 --ioengine=libaio --iodepth=4 --buffer_pattern="$1" \
		--offset="$2m" --size="$3m" --output-format=json --output=/run/fio >/run/fio.log 2>&1
}

sg_vpd --page=lbpv "$disk" >/run/lbpv || die "VPD B2h"
grep -q 'Threshold exponent: 11' /run/lbpv || die "VPD B2h tells no sets of 2^11 blocks: $(cat /run/lbpv)"
heard sg_logs --page=0xc "$disk" >/run/log || die "log page 0Ch"
cat /run/log
[ "$(used)" = 0 ] || die "a new unit has $(used) sets"
for n in $(seq 600); do
	heard sg_modes --page=0x1c,2 --hex "$disk" >/run/modes || die "mode page 1Ch/02h"
	grep -q ' 80 01 ' /run/modes && break
	sleep 0.2
done
grep -q ' 80 01 ' /run/modes || die "no threshold of what is available is enabled: $(cat /run/modes)"

fill 0xa5 0 "$MIB" && die "fio met no error: $(cat /run/fio)"
grep -q '"error" : 28,' /run/fio || die "fio's error is not ENOSPC: $(cat /run/fio /run/fio.log)"
for n in $(seq 300); do
	sg_turs "$disk" >/dev/null 2>&1
	dmesg | grep -q 'thin provisioning soft threshold' && break
	sleep 0.2
done
dmesg | grep -q 'thin provisioning soft threshold' || die "Linux has not heard of the threshold"
dmesg | grep -qi 'medium error\|hardware error\|i/o error' && die "Linux heard of something else: $(dmesg | tail)"
heard sg_sync "$disk" || die "SYNCHRONIZE CACHE of a full unit"
used >/lab/used
heard sg_get_lba_status --lba=0 "$disk" | grep -m1 'LBA: ' | grep -q ' mapped' || die "block 0 is not mapped"
heard sg_get_lba_status --lba=$(((MIB - 1) * 2048)) "$disk" | grep -m1 'LBA: ' | grep -q ' mapped' && die "the blocks at the end are mapped"
step full

fill 0x5a 0 4 || die "overwriting on a full file system: $(cat /run/fio.log)"
dd if="$disk" bs=1M count=4 iflag=direct 2>/dev/null | tr -d '\132' | cmp - /dev/null || die "what was overwritten is not there"
step overwritten

for n in $(seq 300); do # the host has made room
	fill 0x3c $((MIB - 4)) 4 && break
	sleep 0.5
done
grep -q '"error" : 0,' /run/fio || die "the unit does not go on although there is room: $(cat /run/fio.log)"
heard sg_sync "$disk" || die "SYNCHRONIZE CACHE"
step went-on

blkdiscard "$disk" || die "blkdiscard"
[ "$(used)" = 0 ] || die "after discarding all the unit has $(used) sets"
iscsiadm -m node -u >/dev/null || die "logout"
