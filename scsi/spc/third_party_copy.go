package spc

import "encoding/binary"

// ThirdPartyCopyPage is the code of the Third-party Copy VPD page (SPC-4 7.8.17).
const ThirdPartyCopyPage = 0x8f

// TokenLimits are what a device server tells of its ROD tokens. Lengths are bytes,
// times seconds.
type TokenLimits struct {
	Ranges                         int // range descriptors of one command
	MaximumTimeout, DefaultTimeout uint32
	MaximumTransfer, BlockLength   int64 // of one command; of a logical block
	OptimalTransfer                int64
	MaximumROD                     int64 // that one token may stand for
}

// ThirdPartyCopy is the data of the Third-party Copy VPD page behind its header.
func ThirdPartyCopy(t TokenLimits) []byte {
	var b []byte
	b = appendThirdParty(b, 0x0000, blockDeviceTokenLimits(t))
	b = appendThirdParty(b, 0x0001, supportedCopyCommands())
	b = appendThirdParty(b, 0x0004, copyParameterData())
	b = appendThirdParty(b, 0x0008, []byte{2, segmentBlockToBlock, cscdIdentification}) // Supported Descriptors
	b = appendThirdParty(b, 0x000c, []byte{0, 2, ownUnit >> 8, ownUnit & 0xff})         // Supported CSCD Descriptor IDs
	b = appendThirdParty(b, 0x0106, tokenFeatures(t))
	b = appendThirdParty(b, 0x0108, supportedTokenTypes())
	return appendThirdParty(b, 0x8001, generalCopyOperations())
}

// appendThirdParty adds a third-party copy descriptor, filled to a multiple of four bytes.
func appendThirdParty(b []byte, kind uint16, data []byte) []byte {
	length := (len(data) + 3) &^ 3
	b = binary.BigEndian.AppendUint16(b, kind)
	b = binary.BigEndian.AppendUint16(b, uint16(length))
	b = append(b, data...)
	return append(b, make([]byte, length-len(data))...)
}

// blockDeviceTokenLimits is the Block Device ROD Token Limits descriptor (SBC-3
// 6.6.6.3), without its first four bytes as all below.
func blockDeviceTokenLimits(t TokenLimits) []byte {
	b := make([]byte, 32)
	binary.BigEndian.PutUint16(b[6:], uint16(t.Ranges))
	binary.BigEndian.PutUint32(b[8:], t.MaximumTimeout)
	binary.BigEndian.PutUint32(b[12:], t.DefaultTimeout)
	binary.BigEndian.PutUint64(b[16:], uint64(t.MaximumTransfer/t.BlockLength))
	binary.BigEndian.PutUint64(b[24:], uint64(t.OptimalTransfer/t.BlockLength))
	return b
}

// supportedCopyCommands is the Supported Commands descriptor (SPC-4 7.8.17.4).
func supportedCopyCommands() []byte {
	out := []byte{extendedCopyLID1, PopulateToken, WriteUsingToken}
	in := []byte{receiveCopyStatus, receiveOperatingParameters, receiveFailureDetails, receiveTokenInformation}
	b := []byte{byte(2 + len(out) + 2 + len(in))}
	b = append(append(b, extendedCopy, byte(len(out))), out...)
	return append(append(b, receiveCopyResults, byte(len(in))), in...)
}

// copyParameterData is the Parameter Data descriptor.
func copyParameterData() []byte {
	b := make([]byte, 28)
	binary.BigEndian.PutUint16(b[4:], maxCSCDs)
	binary.BigEndian.PutUint16(b[6:], maxSegments)
	binary.BigEndian.PutUint32(b[8:], maxDescriptorsLength)
	return b
}

// tokenFeatures is the ROD Token Features descriptor: tokens of other copy
// managers are not taken.
func tokenFeatures(t TokenLimits) []byte {
	const blockDevice = 44 // the ROD device type specific features descriptor that follows
	b := make([]byte, 44+4+blockDevice)
	binary.BigEndian.PutUint32(b[12:], t.DefaultTimeout) // MINIMUM TOKEN LIFETIME
	binary.BigEndian.PutUint32(b[16:], t.MaximumTimeout) // MAXIMUM TOKEN LIFETIME
	binary.BigEndian.PutUint32(b[20:], t.MaximumTimeout) // MAXIMUM TOKEN INACTIVITY TIMEOUT
	binary.BigEndian.PutUint16(b[42:], 4+blockDevice)
	d := b[44:]
	binary.BigEndian.PutUint16(d[2:], blockDevice)
	binary.BigEndian.PutUint64(d[8:], uint64(t.MaximumROD))
	binary.BigEndian.PutUint64(d[16:], uint64(t.OptimalTransfer))
	return b
}

// The ROD TYPEs (SPC-4 table 153) that are supported.
const (
	// PointInTimeVulnerable is a point in time copy that ends when what it stands for changes.
	PointInTimeVulnerable = 0x00010001
	// PointInTimeAny leaves the kind of point in time copy to the copy manager.
	PointInTimeAny = 0x0001ffff
	// BlockZero is the well known ROD of zeros (SBC-3 4.29.4).
	BlockZero = 0xffff0001
)

// supportedTokenTypes is the Supported ROD Token and ROD Types descriptor.
func supportedTokenTypes() []byte {
	const (
		descriptor = 64
		tokenIn    = 0x02 // WRITE USING TOKEN takes it
		tokenOut   = 0x01 // POPULATE TOKEN makes it
	)
	b := make([]byte, 4+3*descriptor)
	binary.BigEndian.PutUint16(b[2:], 3*descriptor)
	for i, t := range []struct {
		kind uint32
		uses byte
	}{{PointInTimeVulnerable, tokenIn | tokenOut}, {PointInTimeAny, tokenOut}, {BlockZero, tokenIn}} {
		d := b[4+i*descriptor:]
		binary.BigEndian.PutUint32(d, t.kind)
		d[4] = t.uses
		binary.BigEndian.PutUint16(d[6:], uint16(i+1)) // PREFERENCE INDICATOR
	}
	return b
}

// generalCopyOperations is the General Copy Operations descriptor.
func generalCopyOperations() []byte {
	b := make([]byte, 32)
	binary.BigEndian.PutUint32(b, 255)                    // TOTAL CONCURRENT COPIES
	binary.BigEndian.PutUint32(b[4:], maxListIdentifiers) // MAXIMUM IDENTIFIED CONCURRENT COPIES
	binary.BigEndian.PutUint32(b[8:], maxSegmentLength)
	b[12] = segmentGranularity
	return b
}
