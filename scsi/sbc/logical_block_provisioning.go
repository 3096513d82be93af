package sbc

// logicalBlockProvisioning is the Logical Block Provisioning VPD page (SBC-3
// 6.6.4). A thin unit takes UNMAP and WRITE SAME with UNMAP; no block can be
// anchored. Thresholds are counted in sets of 1 MiB, where the medium knows its space.
func (d *Device) logicalBlockProvisioning() []byte {
	const (
		lbpu, lbpws, lbpws10 = 0x80, 0x40, 0x20
		lbprz                = 0x04
		thin                 = 2 // PROVISIONING TYPE; 0: fully provisioned
	)
	p := make([]byte, 8-vpdHeader)
	p[4-vpdHeader] = d.thresholdExponent()
	if d.thin {
		p[5-vpdHeader] = lbpu | lbpws | lbpws10
		p[6-vpdHeader] = thin
	}
	if d.readsZeros(d.medium.Load()) {
		p[5-vpdHeader] |= lbprz
	}
	return p
}
