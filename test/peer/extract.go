package peer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
)

// extracted is where programs go that are taken out of their package.
const extracted = "/usr/local/bin"

// extract downloads a package and puts its programs, and nothing else of it, into a folder.
func extract(ctx context.Context, p Package, to string) error {
	dir, err := os.MkdirTemp("", "isantarget-peer-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := apt(ctx, dir, "download", "-q", p.Name); err != nil {
		return err
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		return err
	}
	if len(found) != 1 {
		return fmt.Errorf("apt-get download %s has left %q", p.Name, found)
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", found[0])
	cmd.Stderr = &said
	archive, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = take(archive, p.Programs, to)
	if err == nil {
		_, err = io.Copy(io.Discard, archive) // what else there is
	}
	_ = archive.Close()
	if err = errors.Join(err, cmd.Wait()); err != nil {
		return fmt.Errorf("taking %q out of %s: %w %s", p.Programs, found[0], err, said.Bytes())
	}
	return nil
}

// take copies programs out of the archive of a package into a folder.
func take(archive io.Reader, programs []string, to string) error {
	left := slices.Clone(programs)
	for files := tar.NewReader(archive); len(left) > 0; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("it has no %q", left)
		}
		if err != nil {
			return err
		}
		at := slices.Index(left, path.Base(h.Name))
		if at < 0 || h.Typeflag != tar.TypeReg || path.Base(path.Dir(h.Name)) != "bin" {
			continue
		}
		if err := place(files, filepath.Join(to, left[at])); err != nil {
			return err
		}
		left = slices.Delete(left, at, at+1)
	}
	return nil
}

// place writes a program, whole or not at all.
func place(from io.Reader, name string) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+"-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = io.Copy(f, from)
	if err = errors.Join(err, f.Chmod(0o755), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
