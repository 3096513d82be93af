# The daemon is killed under I/O and comes back, twice; the initiator logs in again by itself, and no byte is lost.
start_iscsid node.session.timeo.replacement_timeout=120
iscsiadm -m discovery -t sendtargets -p "$PORTAL" >/dev/null && iscsiadm -m node -l || die "login"
disk=$(wait_disks 1) || die "no disk"
# It writes, and reads again, until it is told to end: what it has lost of its time it makes good at once.
rm -f /run/stop
( until [ -e /run/stop ]; do
	fio --name=verify --filename="$disk" --size=4m --rw=write --bs=16k --ioengine=libaio --iodepth=4 --direct=1 --rate=1m \
		--verify=crc32c --verify_fatal=1 --do_verify=1 >/run/fio 2>&1 || exit 1
done ) &
fio=$!
for round in 1 2; do
	before=$(cat /sys/block/"${disk##*/}"/stat | awk '{ print $7 }')
	for n in $(seq 900); do # some more writes have ended, so that I/O is under way
		[ "$(awk '{ print $7 }' /sys/block/"${disk##*/}"/stat)" -gt $((before + 512)) ] && break
		kill -0 $fio 2>/dev/null || die "fio ended early: $(cat /run/fio)"
		sleep 0.1
	done
	signal writing-$round
	for n in $(seq 600); do
		[ "$(session_states)" != LOGGED_IN ] && break
		sleep 0.1
	done
	say "session $(session_states)"
	[ "$(session_states)" != LOGGED_IN ] || die "the session did not notice that the daemon is gone"
	signal lost-$round
	for n in $(seq 600); do
		[ "$(session_states)" = LOGGED_IN ] && break
		sleep 0.1
	done
	say "session $(session_states)"
	[ "$(session_states)" = LOGGED_IN ] || die "no session after the daemon came back: $(cat /run/iscsid.log)"
done
: >/run/stop
wait $fio || die "fio: $(cat /run/fio)"
grep -E 'READ:|WRITE:' /run/fio
iscsiadm -m node -u >/dev/null || die "logout"
