package main

import (
	"io"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/isantarget/isantarget/configs"
)

// newLog makes the log that the configuration asks for.
func newLog(w io.Writer, c configs.Log) (*logrus.Logger, error) {
	log := logrus.New()
	log.SetOutput(w)
	return log, setLog(log, c)
}

// setLog makes log look as the configuration says.
func setLog(log *logrus.Logger, c configs.Log) error {
	level, err := logrus.ParseLevel(string(c.Level))
	if err != nil {
		return err
	}
	log.SetLevel(level)
	if c.Format == "json" {
		log.SetFormatter(&logrus.JSONFormatter{TimestampFormat: time.RFC3339Nano})
	} else {
		log.SetFormatter(&logrus.TextFormatter{FullTimestamp: true})
	}
	return nil
}

// logLines logs each line of an error by itself.
func logLines(log *logrus.Logger, err error) {
	for line := range strings.Lines(err.Error()) {
		log.Error(strings.TrimSpace(line))
	}
}
