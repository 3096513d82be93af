package conformance

import (
	"reflect"
	"testing"
)

// What iscsi-test-cu of libiscsi 1.19 really prints, shim included, with the tests' names made short.
const sample = `

     CUnit - A unit testing framework for C - Version 2.1-3
     http://cunit.sourceforge.net/


Suite: Alpha
  Test: Held ...
[CU_ASSERT]
passed
  Test: SaidSo ...    [SKIPPED] READDEFECTDATA10 is not implemented.

[CU_PASS] test_a.c:12 CU_PASS("[SKIPPED] not supported")
passed
  Test: Partly ...
[CU_ASSERT]
    [SKIPPED] COMPAREANDWRITE is not implemented.
passed
  Test: Silently ...
[CU_PASS] test_b.c:40 CU_PASS("LUN is not removable. Skipping test.")
passed
  Test: Nothing ...passed
  Test: Broke ...
[CU_ASSERT]
    2026-11-23 15:45:12.345 [FAILED] UNMAP command failed with status 2
FAILED
    1. test_unmap_0blocks.c:46  - CU_ASSERT_EQUAL(ret,0)
  Test: Quietly ...
[CU_ASSERT]
FAILED
    1. test_async_lu_reset_simple.c:157  - CU_ASSERT_EQUAL(reconnect_succeeded,1)
    2. test_async_lu_reset_simple.c:158  - CU_ASSERT_EQUAL(other,1)
  Test: Talking ...
[CU_ASSERT]
passed    [FAILED] the clean-up of the suite could not log out
Suite: Beta
  Test: Ends ...
[CU_ASSERT]
    [FAILURE] the connection is gone
`

func TestParseTellsSkipsFromPasses(t *testing.T) {
	want := []outcome{
		{"Alpha.Held", passed, ""},
		{"Alpha.SaidSo", skipped, "READDEFECTDATA10 is not implemented."},
		{"Alpha.Partly", skipped, "partly: COMPAREANDWRITE is not implemented."},
		{"Alpha.Silently", skipped, `silent: test_b.c:40 CU_PASS("LUN is not removable. Skipping test.")`},
		{"Alpha.Nothing", empty, ""},
		{"Alpha.Broke", failed, "UNMAP command failed with status 2"},
		{"Alpha.Quietly", failed, "test_async_lu_reset_simple.c:157 - CU_ASSERT_EQUAL(reconnect_succeeded,1)"},
		{"Alpha.Talking", passed, ""},
		{"Beta.Ends", open, "the connection is gone"},
	}
	got := parse(sample)
	if got.noSetup {
		t.Error("a suite that was set up is called otherwise")
	}
	if !reflect.DeepEqual(got.outcomes, want) {
		for i := range min(len(got.outcomes), len(want)) {
			if got.outcomes[i] != want[i] {
				t.Errorf("outcome %d is %+v, want %+v", i, got.outcomes[i], want[i])
			}
		}
		t.Errorf("%d outcomes, want %d", len(got.outcomes), len(want))
	}
}

func TestParseSeesASuiteThatCannotBeSetUp(t *testing.T) {
	got := parse("Suite: Alpha\nfailed to login\nWARNING - Suite initialization failed for 'Alpha'.\n")
	if !got.noSetup || len(got.outcomes) != 0 {
		t.Errorf("parse gives %+v, want no outcome and noSetup", got)
	}
}
