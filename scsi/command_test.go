package scsi

import (
	"bytes"
	"errors"
	"testing"
)

// stingyPort lends at most some bytes, or nothing but an error.
type stingyPort struct {
	*fakeDelivery
	most int
	err  error
}

func (p stingyPort) DataInBuffer(n int) ([]byte, error) { return make([]byte, min(n, p.most)), p.err }

func (p stingyPort) ReceiveDataOut(n int) ([]byte, error) { return make([]byte, min(n, p.most)), p.err }

func TestReturnData_SPC4_4_2_5_6(t *testing.T) {
	data := []byte{1, 2, 3, 4}
	tests := []struct {
		allocation, lent int
		in               []byte
		length           int
	}{
		{255, 100, data, 4},
		{4, 4, data, 4},
		{3, 100, data[:3], 3},
		{0, 100, nil, 0},
		{255, 2, data[:2], 4}, // the initiator expects two: the rest is residual overflow
	}
	for _, test := range tests {
		c := &Command{Delivery: stingyPort{most: test.lent}}
		if err := c.ReturnData(data, test.allocation); err != nil || !bytes.Equal(c.DataIn, test.in) || c.Length != test.length {
			t.Errorf("allocation length %d, %d lent: %X, length %d, %v; want %X, length %d", test.allocation, test.lent, c.DataIn, c.Length, err, test.in, test.length)
		}
	}
	c := &Command{Delivery: stingyPort{err: ErrWouldBlock}}
	if err := c.ReturnData(data, 4); err != ErrWouldBlock || c.DataIn != nil || c.Length != 0 {
		t.Errorf("without a buffer: %v, %X, length %d", err, c.DataIn, c.Length)
	}
}

func TestParameterList(t *testing.T) {
	c := &Command{Delivery: stingyPort{most: 4}}
	if p, err := c.ParameterList(4); err != nil || len(p) != 4 || c.Length != 4 {
		t.Errorf("%X, %v, length %d", p, err, c.Length)
	}
	var s *Sense
	if _, err := c.ParameterList(5); !errors.As(err, &s) || s.Code != ASCParameterListLengthError || c.Length != 5 {
		t.Errorf("a list shorter than the CDB has it: %v, length %d", err, c.Length)
	}
	c.Delivery = stingyPort{err: ErrAborted}
	if _, err := c.ParameterList(4); err != ErrAborted {
		t.Error(err)
	}
	if p, err := c.ParameterList(0); p != nil || err != nil {
		t.Errorf("an empty list waits for data: %X, %v", p, err)
	}
}

func TestResetForgetsTheLastUse(t *testing.T) {
	n := newNexus("a")
	lu := newUnit(t, &fakeDevice{rows: []Operation{row(0, Inline, func(c *Command) error {
		if c.CDB.Byte(2) != 0 {
			return InvalidFieldInCDB(2, WholeByte)
		}
		return c.ReturnData([]byte{1}, 1)
	})}}, nil, n)
	c := issue(lu, n, 9, Ordered, 0, 0, 0, 0, 0, 0).Command
	c.aborted.Store(abortedSilently)
	c.Silent = true
	c.Reset()
	if c.Nexus != nil || c.Tag != 0 || c.Attribute != Simple || c.CDB != nil || c.DataIn != nil || c.Length != 0 || c.Silent || c.Aborted() {
		t.Errorf("after Reset: %+v", c)
	}
	d := newFakeDelivery()
	c.Nexus, c.CDB, c.Delivery = n, CDB{0, 0, 1, 0, 0, 0}, d
	lu.Execute(c)
	issued{c, d}.wantSense(t, KeyIllegalRequest, ASCInvalidFieldInCDB)
	c.Reset()
	if c.Status != Good || c.Sense != nil {
		t.Errorf("after Reset: %v, sense data %X", c.Status, c.Sense)
	}
}
