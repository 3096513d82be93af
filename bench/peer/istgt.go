package peer

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// The configuration of istgt: its own examples' values, with windows, bursts and sessions large enough for every case.
const istgtConfiguration = `[Global]
NodeBase "@PREFIX@"
PidFile @DIRECTORY@/pid
AuthFile @DIRECTORY@/auth.conf
MediaDirectory @DIRECTORY@
LogFacility local7
Timeout 30
NopInInterval 20
DiscoveryAuthMethod None
MaxSessions 256
MaxConnections 4
MaxR2T 32
MaxOutstandingR2T 16
DefaultTime2Wait 2
DefaultTime2Retain 60
FirstBurstLength 262144
MaxBurstLength 1048576
MaxRecvDataSegmentLength 262144
InitialR2T Yes
ImmediateData Yes
DataPDUInOrder Yes
DataSequenceInOrder Yes
ErrorRecoveryLevel 0

[UnitControl]
AuthMethod None
AuthGroup None
Portal UC1 127.0.0.1:@CONTROL@
Netmask 127.0.0.1

[PortalGroup1]
Portal DA1 @ADDRESS@

[InitiatorGroup1]
InitiatorName "ALL"
Netmask 127.0.0.0/8

[LogicalUnit1]
TargetName "@TARGET@"
Mapping PortalGroup1 InitiatorGroup1
AuthMethod None
AuthGroup None
UseDigest Auto
UnitType Disk
QueueDepth 128
LUN0 Storage @IMAGE@ Auto
`

func startISTGT(ctx context.Context, p *Peer, o Options) (err error) {
	if p.Version, err = installed("istgt", "istgt"); err != nil {
		return err
	}
	if err := fill(p.Image, o.Size); err != nil {
		return err
	}
	configuration := filepath.Join(o.Directory, "istgt.conf")
	text := strings.NewReplacer("@PREFIX@", strings.TrimSuffix(namePrefix, ":"), "@DIRECTORY@", o.Directory, "@CONTROL@", strconv.Itoa(o.Port+1),
		"@ADDRESS@", p.Address, "@TARGET@", p.Target, "@IMAGE@", p.Image).Replace(istgtConfiguration)
	if err := os.WriteFile(configuration, []byte(text), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(o.Directory, "auth.conf"), nil, 0o600); err != nil {
		return err
	}
	if err := p.run(o, "istgt", "-D", "-c", configuration); err != nil {
		return err
	}
	return p.until(ctx, p.accepts)
}
