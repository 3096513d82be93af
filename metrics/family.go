package metrics

import "github.com/prometheus/client_golang/prometheus"

// families are all metrics there are.
type families struct {
	build, serving, events *prometheus.Desc

	lunCommands, lunBytes, lunErrors, lunDuration, lunPhase, lunOpen *prometheus.Desc
	lunSize, lunReady, lunLost, lunPaths, lunReservation, lunKeys    *prometheus.Desc
	lunAllocated, lunShared                                          *prometheus.Desc

	targetFlow, sessionFlow             flowFamilies
	targetSessions, targetLost          *prometheus.Desc
	logins, loginsRefused, chapFailures *prometheus.Desc

	storeCapacity, storeAvailable, storeAllocated, storePromised, storeOwed, storeThreshold *prometheus.Desc

	jobs, jobsEnded, jobProgress, jobLeft *prometheus.Desc
}

// flowFamilies are the metrics of a target, or of a session.
type flowFamilies struct {
	commands, bytes, errors, duration, phase, open *prometheus.Desc
}

func family(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("isantarget_"+name, help, labels, nil)
}

func newFlowFamilies(of string, labels ...string) flowFamilies {
	with := func(more ...string) []string { return append(append([]string{}, labels...), more...) }
	return flowFamilies{
		commands: family(of+"_commands_total", "Commands that have ended, by where their data go.", with("direction")...),
		bytes:    family(of+"_data_bytes_total", "Data that went over the network.", with("direction")...),
		errors:   family(of+"_command_errors_total", "Commands that did not end with GOOD, by status and sense key.", with("status", "sense_key")...),
		duration: family(of+"_command_duration_seconds", "From the arrival of a command until the socket had its answer.", with("direction")...),
		phase:    family(of+"_phase_duration_seconds", "Parts of that time: in the queue, in the store, and waiting for the initiator.", with("direction", "phase")...),
		open:     family(of+"_open_commands", "Commands that have come and not ended yet.", labels...),
	}
}

func newFamilies() families {
	return families{
		build:   family("build_info", "The version of the daemon.", "version", "goversion"),
		serving: family("serving", "1 while initiators can log in, 0 while the daemon starts or stops."),
		events:  family("events_total", "What has happened, as the log tells it.", "kind"),

		lunCommands:    family("lun_commands_total", "Commands that have ended, by the row of the command table.", "lun", "command", "direction"),
		lunBytes:       family("lun_data_bytes_total", "Data that went over the network.", "lun", "command", "direction"),
		lunErrors:      family("lun_command_errors_total", "Commands that did not end with GOOD, by status and sense key.", "lun", "command", "status", "sense_key"),
		lunDuration:    family("lun_command_duration_seconds", "From the arrival of a command until the socket had its answer.", "lun", "command", "direction"),
		lunPhase:       family("lun_phase_duration_seconds", "Parts of that time: in the queue, in the store, and waiting for the initiator.", "lun", "command", "direction", "phase"),
		lunOpen:        family("lun_open_commands", "Commands in the task set.", "lun"),
		lunSize:        family("lun_size_bytes", "The capacity that initiators see; 0 while there is no medium.", "lun"),
		lunAllocated:   family("lun_allocated_bytes", "What the image takes of its file system.", "lun"),
		lunShared:      family("lun_shared_bytes", "The part of that which other files have too: a write to it takes new space.", "lun"),
		lunReady:       family("lun_ready", "1 while the LUN serves.", "lun"),
		lunLost:        family("lun_writes_lost", "1 after a flush has failed: writes are refused until the operator accepts the loss.", "lun"),
		lunPaths:       family("lun_paths", "Paths to the LUN, by their asymmetric access state.", "lun", "state"),
		lunReservation: family("lun_reservation_info", "The reservation of the LUN, and who holds it.", "lun", "kind", "holder"),
		lunKeys:        family("lun_registrations", "I_T nexuses registered for persistent reservations.", "lun"),

		targetFlow:     newFlowFamilies("target", "target"),
		sessionFlow:    newFlowFamilies("session", "target", "initiator", "tsih"),
		targetSessions: family("target_sessions", "Sessions with the target.", "target"),
		targetLost:     family("target_sessions_lost_total", "Sessions that ended otherwise than by a logout.", "target"),
		logins:         family("logins_total", "Connections that have logged in.", "session"),
		loginsRefused:  family("logins_refused_total", "Logins that were refused, by what the initiator was told.", "reason"),
		chapFailures:   family("chap_failures_total", "Wrong answers to a CHAP challenge."),

		storeCapacity:  family("store_capacity_bytes", "Size of the file system of the store.", "store", "path"),
		storeAvailable: family("store_available_bytes", "What the file system of the store can still give.", "store", "path"),
		storeAllocated: family("store_allocated_bytes", "What the images in the store take; what they share is counted once.", "store", "path"),
		storePromised:  family("store_promised_bytes", "The sizes of the images in the store together.", "store", "path"),
		storeOwed:      family("store_owed_bytes", "What images may still take of the file system of the store: what they have not been given yet, and what they share.", "store", "path"),
		storeThreshold: family("store_space_threshold_ratio", "Use of the file system from which on initiators are told.", "store", "path"),

		jobs:        family("jobs", "Long operations that have not ended, by what they do and the part they are at.", "kind", "phase"),
		jobsEnded:   family("jobs_ended_total", "Long operations that have ended, by how.", "kind", "state"),
		jobProgress: family("job_progress_ratio", "How much of its phase a long operation has done.", "job", "kind", "object"),
		jobLeft:     family("job_left_seconds", "How long a long operation will probably take yet.", "job", "kind", "object"),
	}
}

func (f *flowFamilies) all() []*prometheus.Desc {
	return []*prometheus.Desc{f.commands, f.bytes, f.errors, f.duration, f.phase, f.open}
}

func (f *families) all() []*prometheus.Desc {
	return append(append([]*prometheus.Desc{
		f.build, f.serving, f.events,
		f.lunCommands, f.lunBytes, f.lunErrors, f.lunDuration, f.lunPhase, f.lunOpen,
		f.lunSize, f.lunReady, f.lunLost, f.lunPaths, f.lunReservation, f.lunKeys, f.lunAllocated, f.lunShared,
		f.targetSessions, f.targetLost, f.logins, f.loginsRefused, f.chapFailures,
		f.storeCapacity, f.storeAvailable, f.storeAllocated, f.storePromised, f.storeOwed, f.storeThreshold,
		f.jobs, f.jobsEnded, f.jobProgress, f.jobLeft,
	}, f.targetFlow.all()...), f.sessionFlow.all()...)
}
