# A SAN of the kernel's target, made by targetcli, as its users make theirs. The disks are looked at
# through open-iscsi before it is given up, and again where isantarget serves them.
for m in loop target_core_mod target_core_file target_core_iblock iscsi_target_mod; do
	modprobe $m || die "the guest's kernel has no $m"
done
mount -t configfs none /sys/kernel/config 2>/dev/null
mkdir -p /run/lio /etc/rtslib-fb-target /etc/target
mount -t tmpfs images /run/lio
truncate -s 2M /run/lio/block.img /run/lio/readonly.img
block=$(losetup --show -f /run/lio/block.img) && readonly=$(losetup --show -f /run/lio/readonly.img) || die "no loop device"

a=iqn.2003-01.org.linux-iscsi.lio.x8664:sn.a b=iqn.2003-01.org.linux-iscsi.lio.x8664:sn.b
cat >/run/commands <<-END
	/backstores/fileio create name=vm1 file_or_dev=/run/lio/vm1.img size=2M write_back=true
	/backstores/fileio create name=log file_or_dev=/run/lio/log.img size=2M write_back=false
	/backstores/fileio create name=aliased file_or_dev=/run/lio/aliased.img size=2M wwn=0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0
	/backstores/block create name=whole dev=$block
	/backstores/block create name=readonly dev=$readonly readonly=true
	/backstores/ramdisk create name=ram size=1M
	/backstores/fileio/aliased set attribute emulate_model_alias=1 emulate_tpu=1
	/backstores/fileio/vm1 set attribute emulate_model_alias=0
	/backstores/fileio/log set attribute block_size=4096
	/backstores/fileio/vm1/alua create name=slow tag=16
	/iscsi set discovery_auth enable=0
	/iscsi create $a
	/iscsi/$a/tpg1/luns create /backstores/fileio/vm1 lun=0
	/iscsi/$a/tpg1/luns create /backstores/fileio/log lun=3
	/iscsi/$a/tpg1/luns create /backstores/block/whole lun=1
	/iscsi/$a/tpg1/portals delete 0.0.0.0 3260
	/iscsi/$a/tpg1/portals create 127.0.0.1 3260
	/iscsi/$a/tpg1/portals create 127.0.0.1 3261
	/iscsi/$a/tpg1 set attribute authentication=1
	/iscsi/$a/tpg1/acls create ${INITIATOR} add_mapped_luns=true
	/iscsi/$a/tpg1/acls/${INITIATOR} set auth userid=joe password=secret-of-joe
	/iscsi/$a/tpg1/acls create iqn.2026-11.org.example:reader add_mapped_luns=false
	/iscsi/$a/tpg1/acls/iqn.2026-11.org.example:reader create 0 /backstores/fileio/vm1 write_protect=1
	/iscsi/$a/tpg1/acls/iqn.2026-11.org.example:reader create 1 /backstores/block/whole
	/iscsi/$a create 2
	/iscsi/$a/tpg2/luns create /backstores/fileio/vm1 lun=0
	/iscsi/$a/tpg2/portals delete 0.0.0.0 3260
	/iscsi/$a/tpg2/portals create 127.0.0.1 3262
	/iscsi create $b
	/iscsi/$b/tpg1/luns create /backstores/fileio/aliased lun=5
	/iscsi/$b/tpg1/luns create /backstores/ramdisk/ram lun=6
	/iscsi/$b/tpg1/portals delete 0.0.0.0 3260
	/iscsi/$b/tpg1/portals create 127.0.0.1 3260
	/iscsi/$b/tpg1 set attribute authentication=0 generate_node_acls=1 demo_mode_write_protect=0 cache_dynamic_acls=1
	/backstores/fileio/vm1/alua/slow set alua alua_access_state=1
	/iscsi/$a/tpg1/luns/lun0 set alua alua_tg_pt_gp_name=slow
	saveconfig /lab/saveconfig.json
END
mkdir -p /run/dbus
dbus-daemon --system --fork || die "D-Bus, which targetcli asks for tcmu-runner" # and ends, where it is not there
targetcli </run/commands >/run/targetcli.out 2>&1 || die "targetcli: $(cat /run/targetcli.out)"
[ -s /lab/saveconfig.json ] || die "targetcli saved nothing"

# look PORTAL: what an initiator knows each disk by, and what is in it
look() {
	udevadm settle -t 120
	local disk device target lun
	for disk in $(disks); do
		device=$(readlink -f "/sys/block/${disk##*/}/device")
		lun=${device##*:}
		target=$(cat "${device%%/target*}"/iscsi_session/*/targetname)
		{
			sg_inq "$disk" | grep -E 'Vendor|Product' # identification, and revision level
			sg_vpd --page=sn "$disk" | grep serial
			sg_vpd --page=di_lu --quiet "$disk"
			udevadm info --query=property "$disk" | grep -E '^ID_(SERIAL|SERIAL_SHORT|WWN|WWN_WITH_EXTENSION|VENDOR|MODEL|REVISION)='
			udevadm info --query=symlink "$disk" | tr ' ' '\n' | grep by-id | sort
			echo "bytes $(blockdev --getsize64 "$disk"), blocks of $(blockdev --getss "$disk"), read-only $(blockdev --getro "$disk")"
			dd if="$disk" bs=4k count=16 iflag=direct 2>/dev/null | sha256sum
		} | sed "s/^ */look ${target##*.} LUN $lun: /"
	done
}
login() { # everywhere at PORTAL
	iscsiadm -m discovery -t sendtargets -p "$1" || die "discovery at $1"
	iscsiadm -m node -T $a -o update -n node.session.auth.authmethod -v CHAP
	iscsiadm -m node -T $a -o update -n node.session.auth.username -v joe
	iscsiadm -m node -T $a -o update -n node.session.auth.password -v secret-of-joe
	iscsiadm -m node -l -p "$1" || die "login at $1"
	wait_disks "$2" >/run/disks || die "not $2 disks: $(disks)"
}
start_iscsid
login 127.0.0.1:3260 5
for disk in $(cat /run/disks); do
	head -c 64k /dev/urandom | dd of="$disk" bs=4k oflag=direct conv=fsync 2>/dev/null # the memory's as well
done
look | sort >/lab/before # sessions that begin at once have their numbers by chance
iscsiadm -m node -u >/dev/null || die "logout"
iscsiadm -m node -o delete
targetcli clearconfig confirm=True >/run/targetcli.out 2>&1 || die "targetcli: $(cat /run/targetcli.out)"
losetup -D
cp /run/lio/*.img /lab/ || die "the images"
umount /run/lio
signal given-up
await served 300
login "$PORTAL" 5
look | sort >/lab/after
iscsiadm -m node -u >/dev/null || die "logout"
