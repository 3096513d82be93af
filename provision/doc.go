// Package provision makes running devices of a configuration: it opens stores,
// gives LUNs their identity, puts logical units before them, maps those to
// targets, and binds portals.
//
// What a configuration says is split in two. What must be right before anything
// is served — names, secrets, addresses to listen on, images that exist or may
// be made and that nobody else uses — is prepared whole, and if a part of it
// fails, nothing has changed. What the world breaks later, or has broken
// already — an image that cannot be read — stops the LUN it belongs to and no
// other: its logical unit is there and answers NOT READY, MANUAL INTERVENTION
// REQUIRED (SPC-4: 02/04/03), and the log says why.
//
// Start, change and stop are one path: [Provisioner.Apply] with a configuration,
// with another, and with an empty one. A change prepares what is new, and then
// switches what sessions find; what is the same before and after, and the sessions
// that use it, are never touched.
package provision
