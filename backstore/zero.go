package backstore

import "bytes"

// IsZero tells whether p holds nothing but zeros. Of data it mostly looks at the
// first byte.
func IsZero(p []byte) bool {
	if len(p) == 0 || p[0] != 0 || p[len(p)-1] != 0 {
		return len(p) == 0
	}
	for ; len(p) > 0; p = p[min(len(p), len(zeros)):] {
		if n := min(len(p), len(zeros)); !bytes.Equal(p[:n], zeros[:n]) {
			return false
		}
	}
	return true
}

// zeros are what IsZero compares with.
var zeros [4096]byte
