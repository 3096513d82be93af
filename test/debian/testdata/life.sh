# Runs with -eu as root on a machine with systemd.
rm -f /usr/sbin/policy-rc.d # of containers, in which nothing may be started
url=iscsi://127.0.0.1/iqn.2026-11.org.isantarget.test:san/0
die() { echo "$*"; systemctl status --no-pager isantarget.service isantarget.socket || true; journalctl --no-pager -n 50 || true; exit 1; }
serial() { iscsi-inq -e 1 -c 128 "$url" | sed -n 's/^Unit Serial Number:\[\(.*\)\]$/\1/p'; }
await() { for _ in $(seq 200); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; die "in vain: $*"; }

echo "== installed: it runs, as a user without privileges, and serves what is made"
dpkg -i /share/one.deb
systemctl is-active isantarget.service
systemctl is-enabled isantarget.service
[ "$(ps -o user:20= -p "$(systemctl show -P MainPID isantarget.service)")" = isantarget ] || die "it runs as another user"
isantarget version | grep -F 1.0
isantarget status
isantarget target create iqn.2026-11.org.isantarget.test:san
isantarget lun create vm1 --size 64MiB --store srv --target iqn.2026-11.org.isantarget.test:san
first=$(serial)
[ -n "$first" ] || die "the disk has no serial"
[ "$(stat -c %U:%a /srv/isantarget/vm1.img)" = isantarget:600 ] || die "the image is $(stat -c %U:%a /srv/isantarget/vm1.img)"
[ "$(stat -c %U:%a /var/lib/isantarget)" = isantarget:700 ] || die "the state is $(stat -c %U:%a /var/lib/isantarget)"
man -w isantarget >/dev/null 2>&1 || [ -s /usr/share/man/man8/isantarget.8.gz ]
for file in $(dpkg -L isantarget); do [ -e "$file" ] || case $file in /usr/share/doc/* | /usr/share/man/*) ;; *) die "$file is missing" ;; esac; done

echo "== configured: an edit is applied by a reload, and a wrong one is refused"
cp /etc/isantarget/isantarget.toml /root/before
printf '[[lun]]\nname = "vm2"\nstore = "srv"\nsize = "64MiB"\n' >>/etc/isantarget/isantarget.toml
systemctl reload isantarget.service
isantarget lun list | grep vm2
echo 'nonsense = 1' >>/etc/isantarget/isantarget.toml
! systemctl reload isantarget.service || die "a wrong file is applied"
isantarget lun list | grep vm2
cp /root/before /etc/isantarget/isantarget.toml

echo "== imported: with a secret that root writes, and the daemon can read"
[ "$(stat -c %U:%a /etc/isantarget/secrets)" = isantarget:700 ] || die "the secrets are $(stat -c %U:%a /etc/isantarget/secrets)"
install -o isantarget -g isantarget -m 600 /dev/null /srv/isantarget/vm3.img
truncate -s 64M /srv/isantarget/vm3.img
printf '<target iqn.2026-11.org.isantarget.test:tgt>\nbacking-store /srv/isantarget/vm3.img\nincominguser joe secret-of-joe\n</target>\n' >/root/targets.conf
isantarget import --apply --secrets /etc/isantarget/secrets /root/targets.conf
isantarget target list | grep iqn.2026-11.org.isantarget.test:tgt
isantarget target delete --yes iqn.2026-11.org.isantarget.test:tgt
isantarget lun delete --yes --delete-image vm3
rm /etc/isantarget/secrets/joe.secret

echo "== the socket: who connects while nothing runs waits until something does"
systemctl stop isantarget.service
systemctl enable --now isantarget.socket
! systemctl is-active isantarget.service
[ "$(serial)" = "$first" ] || die "not served over the socket"
systemctl is-active isantarget.service
isantarget status | grep 3260

echo "== a new version: it is running when dpkg is done, and the disk is the same"
dpkg -i /share/two.deb
await systemctl is-active isantarget.service
isantarget version | grep -F 1.1
[ "$(serial)" = "$first" ] || die "another disk"

echo "== removed: nothing runs, nothing listens, and everything that is not the package's stays"
dpkg -r isantarget
! systemctl is-active isantarget.service || die "it runs on"
! pidof isantarget || die "it runs on"
! (exec 3<>/dev/tcp/127.0.0.1/3260) 2>/dev/null || die "the port is open"
[ -e /etc/isantarget/isantarget.toml ]
[ ! -e /usr/bin/isantarget ]
dpkg -P isantarget
[ ! -e /etc/isantarget ] || die "the configuration is left: $(ls /etc/isantarget)"
[ -s /srv/isantarget/vm1.img ]
[ -z "$(find /etc/systemd -name 'isantarget*' ! -name isantarget-test.service)" ] || die "left: $(find /etc/systemd -name 'isantarget*')"

echo "== installed again: the same disk"
dpkg -i /share/two.deb
[ "$(serial)" = "$first" ] || die "another disk"
