# Copies by the target itself, as ddpt and sg3-utils ask for them, and SANITIZE. Of
# ROD tokens (ODX) only the page: ddpt 0.98 leaves out the first byte of the number
# of blocks in a range descriptor, so that it asks for another number.
start_iscsid
iscsiadm -m discovery -t sendtargets -p "$PORTAL" >/dev/null && iscsiadm -m node -l || die "login"
set -- $(wait_disks 2) || die "no disks"
from=$1 to=$2
sg() { for s in /sys/block/"${1##*/}"/device/scsi_generic/*; do echo "/dev/${s##*/}"; done; }
same() { # same COUNT: the first COUNT MiB of both disks are the same
	blockdev --flushbufs "$from" "$to"
	dd if="$from" of=/run/one bs=1M count="$1" iflag=direct 2>/dev/null
	dd if="$to" bs=1M count="$1" iflag=direct 2>/dev/null | cmp - /run/one || die "$2: the copy differs"
}
fill() { dd if=/dev/urandom of="$from" bs=1M count="$1" oflag=direct iflag=fullblock 2>/run/dd || die "write: $(cat /run/dd)"; }

sg_vpd --page=tpc "$from" >/run/tpc || die "VPD 8Fh"
grep -q 'Populate token' /run/tpc || die "VPD 8Fh does not name POPULATE TOKEN: $(cat /run/tpc)"
sg_copy_results --params "$from" >/run/params || die "RECEIVE COPY OPERATING PARAMETERS"

fill 16
ddpt --xcopy if="$(sg "$from")" of="$(sg "$to")" bs=512 count=32768 >/run/ddpt 2>&1 || die "ddpt --xcopy: $(cat /run/ddpt)"
same 16 "ddpt --xcopy"
fill 8
sg_xcopy if="$(sg "$from")" of="$(sg "$to")" bs=512 count=16384 >/run/xcopy 2>&1 || die "sg_xcopy: $(cat /run/xcopy)"
same 16 "sg_xcopy"
say "copied"

sg_sanitize --overwrite --zero --count=1 --quick --wait "$(sg "$to")" >/run/sanitize 2>&1 || die "sg_sanitize --overwrite: $(cat /run/sanitize)"
blockdev --flushbufs "$to"
dd if="$to" bs=1M count=16 iflag=direct 2>/dev/null | cmp -n 16777216 - /dev/zero || die "what was sanitized can be read"
sg_sanitize --block --quick --early "$(sg "$from")" >/run/sanitize 2>&1 || die "sg_sanitize --block: $(cat /run/sanitize)"
for n in $(seq 600); do sg_turs "$from" >/dev/null 2>&1 && break; sleep 0.2; done
blockdev --flushbufs "$from"
dd if="$from" bs=1M count=16 iflag=direct 2>/dev/null | cmp -n 16777216 - /dev/zero || die "what was erased can be read"
iscsiadm -m node -u >/dev/null || die "logout"
