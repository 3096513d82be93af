# fio writes and verifies while the daemon's configuration changes around its disk. Nothing of it is to be noticed here.
start_iscsid
iscsiadm -m discovery -t sendtargets -p "$PORTAL" >/dev/null && iscsiadm -m node -T "$TARGET" -l || die "login"
disk=$(wait_disks 1) || die "no disk"
session=$(ls /sys/class/iscsi_session)
load() { # load WHEN: every block that is written is read again and compared
	fio --name=load --filename="$disk" --size=2m --rw=randwrite --bs=4k --ioengine=libaio --iodepth=8 --direct=1 --loops=2 \
		--verify=crc32c --verify_fatal=1 --do_verify=1 --output-format=json >/run/fio 2>&1 || die "fio $1: $(cat /run/fio)"
	say "p99 $1, in ms, writing and reading again:" $(sed -n 's/.*"99.000000" : \([0-9]*\)[0-9]\{6\},*/\1/p' /run/fio)
}
load "while nothing changes"
dmesg -C
cp /run/iscsid.log /run/iscsid.before
signal loaded
while [ ! -e /lab/changed ]; do load "under changes"; done
cmp /run/iscsid.before /run/iscsid.log || die "iscsid had something to say: $(cat /run/iscsid.log)"
# Of timers that are late, as on a machine that is busy, it may.
dmesg | grep -i 'scsi\|sd[a-z]\|connection[0-9]\|session[0-9]\|i/o error\|blk\|block' && die "the kernel had something to say"
[ "$(ls /sys/class/iscsi_session)" = "$session" ] && [ "$(session_states)" = LOGGED_IN ] || die "another session: $(ls /sys/class/iscsi_session) $(session_states)"
iscsiadm -m node -u >/dev/null || die "logout"
