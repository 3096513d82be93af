package main

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/provision"
)

// banner says what is served, and by which commands it is used.
func banner(r provision.Report) string {
	var b strings.Builder
	luns := map[string]provision.LUNReport{}
	for _, l := range r.LUNs {
		luns[l.Name] = l
	}
	for _, t := range r.Targets {
		fmt.Fprintf(&b, "%s\n  on %s, for %s\n", t.Name, strings.Join(t.Portals, ", "), audience(t))
		for _, n := range slices.Sorted(maps.Keys(t.LUNs)) {
			fmt.Fprintf(&b, "  LUN %d: %s\n", n, describe(luns[t.LUNs[n]]))
		}
	}
	for _, t := range r.Targets {
		if len(t.LUNs) > 0 && len(t.Portals) > 0 {
			b.WriteString("\nLogins are accepted. To use it:\n")
			commands(&b, t)
			break
		}
	}
	return b.String()
}

// audience is who may log in.
func audience(t provision.TargetReport) string {
	switch t.Access {
	case configs.Open:
		return "everybody"
	case configs.Loopback:
		return "this host only"
	}
	return "those whom its rules name"
}

func describe(l provision.LUNReport) string {
	what := l.Name + ", "
	if l.Failure != nil {
		return what + "not ready: " + l.Failure.Error()
	}
	what += fmt.Sprintf("%s, %s", humanize.IBytes(uint64(l.Size)), l.Kind)
	if l.Path != "" {
		what += " " + l.Path
	}
	return what
}

// commands are those that use the first LUN of t from this host.
func commands(b *strings.Builder, t provision.TargetReport) {
	portal := t.Portals[0]
	first := slices.Sorted(maps.Keys(t.LUNs))[0]
	if c := t.CHAP; c != nil {
		fmt.Fprintf(b, "  export LIBISCSI_CHAP_USERNAME=%s LIBISCSI_CHAP_PASSWORD=%s\n", quote(c.User), secretOf(c))
	}
	fmt.Fprintf(b, "  iscsi-ls -s iscsi://%s\n", portal)
	fmt.Fprintf(b, "  qemu-img info iscsi://%s/%s/%d\n", portal, t.Name, first)
	host, port, _ := net.SplitHostPort(portal)
	node := fmt.Sprintf("iscsiadm -m node -T %s -p %s", t.Name, net.JoinHostPort(host, port))
	fmt.Fprintf(b, "  iscsiadm -m discovery -t sendtargets -p %s\n", portal)
	if c := t.CHAP; c != nil {
		fmt.Fprintf(b, "  %s -o update -n node.session.auth.authmethod -v CHAP\n", node)
		fmt.Fprintf(b, "  %s -o update -n node.session.auth.username -v %s\n", node, quote(c.User))
		fmt.Fprintf(b, "  %s -o update -n node.session.auth.password -v %s\n", node, secretOf(c))
	}
	fmt.Fprintf(b, "  %s --login\n", node)
}

// secretOf is how a shell gets the secret; we never print it.
func secretOf(c *configs.Credential) string {
	if c.SecretEnv != "" {
		return `"$` + c.SecretEnv + `"`
	}
	return `"$(cat ` + quote(c.SecretFile) + `)"`
}

// quote is word as a shell takes it.
func quote(word string) string {
	if strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:@%+=,") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
