package spc

import (
	"encoding/binary"
	"slices"

	"github.com/isantarget/isantarget/scsi"
)

// The VPD pages that every unit has (SPC-4 7.8).
const (
	supportedPages       = 0x00
	unitSerialNumber     = 0x80
	deviceIdentification = 0x83
	extendedInquiry      = 0x86
)

// vitalProductData is the VPD page code with its header; nil if there is none. A
// LUN without a logical unit has the list of pages alone.
func vitalProductData(c *scsi.Command, code byte) []byte {
	lu := c.Unit()
	var data []byte
	switch absent := lu.Device.InquiryData().Qualifier != 0; {
	case code == supportedPages && absent:
		data = []byte{supportedPages}
	case absent:
		return nil
	case code == supportedPages:
		data = supportedVitalProductDataPages(lu)
	case code == unitSerialNumber:
		data = []byte(lu.Identity.Serial)
	case code == deviceIdentification:
		data = deviceIdentificationData(c)
	case code == extendedInquiry:
		data = extendedInquiryData(lu)
	default:
		pages := lu.Device.VitalProductDataPages()
		i := slices.IndexFunc(pages, func(p scsi.VitalProductDataPage) bool { return p.Code == code })
		if i < 0 {
			return nil
		}
		data = pages[i].Data()
	}
	page := []byte{peripheral(c), code, 0, 0}
	binary.BigEndian.PutUint16(page[2:], uint16(len(data)))
	return append(page, data...)
}

// supportedVitalProductDataPages is the list of page codes, ascending (SPC-4 7.8.16).
func supportedVitalProductDataPages(lu *scsi.LogicalUnit) []byte {
	codes := []byte{supportedPages, unitSerialNumber, deviceIdentification, extendedInquiry}
	for _, p := range lu.Device.VitalProductDataPages() {
		codes = append(codes, p.Code)
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// cachingPage is the code of the caching mode page (SBC-3 6.4.5).
const cachingPage = 0x08

// extendedInquiryData is SPC-4 7.8.7 behind the header.
func extendedInquiryData(lu *scsi.LogicalUnit) []byte {
	b := make([]byte, 60)
	b[1] = 0x07 // HEADSUP, ORDSUP, SIMPSUP
	if len(lu.AppendModePages(nil, cachingPage, 0, scsi.CurrentValues)) > 0 {
		b[2] = 0x01 // V_SUP
	}
	b[3] = 0x01                // LUICLR
	b[9] = scsi.MaxSenseLength // MAXIMUM SUPPORTED SENSE DATA LENGTH
	return b
}
