package protocol_test

import (
	"bytes"
	"testing"

	"github.com/isantarget/isantarget/internal/initiator"
)

// Logins of the kind that initiators in the field send: each gets in, is answered in
// every key, and moves data as it was agreed (6.3, 13). That of open-iscsi follows its
// default configuration; the others are put together from what is known of them, not
// recorded.
func TestFieldLogins_RFC7143_6_3(t *testing.T) {
	d := serve(t, secretFiles(t, standard+`
[[target]]
name = "`+target+`-guarded"
luns = { 0 = "a", 1 = "b" }
chap = { user = "alice", secret-file = "$alice" }
mutual-chap = { user = "san", secret-file = "$san" }
access = "open"
`))
	for name, c := range map[string]struct {
		login initiator.Login
		want  map[string]string
	}{
		// etc/iscsid.conf of open-iscsi 2.1.
		"open-iscsi": {initiator.Login{InitiatorName: "iqn.1993-08.org.debian:01:3f2a8c", SessionType: "Normal", AuthMethod: "None", Keys: pairs(
			"HeaderDigest=None", "DataDigest=None", "DefaultTime2Wait=2", "DefaultTime2Retain=0", "IFMarker=No", "OFMarker=No", "ErrorRecoveryLevel=0",
			"InitialR2T=No", "ImmediateData=Yes", "MaxBurstLength=16776192", "FirstBurstLength=262144", "MaxOutstandingR2T=1", "MaxConnections=1",
			"DataPDUInOrder=Yes", "DataSequenceInOrder=Yes", "MaxRecvDataSegmentLength=262144")},
			map[string]string{"InitialR2T": "No", "ImmediateData": "Yes", "ErrorRecoveryLevel": "0"}},
		// libiscsi, which QEMU and iscsi-test-cu use.
		"libiscsi": {initiator.Login{InitiatorName: "iqn.2008-11.org.linux-kvm:vm", SessionType: "Normal", AuthMethod: "None", Keys: pairs(
			"HeaderDigest=None,CRC32C", "DataDigest=None", "InitialR2T=No", "ImmediateData=Yes", "MaxBurstLength=262144", "FirstBurstLength=262144",
			"MaxRecvDataSegmentLength=262144", "DataPDUInOrder=Yes", "DataSequenceInOrder=Yes", "MaxConnections=1", "DefaultTime2Wait=2", "DefaultTime2Retain=0",
			"IFMarker=No", "OFMarker=No", "MaxOutstandingR2T=1", "ErrorRecoveryLevel=0")},
			map[string]string{"HeaderDigest": "None", "IFMarker": "No"}},
		// Asks for more recovery than it gets, and for both digests by preference.
		"Windows": {initiator.Login{InitiatorName: "iqn.1991-05.com.microsoft:WIN-5Q1.example.org", SessionType: "Normal", AuthMethod: "None,CHAP", Keys: pairs(
			"HeaderDigest=None,CRC32C", "DataDigest=None,CRC32C", "ErrorRecoveryLevel=2", "InitialR2T=No", "ImmediateData=Yes", "MaxRecvDataSegmentLength=65536",
			"MaxBurstLength=262144", "FirstBurstLength=65536", "MaxConnections=32", "DataPDUInOrder=Yes", "DataSequenceInOrder=Yes", "DefaultTime2Wait=0",
			"DefaultTime2Retain=60", "MaxOutstandingR2T=16")},
			map[string]string{"ErrorRecoveryLevel": "0", "MaxConnections": "4", "DataDigest": "None"}},
		// Private keys among the others, and solicited data alone.
		"ESXi": {initiator.Login{InitiatorName: "iqn.1998-01.com.vmware:esx01-4f6e1a2b", SessionType: "Normal", AuthMethod: "None", Keys: pairs(
			"HeaderDigest=None", "DataDigest=None", "InitialR2T=Yes", "ImmediateData=Yes", "MaxRecvDataSegmentLength=131072", "MaxBurstLength=262144",
			"FirstBurstLength=262144", "MaxOutstandingR2T=8", "DefaultTime2Wait=0", "DefaultTime2Retain=0", "ErrorRecoveryLevel=0", "MaxConnections=1",
			"DataPDUInOrder=Yes", "DataSequenceInOrder=Yes", "X-com.cisco.PingTimeout=5", "X-com.cisco.sendAsyncText=Yes", "X-com.cisco.protocol=draft20-8")},
			map[string]string{"X-com.cisco.protocol": "NotUnderstood", "InitialR2T": "Yes"}},
		// A boot loader: one stage, few keys, small segments.
		"iPXE": {initiator.Login{InitiatorName: "iqn.2010-04.org.ipxe:4c4c4544", SessionType: "Normal", Keys: pairs(
			"HeaderDigest=None", "DataDigest=None", "MaxConnections=1", "InitialR2T=Yes", "ImmediateData=No", "MaxRecvDataSegmentLength=8192", "MaxBurstLength=262144",
			"FirstBurstLength=65536", "DefaultTime2Wait=0", "DefaultTime2Retain=0", "MaxOutstandingR2T=1", "DataPDUInOrder=Yes", "DataSequenceInOrder=Yes", "ErrorRecoveryLevel=0")},
			map[string]string{"FirstBurstLength": "Irrelevant"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, guarded := range []bool{false, true} {
				l := c.login
				l.TargetName = target
				if guarded {
					l.TargetName += "-guarded"
					l.AuthMethod = "CHAP,None"
					l.CHAP = &initiator.CHAP{User: "alice", Secret: secrets["alice"], TargetUser: "san", TargetSecret: secrets["san"]}
				}
				p := ready(t, d, l)
				for key, want := range c.want {
					if got := p.Answers[key]; got != want {
						t.Errorf("%s=%s, want %s", key, got, want)
					}
				}
				data := noise(uint64(len(name)), 700)
				p.good(write(0, data))
				if got := p.good(initiator.Command{CDB: read10(0, 700), Read: len(data)}); !bytes.Equal(got.Data, data) {
					t.Error("other data comes back")
				}
			}
		})
	}
}
