// Package table knows the cases that are measured and the floors they are held to, makes medians and ranges of the
// rounds, and writes the report.
//
// A ratio is one of medians of rounds that were interleaved: within a round every case goes through all targets before
// the next case begins, so a slow minute of the machine falls upon all of them. Still a shared machine may move more
// than a floor's margin; a floor is therefore judged by the whole range of both sides first, and by the medians only if
// the machine was quiet enough.
package table
