// Package guest runs the Linux kernel's initiator (open-iscsi) against isantarget: in a QEMU guest with Debian's stock
// kernel, emulated in software, since a kernel initiator cannot be had in a container and its log must not mix with
// the machine's own.
//
// lab/build makes the kernel, the initramfs and the root image of Debian's packages (lab/packages) and keeps them in
// the user's cache directory. [Boot] starts a guest; each test hands it shell scripts ([Guest.Run], [Guest.Start]) and
// starts its own daemon on the host. After a script the guest logs out of every session and forgets every setting, so
// that one boot serves many tests. The functions a script may call stand in lab/image/library.
//
// A portal has the same address on both sides: in the guest, 127.x.y.z with a port from 3300 to 32767 is the host's.
package guest
