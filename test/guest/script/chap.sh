# Who does not know the secret stays out, and a target that does not know its own is left alone. MUTUAL is set where the
# target has to prove itself too. iscsiadm exits with 24 when the target refuses a login for its authentication, and
# with 19 when it does not like the target's answer.
start_iscsid
node() { iscsiadm -m node -T "$TARGET" -p "$PORTAL" "$@"; }
set_() { node -o update -n "node.session.auth.$1" -v "$2" || die "setting $1"; }
refused() { # refused STATUS WHAT
	node -l >/run/login 2>&1
	local status=$?
	say "$2: status $status: $(tail -1 /run/login)"
	[ "$status" = "$1" ] || die "$2: login ended with status $status, want $1: $(cat /run/login)"
	[ -z "$(session_states)" ] || die "$2: there is a session: $(session_states)"
}
accepted() {
	node -l >/run/login 2>&1 || die "$1: $(cat /run/login) $(cat /run/iscsid.log)"
	wait_disks 1 >/dev/null || die "$1: no disk"
	dd if="$(disks)" of=/dev/null bs=4k count=1 iflag=direct 2>/run/dd || die "$1: $(cat /run/dd)"
	node -u >/dev/null || die "$1: logout"
	say "$1: logged in and out"
}
node -o new >/dev/null || die "no record"
refused 24 "no CHAP"
set_ authmethod CHAP
set_ username alice
set_ password "not-$SECRET"
refused 24 "a wrong secret"
set_ password "$SECRET"
set_ username mallory
refused 24 "an unknown user"
set_ username alice
if [ -n "$MUTUAL" ]; then
	set_ username_in "$MUTUAL"
	set_ password_in "not-$SECRET_IN"
	refused 19 "a wrong secret of the target"
	set_ username_in not-"$MUTUAL"
	set_ password_in "$SECRET_IN"
	refused 19 "a wrong name of the target"
	set_ username_in "$MUTUAL"
fi
for algorithm in MD5 SHA1 SHA256 SHA3-256; do
	set_ chap_algs $algorithm
	accepted $algorithm
done
set_ chap_algs SHA3-256,SHA256,SHA1,MD5
accepted "all of them offered"
