# What each target does: make help. The tests are Go programs; this file only names them.

TALLY = go run ./test/tally

.PHONY: bench benchstat deb help test check unit fuzz e2e daemon image-test debian-test protocol powercut outage page qemu conformance guest cluster build image clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

test: ## everything below but the last four: what CI runs; it installs what it lacks with apt-get when it is root (ISANTARGET_TEST_INSTALL=0: never)
	@$(TALLY)

check: ## formatting, go vet, staticcheck, the build without cgo, the rules of the house
	@$(TALLY) check

unit: ## unit tests, with the race detector
	@$(TALLY) unit

fuzz: ## each fuzz target for a moment
	@$(TALLY) fuzz

e2e: ## every end to end test
	@$(TALLY) daemon image debian protocol powercut outage page qemu conformance guest cluster

daemon: ## the daemon as a process: stop, kill, refusals
	@$(TALLY) daemon

image-test: ## the container image's binary, as far as a machine without a registry can tell
	@$(TALLY) image

debian-test: ## the Debian package, installed, used and removed in a container with systemd
	@$(TALLY) debian

protocol: ## clause by clause, by initiators that can be wrong, and by many at once
	@$(TALLY) protocol

powercut: ## the plug is pulled: below the store, in a real file system, and by SIGKILL
	@$(TALLY) powercut

outage: ## the power of a machine is cut that serves from its own disk; ISANTARGET_TEST_OUTAGES=100 for that many times
	@$(TALLY) outage

page: ## the web page in a browser, by keyboard too; screenshots go to ISANTARGET_TEST_ARTIFACTS
	@$(TALLY) page

qemu: ## qemu-img and qemu-io on iscsi:// disks
	@$(TALLY) qemu

conformance: ## libiscsi's iscsi-test-cu in every shape of logical unit; UPDATE=1 writes the tables of CONFORMANCE.md
ifdef UPDATE
	go test -count=1 ./test/house -run TestConformance -args -update
	go test -count=1 -timeout=20m ./test/conformance -args -update
else
	@$(TALLY) conformance
endif

guest: ## the Linux initiator in a QEMU guest, which is built in the user's cache directory
	@$(TALLY) guest

cluster: ## what clusters ask of a shared disk, in two such guests: reservations, fencing, multipath, OCFS2
	@$(TALLY) cluster

bench: ## isantarget beside tgt, istgt, gotgt and a bare server, into docs/performance; as root for gotgt; ARGS='-rounds 3 -cases "QD 32"'
	go run ./bench $(ARGS)

benchstat: ## the inner pieces at the commit BASE (default HEAD~1) and in this tree, compared by benchstat; BENCH picks some, COUNT repeats
	go run ./bench benchstat -base "$(or $(BASE),HEAD~1)" -bench "$(or $(BENCH),.)" -count "$(or $(COUNT),6)"

deb: ## the Debian package, isantarget_VERSION_ARCH.deb
	@configs/debian/build

build: ## the static binary, ./isantarget
	CGO_ENABLED=0 go build -trimpath -o isantarget ./cmd/isantarget

image: ## the container image, isantarget:latest (needs docker)
	docker build -t isantarget:latest .

clean: ## removes what build and a run without arguments leave here (not the data in isantarget-data)
	rm -f isantarget
