// Package qemu uses QEMU's block layer (libiscsi) as an initiator, as every virtual machine with an iscsi:// disk does:
// qemu-img copies images to and from a logical unit and compares them, qemu-io writes patterns and reads them back. What
// must stay sparse is measured on the host.
package qemu
