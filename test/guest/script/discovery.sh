# SendTargets names the target and the portal the guest can reach, and what it names can be logged in to and out of.
start_iscsid
iscsiadm -m discovery -t sendtargets -p "$PORTAL" >/run/found || die "discovery"
cat /run/found
[ "$(cat /run/found)" = "$PORTAL,1 $TARGET" ] || die "SendTargets did not name exactly $PORTAL,1 $TARGET"
iscsiadm -m node -T "$TARGET" -p "$PORTAL" -l || die "login: $(cat /run/iscsid.log)"
wait_disks 1 || die "no disk"
lsscsi
[ "$(session_states)" = LOGGED_IN ] || die "session $(session_states)"
iscsiadm -m node -T "$TARGET" -p "$PORTAL" -u || die "logout"
[ -z "$(session_states)" ] || die "after logout: $(session_states)"
