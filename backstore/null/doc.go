// Package null is a medium that keeps nothing: reads give zeros, writes are
// dropped. It measures what everything above a store costs.
package null
