package importer

import (
	"fmt"
	"regexp"
	"strings"
)

// A Kind is a target whose configuration can be read.
type Kind string

// The kinds.
const (
	Targetcli Kind = "targetcli" // saveconfig.json of targetcli and rtslib (LIO)
	TGT       Kind = "tgt"       // targets.conf of tgt-admin, and what its --dump prints
	TGTAdm    Kind = "tgtadm"    // what `tgtadm --lld iscsi --op show --mode target` prints
	ISTGT     Kind = "istgt"     // istgt.conf
	Gotgt     Kind = "gotgt"     // config.json
	CTL       Kind = "ctl"       // ctl.conf of FreeBSD's ctld
	SCST      Kind = "scst"      // scst.conf of scstadmin
)

// Kinds are all of them.
func Kinds() []Kind { return []Kind{Targetcli, TGT, TGTAdm, ISTGT, Gotgt, CTL, SCST} }

// signs are what a configuration of a kind has and those of the others have not.
func signs() []struct {
	kind Kind
	sign *regexp.Regexp
} {
	return []struct {
		kind Kind
		sign *regexp.Regexp
	}{
		{Targetcli, regexp.MustCompile(`(?s)^\s*\{.*"(storage_objects|fabric_modules)"\s*:`)},
		{Gotgt, regexp.MustCompile(`(?s)^\s*\{.*"(iscsitargets|iscsiportals|storages)"\s*:`)},
		{TGT, regexp.MustCompile(`(?m)^\s*(<target\s|default-driver\s)`)},
		{TGTAdm, regexp.MustCompile(`(?m)^Target \d+: `)},
		{ISTGT, regexp.MustCompile(`(?mi)^\s*\[(Global|LogicalUnit\d+|PortalGroup\d+)\]`)},
		{SCST, regexp.MustCompile(`(?m)^\s*(HANDLER|TARGET_DRIVER|DEVICE_GROUP|setup_id)\s`)},
		{CTL, regexp.MustCompile(`(?m)^\s*(target|portal-group|auth-group|lun|controller|transport-group)\s.*\{`)},
	}
}

// Detect tells what wrote a configuration.
func Detect(text string) (Kind, error) {
	for _, s := range signs() {
		if s.sign.MatchString(text) {
			return s.kind, nil
		}
	}
	return "", fmt.Errorf("this is no configuration of a target that is known here; say of which with --from, one of %s", words(Kinds()))
}

func words(kinds []Kind) string {
	list := make([]string, len(kinds))
	for i, k := range kinds {
		list[i] = string(k)
	}
	return strings.Join(list, ", ")
}
