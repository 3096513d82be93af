// Package peer starts what is measured: isantarget, the iSCSI targets that it is compared with, and the bare server that
// shows the limit of the machine. Each gets an image of its own, a port on the loopback address, and a directory for what
// it wants to write; all of them end when they are stopped, or with the process that started them.
//
//   - isantarget is built from this tree.
//   - tgt and istgt are Debian packages. What is not installed is left out, and the reason says what to install.
//   - gotgt is built from the version in go.mod. It listens on every address, so it gets a network namespace in which there
//     is only loopback; that needs root.
//   - bare is package bare, in a process of its own.
//
// All of them acknowledge a write from the page cache, as they do by default.
package peer
