package metrics

import (
	"github.com/isantarget/isantarget/job"
	"github.com/isantarget/isantarget/provision"
)

// lun tells how a LUN is.
func (s *scrape) lun(l *provision.LUNStatus) {
	s.gauge(s.f.lunSize, float64(l.Size), l.Name)
	s.gauge(s.f.lunReady, truth(l.NotReady == ""), l.Name)
	states := map[string]int{}
	for _, p := range l.Paths {
		states[p.State]++
	}
	for state, n := range states {
		s.gauge(s.f.lunPaths, float64(n), l.Name, state)
	}
}

// reservation tells who has reserved a LUN. Of a reservation that all registrants hold,
// nobody is the holder.
func (s *scrape) reservation(r *provision.ReservationStatus) {
	s.gauge(s.f.lunKeys, float64(len(r.Registrations)), r.LUN)
	if r.ReservedBy != "" {
		s.gauge(s.f.lunReservation, 1, r.LUN, "RESERVE", r.ReservedBy)
	}
	if r.Type == "" {
		return
	}
	holder, holders := "", 0
	for _, x := range r.Registrations {
		if x.Holder {
			holder = x.Initiator
			holders++
		}
	}
	if holders != 1 {
		holder = ""
	}
	s.gauge(s.f.lunReservation, 1, r.LUN, r.Type, holder)
}

// store tells of the space of a store, and of the images in it.
func (s *scrape) store(x *provision.StoreStatus) {
	for _, i := range x.Images {
		s.gauge(s.f.lunAllocated, float64(i.Allocated), i.LUN)
		s.gauge(s.f.lunShared, float64(i.Shared), i.LUN)
	}
	if x.Unknown != "" {
		return
	}
	f := &x.FileSystem
	s.gauge(s.f.storeCapacity, float64(f.Capacity), x.Name, x.Path)
	s.gauge(s.f.storeAvailable, float64(f.Available), x.Name, x.Path)
	s.gauge(s.f.storeAllocated, float64(x.Allocated), x.Name, x.Path)
	s.gauge(s.f.storePromised, float64(x.Promised), x.Name, x.Path)
	s.gauge(s.f.storeOwed, float64(f.Owed), x.Name, x.Path)
	if x.SpaceThreshold > 0 {
		s.gauge(s.f.storeThreshold, float64(x.SpaceThreshold)/100, x.Name, x.Path)
	}
}

// jobs tells of the long operations that have not ended.
func (s *scrape) jobs(list []job.Status) {
	type part struct{ kind, phase string }
	parts := map[part]int{}
	for i := range list {
		j := &list[i]
		if j.State.Final() {
			continue
		}
		parts[part{j.Kind, j.Phase}]++
		if j.Total > 0 {
			s.gauge(s.f.jobProgress, float64(j.Done)/float64(j.Total), j.ID, j.Kind, j.Object)
		}
		if j.Left >= 0 {
			s.gauge(s.f.jobLeft, float64(j.Left), j.ID, j.Kind, j.Object)
		}
	}
	for p, n := range parts {
		s.gauge(s.f.jobs, float64(n), p.kind, p.phase)
	}
}
