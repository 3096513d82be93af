// Package metrics tells Prometheus what a daemon does.
//
// Nothing is kept here: a scrape reads what package provision counts and knows at that
// moment, and makes metrics of it. Their names and units follow the conventions of
// Prometheus (seconds, bytes, _total).
//
// How many series there are depends on what is configured, and not on what peers send: by
// LUN and command of its table, by target, and by session, of which there are no more than
// the limits allow. Sessions of initiators whose name nobody vouches for (a target that is
// open to all) are in the numbers of their target alone, and those of a session end with it.
// Of more sessions than 128 the histograms tell counts and sums, and no buckets.
package metrics
