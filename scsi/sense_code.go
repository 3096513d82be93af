package scsi

import "fmt"

// A SenseCode is the ADDITIONAL SENSE CODE (high byte) and the ADDITIONAL SENSE
// CODE QUALIFIER (low byte) of sense data (SPC-4 4.5.2.1 and annex D).
type SenseCode uint16

// The additional sense codes, by number. A name is the text of SPC-4 annex D
// behind ASC.
const (
	ASCNoAdditionalSenseInformation                            SenseCode = 0x0000
	ASCOperationInProgress                                     SenseCode = 0x0016
	ASCLogicalUnitNotReadyCauseNotReportable                   SenseCode = 0x0400
	ASCLogicalUnitIsInProcessOfBecomingReady                   SenseCode = 0x0401
	ASCLogicalUnitNotReadyInitializingCommandRequired          SenseCode = 0x0402
	ASCLogicalUnitNotReadyManualInterventionRequired           SenseCode = 0x0403
	ASCLogicalUnitNotReadyFormatInProgress                     SenseCode = 0x0404
	ASCLogicalUnitNotReadyOperationInProgress                  SenseCode = 0x0407
	ASCLogicalUnitNotReadySelfTestInProgress                   SenseCode = 0x0409
	ASCLogicalUnitNotAccessibleAsymmetricAccessStateTransition SenseCode = 0x040a
	ASCLogicalUnitNotAccessibleTargetPortInStandbyState        SenseCode = 0x040b
	ASCLogicalUnitNotAccessibleTargetPortInUnavailableState    SenseCode = 0x040c
	ASCLogicalUnitNotReadySpaceAllocationInProgress            SenseCode = 0x0414
	ASCLogicalUnitNotReadySanitizeInProgress                   SenseCode = 0x041b
	ASCLogicalUnitNotReadyStartStopUnitCommandInProgress       SenseCode = 0x041c
	ASCUnreachableCopyTarget                                   SenseCode = 0x0804
	ASCWriteError                                              SenseCode = 0x0c00
	ASCWriteErrorUnexpectedUnsolicitedData                     SenseCode = 0x0c0c
	ASCWriteErrorNotEnoughUnsolicitedData                      SenseCode = 0x0c0d
	ASCThirdPartyDeviceFailure                                 SenseCode = 0x0d01
	ASCCopyTargetDeviceNotReachable                            SenseCode = 0x0d02
	ASCIncorrectCopyTargetDeviceType                           SenseCode = 0x0d03
	ASCInvalidFieldInCommandInformationUnit                    SenseCode = 0x0e03
	ASCUnrecoveredReadError                                    SenseCode = 0x1100
	ASCParameterListLengthError                                SenseCode = 0x1a00
	ASCDefectListNotFound                                      SenseCode = 0x1c00
	ASCMiscompareDuringVerifyOperation                         SenseCode = 0x1d00
	ASCInvalidCommandOperationCode                             SenseCode = 0x2000
	ASCLogicalBlockAddressOutOfRange                           SenseCode = 0x2100
	ASCInvalidTokenOperationCauseNotReportable                 SenseCode = 0x2300
	ASCInvalidTokenOperationUnsupportedTokenType               SenseCode = 0x2301
	ASCInvalidTokenOperationTokenUnknown                       SenseCode = 0x2304
	ASCInvalidTokenOperationTokenCorrupt                       SenseCode = 0x2305
	ASCInvalidTokenOperationTokenRevoked                       SenseCode = 0x2306
	ASCInvalidTokenOperationTokenExpired                       SenseCode = 0x2307
	ASCInvalidTokenOperationTokenCancelled                     SenseCode = 0x2308
	ASCInvalidTokenOperationTokenDeleted                       SenseCode = 0x2309
	ASCInvalidTokenOperationInvalidTokenLength                 SenseCode = 0x230a
	ASCInvalidFieldInCDB                                       SenseCode = 0x2400
	ASCLogicalUnitNotSupported                                 SenseCode = 0x2500
	ASCInvalidFieldInParameterList                             SenseCode = 0x2600
	ASCParameterNotSupported                                   SenseCode = 0x2601
	ASCParameterValueInvalid                                   SenseCode = 0x2602
	ASCInvalidReleaseOfPersistentReservation                   SenseCode = 0x2604
	ASCTooManyTargetDescriptors                                SenseCode = 0x2606
	ASCUnsupportedTargetDescriptorTypeCode                     SenseCode = 0x2607
	ASCTooManySegmentDescriptors                               SenseCode = 0x2608
	ASCUnsupportedSegmentDescriptorTypeCode                    SenseCode = 0x2609
	ASCUnexpectedInexactSegment                                SenseCode = 0x260a
	ASCInlineDataLengthExceeded                                SenseCode = 0x260b
	ASCInvalidOperationForCopySourceOrDestination              SenseCode = 0x260c
	ASCWriteProtected                                          SenseCode = 0x2700
	ASCSpaceAllocationFailedWriteProtect                       SenseCode = 0x2707
	ASCNotReadyToReadyChangeMediumMayHaveChanged               SenseCode = 0x2800
	ASCPowerOnResetOrBusDeviceResetOccurred                    SenseCode = 0x2900
	ASCPowerOnOccurred                                         SenseCode = 0x2901
	ASCBusDeviceResetFunctionOccurred                          SenseCode = 0x2903
	ASCITNexusLossOccurred                                     SenseCode = 0x2907
	ASCParametersChanged                                       SenseCode = 0x2a00
	ASCModeParametersChanged                                   SenseCode = 0x2a01
	ASCReservationsPreempted                                   SenseCode = 0x2a03
	ASCReservationsReleased                                    SenseCode = 0x2a04
	ASCRegistrationsPreempted                                  SenseCode = 0x2a05
	ASCAsymmetricAccessStateChanged                            SenseCode = 0x2a06
	ASCImplicitAsymmetricAccessStateTransitionFailed           SenseCode = 0x2a07
	ASCCapacityDataHasChanged                                  SenseCode = 0x2a09
	ASCCommandSequenceError                                    SenseCode = 0x2c00
	ASCCommandsClearedByAnotherInitiator                       SenseCode = 0x2f00
	ASCMediumFormatCorrupted                                   SenseCode = 0x3100
	ASCFormatCommandFailed                                     SenseCode = 0x3101
	ASCSanitizeCommandFailed                                   SenseCode = 0x3103
	ASCThinProvisioningSoftThresholdReached                    SenseCode = 0x3807
	ASCSavingParametersNotSupported                            SenseCode = 0x3900
	ASCMediumNotPresent                                        SenseCode = 0x3a00
	ASCLogicalUnitFailure                                      SenseCode = 0x3e01
	ASCTimeoutOnLogicalUnit                                    SenseCode = 0x3e02
	ASCLogicalUnitFailedSelfTest                               SenseCode = 0x3e03
	ASCInquiryDataHasChanged                                   SenseCode = 0x3f03
	ASCReportedLUNsDataHasChanged                              SenseCode = 0x3f0e
	ASCEchoBufferOverwritten                                   SenseCode = 0x3f0f
	ASCInternalTargetFailure                                   SenseCode = 0x4400
	ASCProtocolServiceCRCError                                 SenseCode = 0x4705
	ASCInvalidMessageError                                     SenseCode = 0x4900
	ASCOverlappedCommandsAttempted                             SenseCode = 0x4e00
	ASCMediumRemovalPrevented                                  SenseCode = 0x5302
	ASCSystemResourceFailure                                   SenseCode = 0x5500
	ASCInsufficientReservationResources                        SenseCode = 0x5502
	ASCInsufficientResources                                   SenseCode = 0x5503
	ASCInsufficientRegistrationResources                       SenseCode = 0x5504
	ASCFailurePredictionThresholdExceeded                      SenseCode = 0x5d00
	ASCSetTargetPortGroupsCommandFailed                        SenseCode = 0x670a
)

// String is the text of SPC-4 annex D with the code: "INVALID FIELD IN CDB (24/00)".
func (c SenseCode) String() string {
	text := c.text()
	if text == "" {
		return fmt.Sprintf("%02X/%02X", byte(c>>8), byte(c))
	}
	return fmt.Sprintf("%s (%02X/%02X)", text, byte(c>>8), byte(c))
}

func (c SenseCode) text() string {
	switch c {
	case ASCNoAdditionalSenseInformation:
		return "NO ADDITIONAL SENSE INFORMATION"
	case ASCOperationInProgress:
		return "OPERATION IN PROGRESS"
	case ASCLogicalUnitNotReadyCauseNotReportable:
		return "LOGICAL UNIT NOT READY, CAUSE NOT REPORTABLE"
	case ASCLogicalUnitIsInProcessOfBecomingReady:
		return "LOGICAL UNIT IS IN PROCESS OF BECOMING READY"
	case ASCLogicalUnitNotReadyInitializingCommandRequired:
		return "LOGICAL UNIT NOT READY, INITIALIZING COMMAND REQUIRED"
	case ASCLogicalUnitNotReadyManualInterventionRequired:
		return "LOGICAL UNIT NOT READY, MANUAL INTERVENTION REQUIRED"
	case ASCLogicalUnitNotReadyFormatInProgress:
		return "LOGICAL UNIT NOT READY, FORMAT IN PROGRESS"
	case ASCLogicalUnitNotReadyOperationInProgress:
		return "LOGICAL UNIT NOT READY, OPERATION IN PROGRESS"
	case ASCLogicalUnitNotReadySelfTestInProgress:
		return "LOGICAL UNIT NOT READY, SELF-TEST IN PROGRESS"
	case ASCLogicalUnitNotAccessibleAsymmetricAccessStateTransition:
		return "LOGICAL UNIT NOT ACCESSIBLE, ASYMMETRIC ACCESS STATE TRANSITION"
	case ASCLogicalUnitNotAccessibleTargetPortInStandbyState:
		return "LOGICAL UNIT NOT ACCESSIBLE, TARGET PORT IN STANDBY STATE"
	case ASCLogicalUnitNotAccessibleTargetPortInUnavailableState:
		return "LOGICAL UNIT NOT ACCESSIBLE, TARGET PORT IN UNAVAILABLE STATE"
	case ASCLogicalUnitNotReadySpaceAllocationInProgress:
		return "LOGICAL UNIT NOT READY, SPACE ALLOCATION IN PROGRESS"
	case ASCLogicalUnitNotReadySanitizeInProgress:
		return "LOGICAL UNIT NOT READY, SANITIZE IN PROGRESS"
	case ASCLogicalUnitNotReadyStartStopUnitCommandInProgress:
		return "LOGICAL UNIT NOT READY, START STOP UNIT COMMAND IN PROGRESS"
	case ASCUnreachableCopyTarget:
		return "UNREACHABLE COPY TARGET"
	case ASCWriteError:
		return "WRITE ERROR"
	case ASCWriteErrorUnexpectedUnsolicitedData:
		return "WRITE ERROR - UNEXPECTED UNSOLICITED DATA"
	case ASCWriteErrorNotEnoughUnsolicitedData:
		return "WRITE ERROR - NOT ENOUGH UNSOLICITED DATA"
	case ASCThirdPartyDeviceFailure:
		return "THIRD PARTY DEVICE FAILURE"
	case ASCCopyTargetDeviceNotReachable:
		return "COPY TARGET DEVICE NOT REACHABLE"
	case ASCIncorrectCopyTargetDeviceType:
		return "INCORRECT COPY TARGET DEVICE TYPE"
	case ASCInvalidFieldInCommandInformationUnit:
		return "INVALID FIELD IN COMMAND INFORMATION UNIT"
	case ASCUnrecoveredReadError:
		return "UNRECOVERED READ ERROR"
	case ASCParameterListLengthError:
		return "PARAMETER LIST LENGTH ERROR"
	case ASCDefectListNotFound:
		return "DEFECT LIST NOT FOUND"
	case ASCMiscompareDuringVerifyOperation:
		return "MISCOMPARE DURING VERIFY OPERATION"
	case ASCInvalidCommandOperationCode:
		return "INVALID COMMAND OPERATION CODE"
	case ASCLogicalBlockAddressOutOfRange:
		return "LOGICAL BLOCK ADDRESS OUT OF RANGE"
	case ASCInvalidTokenOperationCauseNotReportable:
		return "INVALID TOKEN OPERATION, CAUSE NOT REPORTABLE"
	case ASCInvalidTokenOperationUnsupportedTokenType:
		return "INVALID TOKEN OPERATION, UNSUPPORTED TOKEN TYPE"
	case ASCInvalidTokenOperationTokenUnknown:
		return "INVALID TOKEN OPERATION, TOKEN UNKNOWN"
	case ASCInvalidTokenOperationTokenCorrupt:
		return "INVALID TOKEN OPERATION, TOKEN CORRUPT"
	case ASCInvalidTokenOperationTokenRevoked:
		return "INVALID TOKEN OPERATION, TOKEN REVOKED"
	case ASCInvalidTokenOperationTokenExpired:
		return "INVALID TOKEN OPERATION, TOKEN EXPIRED"
	case ASCInvalidTokenOperationTokenCancelled:
		return "INVALID TOKEN OPERATION, TOKEN CANCELLED"
	case ASCInvalidTokenOperationTokenDeleted:
		return "INVALID TOKEN OPERATION, TOKEN DELETED"
	case ASCInvalidTokenOperationInvalidTokenLength:
		return "INVALID TOKEN OPERATION, INVALID TOKEN LENGTH"
	case ASCInvalidFieldInCDB:
		return "INVALID FIELD IN CDB"
	case ASCLogicalUnitNotSupported:
		return "LOGICAL UNIT NOT SUPPORTED"
	case ASCInvalidFieldInParameterList:
		return "INVALID FIELD IN PARAMETER LIST"
	case ASCParameterNotSupported:
		return "PARAMETER NOT SUPPORTED"
	case ASCParameterValueInvalid:
		return "PARAMETER VALUE INVALID"
	case ASCInvalidReleaseOfPersistentReservation:
		return "INVALID RELEASE OF PERSISTENT RESERVATION"
	case ASCTooManyTargetDescriptors:
		return "TOO MANY TARGET DESCRIPTORS"
	case ASCUnsupportedTargetDescriptorTypeCode:
		return "UNSUPPORTED TARGET DESCRIPTOR TYPE CODE"
	case ASCTooManySegmentDescriptors:
		return "TOO MANY SEGMENT DESCRIPTORS"
	case ASCUnsupportedSegmentDescriptorTypeCode:
		return "UNSUPPORTED SEGMENT DESCRIPTOR TYPE CODE"
	case ASCUnexpectedInexactSegment:
		return "UNEXPECTED INEXACT SEGMENT"
	case ASCInlineDataLengthExceeded:
		return "INLINE DATA LENGTH EXCEEDED"
	case ASCInvalidOperationForCopySourceOrDestination:
		return "INVALID OPERATION FOR COPY SOURCE OR DESTINATION"
	case ASCWriteProtected:
		return "WRITE PROTECTED"
	case ASCSpaceAllocationFailedWriteProtect:
		return "SPACE ALLOCATION FAILED WRITE PROTECT"
	case ASCNotReadyToReadyChangeMediumMayHaveChanged:
		return "NOT READY TO READY CHANGE, MEDIUM MAY HAVE CHANGED"
	case ASCPowerOnResetOrBusDeviceResetOccurred:
		return "POWER ON, RESET, OR BUS DEVICE RESET OCCURRED"
	case ASCPowerOnOccurred:
		return "POWER ON OCCURRED"
	case ASCBusDeviceResetFunctionOccurred:
		return "BUS DEVICE RESET FUNCTION OCCURRED"
	case ASCITNexusLossOccurred:
		return "I_T NEXUS LOSS OCCURRED"
	case ASCParametersChanged:
		return "PARAMETERS CHANGED"
	case ASCModeParametersChanged:
		return "MODE PARAMETERS CHANGED"
	case ASCReservationsPreempted:
		return "RESERVATIONS PREEMPTED"
	case ASCReservationsReleased:
		return "RESERVATIONS RELEASED"
	case ASCRegistrationsPreempted:
		return "REGISTRATIONS PREEMPTED"
	case ASCAsymmetricAccessStateChanged:
		return "ASYMMETRIC ACCESS STATE CHANGED"
	case ASCImplicitAsymmetricAccessStateTransitionFailed:
		return "IMPLICIT ASYMMETRIC ACCESS STATE TRANSITION FAILED"
	case ASCCapacityDataHasChanged:
		return "CAPACITY DATA HAS CHANGED"
	case ASCCommandSequenceError:
		return "COMMAND SEQUENCE ERROR"
	case ASCCommandsClearedByAnotherInitiator:
		return "COMMANDS CLEARED BY ANOTHER INITIATOR"
	case ASCMediumFormatCorrupted:
		return "MEDIUM FORMAT CORRUPTED"
	case ASCFormatCommandFailed:
		return "FORMAT COMMAND FAILED"
	case ASCSanitizeCommandFailed:
		return "SANITIZE COMMAND FAILED"
	case ASCThinProvisioningSoftThresholdReached:
		return "THIN PROVISIONING SOFT THRESHOLD REACHED"
	case ASCSavingParametersNotSupported:
		return "SAVING PARAMETERS NOT SUPPORTED"
	case ASCMediumNotPresent:
		return "MEDIUM NOT PRESENT"
	case ASCLogicalUnitFailure:
		return "LOGICAL UNIT FAILURE"
	case ASCTimeoutOnLogicalUnit:
		return "TIMEOUT ON LOGICAL UNIT"
	case ASCLogicalUnitFailedSelfTest:
		return "LOGICAL UNIT FAILED SELF-TEST"
	case ASCInquiryDataHasChanged:
		return "INQUIRY DATA HAS CHANGED"
	case ASCReportedLUNsDataHasChanged:
		return "REPORTED LUNS DATA HAS CHANGED"
	case ASCEchoBufferOverwritten:
		return "ECHO BUFFER OVERWRITTEN"
	case ASCInternalTargetFailure:
		return "INTERNAL TARGET FAILURE"
	case ASCProtocolServiceCRCError:
		return "PROTOCOL SERVICE CRC ERROR"
	case ASCInvalidMessageError:
		return "INVALID MESSAGE ERROR"
	case ASCOverlappedCommandsAttempted:
		return "OVERLAPPED COMMANDS ATTEMPTED"
	case ASCMediumRemovalPrevented:
		return "MEDIUM REMOVAL PREVENTED"
	case ASCSystemResourceFailure:
		return "SYSTEM RESOURCE FAILURE"
	case ASCInsufficientReservationResources:
		return "INSUFFICIENT RESERVATION RESOURCES"
	case ASCInsufficientResources:
		return "INSUFFICIENT RESOURCES"
	case ASCInsufficientRegistrationResources:
		return "INSUFFICIENT REGISTRATION RESOURCES"
	case ASCFailurePredictionThresholdExceeded:
		return "FAILURE PREDICTION THRESHOLD EXCEEDED"
	case ASCSetTargetPortGroupsCommandFailed:
		return "SET TARGET PORT GROUPS COMMAND FAILED"
	}
	return ""
}
