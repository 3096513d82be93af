# The daemon is told to end while a session writes: the initiator hears of it by an Async Message, logs out, and when
# the daemon is there again goes on.
start_iscsid node.session.timeo.replacement_timeout=120
iscsiadm -m discovery -t sendtargets -p "$PORTAL" >/dev/null && iscsiadm -m node -l || die "login"
disk=$(wait_disks 1) || die "no disk"
fio --name=verify --filename="$disk" --size=6m --rw=write --bs=16k --ioengine=libaio --iodepth=4 --direct=1 --rate=1m \
	--verify=crc32c --verify_fatal=1 --do_verify=1 >/run/fio 2>&1 &
fio=$!
for n in $(seq 300); do
	[ "$(awk '{ print $7 }' /sys/block/"${disk##*/}"/stat)" -gt 512 ] && break
	sleep 0.1
done
signal writing
for n in $(seq 900); do
	grep -qi 'requests logout' /run/iscsid.log && break
	sleep 0.1
done
wait $fio || die "fio: $(cat /run/fio)"
for n in $(seq 900); do
	[ "$(session_states)" = LOGGED_IN ] && break
	sleep 0.1
done
[ "$(session_states)" = LOGGED_IN ] || die "no session after the daemon came back: $(cat /run/iscsid.log)"
grep -i 'requests logout' /run/iscsid.log || die "iscsid says nothing of a request to log out: $(cat /run/iscsid.log)"
iscsiadm -m node -u >/dev/null || die "logout"
