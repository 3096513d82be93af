# Disks that break: in each round fio writes all of every disk, at once, and reads it again, each block with a checksum
# and a number that only this round has. Linux tries again what fails; what fails for good ends the work on that disk. The
# host looks at what fio says.
# Nothing here needs what udev finds out of each disk, which takes longer than all of the rest.
udevadm control --exit
trap '/usr/lib/systemd/systemd-udevd --daemon' EXIT
start_iscsid
iscsiadm -m discovery -t sendtargets -p "$PORTAL" >/dev/null && iscsiadm -m node -l || die "login"
for n in $(seq 600); do [ "$(disks | wc -l)" = "$DISKS" ] && break; sleep 0.2; done
disks >/run/disks
[ "$(wc -l </run/disks)" = "$DISKS" ] || die "the disks are $(disks)"

{ # one job file: how each disk is used changes with its number
	echo '[global]'
	printf '%s\n' rw=randwrite size=2m direct=1 thread allrandrepeat=0 randrepeat=0 verify=crc32c do_verify=1 verify_fatal=0 fsync=64
	n=0
	while read -r disk; do
		engines=(libaio io_uring) sizes=(4k 16k 4k-32k)
		printf '%s\n' "[disk$n]" "filename=$disk" "ioengine=${engines[n % 2]}" "bsrange=${sizes[n % 3]}" "iodepth=$((1 + n * 3))"
		n=$((n + 1))
	done </run/disks
} | sed 's/^bsrange=\([0-9]*k\)$/bs=\1/' >/run/jobs

for round in $(seq "$ROUNDS"); do
	signal "ready-$round"
	await "set-$round"
	fio --output-format=json --output="/lab/fio-$round" /run/jobs >/run/fio.log 2>&1
	cp /run/fio.log "/lab/fio-$round.log"
	signal "done-$round"
done

# What is changed behind fio's back it finds: without this the rounds prove nothing.
disk=$(sed -n 1p /run/disks)
control() { fio --name=control --filename="$disk" --rw=write --bs=4k --size=256k --direct=1 --ioengine=libaio --iodepth=4 --randseed=7 --verify=crc32c --verify_fatal=1 "$@" >/run/fio.log 2>&1; }
control --do_verify=0 || die "the control: $(cat /run/fio.log)"
control --verify_only || die "what was written is not there: $(cat /run/fio.log)"
dd if=/dev/zero of="$disk" bs=512 seek=77 count=1 oflag=direct 2>/dev/null || die "dd"
control --verify_only && die "fio has not found what was changed"
grep -q 'verify: \|crc32c' /run/fio.log || die "fio found something else: $(cat /run/fio.log)"
iscsiadm -m node -u >/dev/null || die "logout"
