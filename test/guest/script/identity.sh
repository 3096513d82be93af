# Who the units are, as sg3-utils and udev see them.
start_iscsid
iscsiadm -m discovery -t sendtargets -p "$PORTAL" >/dev/null && iscsiadm -m node -l || die "login"
wait_disks 2 >/run/disks || die "not two disks: $(disks)"
sizes="67108864 134217728"
for disk in $(cat /run/disks); do
	size=${sizes%% *} sizes=${sizes#* }
	[ "$(blockdev --getsize64 "$disk")" = "$size" ] || die "$disk has $(blockdev --getsize64 "$disk") bytes, want $size"
	sg_turs "$disk" || die "TEST UNIT READY"
	sg_inq "$disk" >/run/inquiry || die "INQUIRY"
	grep -E 'Vendor|Product|Unit serial' /run/inquiry | sed 's/^ */designator /'
	for page in sv sn di bl bdc lbpv ei; do
		sg_vpd --page=$page "$disk" >/run/vpd 2>&1 || die "VPD page $page: $(cat /run/vpd)"
	done
	sg_vpd --page=di "$disk" >/run/di
	grep -q 'type: NAA' /run/di || die "VPD 83h has no NAA designator: $(cat /run/di)"
	grep -E '0x|eui|naa|iqn' /run/di | sed 's/^ */designator /'
	sg_opcodes "$disk" >/run/opcodes || die "REPORT SUPPORTED OPERATION CODES"
	for command in 'Inquiry' 'Read(16)' 'Write(16)' 'Write same(16)' 'Synchronize cache(10)' 'Get LBA status'; do
		grep -qiF "$command" /run/opcodes || die "the list of operation codes lacks $command: $(cat /run/opcodes)"
	done
	# what one page tells of UNMAP, the list must tell too
	sg_readcap --long "$disk" >/run/capacity || die "READ CAPACITY (16)"
	thin=$(grep -c 'lbpme=1' /run/capacity) unmap=$(grep -c ' Unmap' /run/opcodes)
	[ "$thin" = "$unmap" ] || die "thin $thin, but UNMAP in the list of operation codes $unmap"
	sg_opcodes --tmf "$disk" >/run/tmf || die "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS"
	sg_modes "$disk" >/run/modes || die "MODE SENSE"
	grep -qi caching /run/modes || die "no caching page: $(cat /run/modes)"
	sg_logs "$disk" >/run/logs || die "LOG SENSE"
	sg_requests "$disk" >/run/requests 2>&1 || die "REQUEST SENSE"
	naa=$(sg_vpd --page=di --quiet "$disk" | sed -n 's/^ *0x6/6/p' | head -1)
	[ -e "/dev/disk/by-id/scsi-3$naa" ] || die "udev made no /dev/disk/by-id/scsi-3$naa: $(ls /dev/disk/by-id)"
	[ "$(readlink -f "/dev/disk/by-id/scsi-3$naa")" = "$disk" ] || die "scsi-3$naa is another disk"
done
sg_luns "$(head -1 /run/disks)" >/run/luns || die "REPORT LUNS"
[ "$(grep -c '^ *0[0-9a-f]\{15\}' /run/luns)" = 2 ] || die "REPORT LUNS does not name two units: $(cat /run/luns)"
[ "$(grep -c '^designator.*0x6' <(for d in $(cat /run/disks); do sg_vpd --page=di "$d" | sed 's/^ */designator /'; done | sort -u))" -ge 2 ] || die "two units share a designator"
iscsiadm -m node -u >/dev/null || die "logout"
