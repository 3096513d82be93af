package iscsi

import "testing"

const loginRequestWire = "43870201 00000000 00023d00 00010708 11121314 21220000 31323334 41424344 00000000 00000000 00000000 00000000"

func TestLoginRequest_RFC7143_11_12(t *testing.T) {
	testPDU(t, LoginRequest{Transit: true, CSG: LoginOperationalNegotiation, NSG: FullFeaturePhase, VersionMax: 2, VersionMin: 1, ISID: ISID{0, 2, 0x3d, 0, 0, 1},
		TSIH: 0x0708, InitiatorTaskTag: 0x11121314, CID: 0x2122, CmdSN: 0x31323334, ExpStatSN: 0x41424344},
		loginRequestWire,
		"7fcfffff 00000000 ffffffff ffffffff ffffffff ffff0000 ffffffff ffffffff 00000000 00000000 00000000 00000000")
}

func TestLoginRequestIllegal_RFC7143_11_12(t *testing.T) {
	for _, c := range []struct{ name, field, wire string }{
		{"not immediate", "I", "03870000 00000000 00023d00 00010000 00000001 00000000 00000001 00000000 00000000 00000000 00000000 00000000"},
		{"T and C", "C", "43c70000 00000000 00023d00 00010000 00000001 00000000 00000001 00000000 00000000 00000000 00000000 00000000"},
		{"stage 2", "CSG", "430b0000 00000000 00023d00 00010000 00000001 00000000 00000001 00000000 00000000 00000000 00000000 00000000"},
		{"stage 3", "CSG", "430c0000 00000000 00023d00 00010000 00000001 00000000 00000001 00000000 00000000 00000000 00000000 00000000"},
		{"on to stage 2", "NSG", "43860000 00000000 00023d00 00010000 00000001 00000000 00000001 00000000 00000000 00000000 00000000 00000000"},
		{"on to the first stage", "NSG", "43800000 00000000 00023d00 00010000 00000001 00000000 00000001 00000000 00000000 00000000 00000000 00000000"},
		{"on to the same stage", "NSG", "43850000 00000000 00023d00 00010000 00000001 00000000 00000001 00000000 00000000 00000000 00000000 00000000"},
	} {
		t.Run(c.name, func(t *testing.T) { illegal[LoginRequest](t, c.field, c.wire) })
	}
}

func FuzzLoginRequest(f *testing.F) { fuzzPDU[LoginRequest](f, loginRequestWire) }

const loginResponseWire = "23830201 00000000 00023d00 00010708 11121314 00000000 31323334 41424344 51525354 00000000 00000000 00000000"

func TestLoginResponse_RFC7143_11_13(t *testing.T) {
	testPDU(t, LoginResponse{Transit: true, CSG: SecurityNegotiation, NSG: FullFeaturePhase, VersionMax: 2, VersionActive: 1, ISID: ISID{0, 2, 0x3d, 0, 0, 1},
		TSIH: 0x0708, InitiatorTaskTag: 0x11121314, StatSN: 0x31323334, ExpCmdSN: 0x41424344, MaxCmdSN: 0x51525354},
		loginResponseWire,
		"3fcfffff 00000000 ffffffff ffffffff ffffffff 00000000 ffffffff ffffffff ffffffff ffff0000 00000000 00000000")
}

func TestLoginResponseIllegal_RFC7143_11_13(t *testing.T) {
	for _, c := range []struct{ name, field, wire string }{
		{"T and C", "C", "23c70000 00000000 00023d00 00010000 00000001 00000000 00000001 00000000 00000000 00000000 00000000 00000000"},
		{"stage 2", "CSG", "230b0000 00000000 00023d00 00010000 00000001 00000000 00000001 00000000 00000000 00000000 00000000 00000000"},
		{"on to the same stage", "NSG", "23850000 00000000 00023d00 00010000 00000001 00000000 00000001 00000000 00000000 00000000 00000000 00000000"},
	} {
		t.Run(c.name, func(t *testing.T) { illegal[LoginResponse](t, c.field, c.wire) })
	}
}

func FuzzLoginResponse(f *testing.F) { fuzzPDU[LoginResponse](f, loginResponseWire) }

// In a refusal the stages mean nothing (11.13.5), whatever a target leaves in them.
func TestLoginResponseRefusal_RFC7143_11_13_5(t *testing.T) {
	h := hexBHS(t, "23cb0000 00000000 00023d00 00010000 00000001 00000000 00000001 00000000 00000000 02010000 00000000 00000000")
	var p LoginResponse
	if err := p.Unmarshal(&h); err != nil || p.Status != LoginAuthenticationFailure {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestStage_RFC7143_11_12_3(t *testing.T) {
	for n, name := range []string{"SecurityNegotiation", "LoginOperationalNegotiation", "reserved stage", "FullFeaturePhase"} {
		if got := Stage(n).String(); got != name {
			t.Errorf("stage %d is %q, want %q", n, got, name)
		}
	}
}
