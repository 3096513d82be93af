// Package image proves the Dockerfile as far as a machine without a registry can: it reads it, checks what an image
// from scratch must have, runs the build stage's own commands in a tree of their own, and then runs the final stage's
// entry point, command and health check, as they stand there, in a root directory that holds nothing else, as the
// image's user, in a network of their own.
//
// What it cannot prove is that the base image of the build stage has what its name says; the Go version of its tag is
// held against go.mod.
package image
