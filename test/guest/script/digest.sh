# Each mix of digests: what is offered is agreed, and data passes both ways.
start_iscsid
head -c 1048576 /dev/urandom >/run/data
iscsiadm -m node -o new -T "$TARGET" -p "$PORTAL" >/dev/null || die "no record"
for header in None CRC32C; do
	for data in None CRC32C; do
		iscsiadm -m node -o update -n 'node.conn[0].iscsi.HeaderDigest' -v $header
		iscsiadm -m node -o update -n 'node.conn[0].iscsi.DataDigest' -v $data
		iscsiadm -m node -l >/dev/null || die "login with $header, $data: $(cat /run/iscsid.log)"
		iscsiadm -m session -P 2 | grep -E 'HeaderDigest|DataDigest' | xargs >/run/agreed
		[ "$(cat /run/agreed)" = "HeaderDigest: $header DataDigest: $data" ] || die "wanted $header, $data, agreed $(cat /run/agreed)"
		disk=$(wait_disks 1) || die "no disk"
		dd if=/run/data of="$disk" bs=256k oflag=direct 2>/run/dd || die "write: $(cat /run/dd)"
		echo 3 >/proc/sys/vm/drop_caches
		dd if="$disk" bs=256k count=4 iflag=direct 2>/run/dd | cmp - /run/data || die "header $header, data $data: other data came back"
		iscsiadm -m node -u >/dev/null || die "logout"
		say "header $header, data $data"
	done
done
