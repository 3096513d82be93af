package iscsi

import "fmt"

// A LoginStatus is the Status-Class (high byte) and Status-Detail (low byte) of a
// Login Response (RFC 7143 11.13.5).
type LoginStatus uint16

// The statuses of RFC 7143 11.13.5.
const (
	LoginSuccess                LoginStatus = 0x0000
	LoginMovedTemporarily       LoginStatus = 0x0101 // with TargetAddress
	LoginMovedPermanently       LoginStatus = 0x0102 // with TargetAddress
	LoginInitiatorError         LoginStatus = 0x0200
	LoginAuthenticationFailure  LoginStatus = 0x0201
	LoginAuthorizationFailure   LoginStatus = 0x0202
	LoginNotFound               LoginStatus = 0x0203
	LoginTargetRemoved          LoginStatus = 0x0204
	LoginUnsupportedVersion     LoginStatus = 0x0205
	LoginTooManyConnections     LoginStatus = 0x0206
	LoginMissingParameter       LoginStatus = 0x0207
	LoginCannotIncludeInSession LoginStatus = 0x0208
	LoginSessionTypeUnsupported LoginStatus = 0x0209
	LoginSessionDoesNotExist    LoginStatus = 0x020a
	LoginInvalidDuringLogin     LoginStatus = 0x020b
	LoginTargetError            LoginStatus = 0x0300
	LoginServiceUnavailable     LoginStatus = 0x0301
	LoginOutOfResources         LoginStatus = 0x0302
)

// The classes of LoginStatus. A class that is not known is treated by its class
// alone: 4 and up are reserved.
const (
	LoginClassSuccess        uint8 = 0
	LoginClassRedirection    uint8 = 1
	LoginClassInitiatorError uint8 = 2
	LoginClassTargetError    uint8 = 3
)

// Class returns the Status-Class.
func (s LoginStatus) Class() uint8 { return uint8(s >> 8) }

// Detail returns the Status-Detail.
func (s LoginStatus) Detail() uint8 { return uint8(s) }

// String returns the meaning of the status in the words of RFC 7143 11.13.5, and its number.
func (s LoginStatus) String() string {
	return fmt.Sprintf("%s (%02X%02Xh)", s.meaning(), s.Class(), s.Detail())
}

func (s LoginStatus) meaning() string {
	switch s {
	case LoginSuccess:
		return "success"
	case LoginMovedTemporarily:
		return "target moved temporarily"
	case LoginMovedPermanently:
		return "target moved permanently"
	case LoginInitiatorError:
		return "initiator error"
	case LoginAuthenticationFailure:
		return "authentication failure"
	case LoginAuthorizationFailure:
		return "authorization failure"
	case LoginNotFound:
		return "target not found"
	case LoginTargetRemoved:
		return "target removed"
	case LoginUnsupportedVersion:
		return "unsupported version"
	case LoginTooManyConnections:
		return "too many connections"
	case LoginMissingParameter:
		return "missing parameter"
	case LoginCannotIncludeInSession:
		return "cannot include in session"
	case LoginSessionTypeUnsupported:
		return "session type not supported"
	case LoginSessionDoesNotExist:
		return "session does not exist"
	case LoginInvalidDuringLogin:
		return "invalid request during login"
	case LoginTargetError:
		return "target error"
	case LoginServiceUnavailable:
		return "service unavailable"
	case LoginOutOfResources:
		return "out of resources"
	}
	switch s.Class() {
	case LoginClassSuccess:
		return "success with an unknown detail"
	case LoginClassRedirection:
		return "redirection with an unknown detail"
	case LoginClassInitiatorError:
		return "initiator error with an unknown detail"
	case LoginClassTargetError:
		return "target error with an unknown detail"
	}
	return "reserved status class"
}
