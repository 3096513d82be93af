// Package loopdevice gives tests real block devices and real file systems: loop
// devices over files of their own. It needs root and a kernel with loop devices;
// where there are none the test is skipped and says so.
package loopdevice
