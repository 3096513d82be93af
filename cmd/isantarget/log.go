package main

import (
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/isantarget/isantarget/configs"
)

// setLog makes log look as the configuration says.
func setLog(log *logrus.Logger, c configs.Log) error {
	level, err := logrus.ParseLevel(string(c.Level))
	if err != nil {
		return err
	}
	log.SetLevel(max(level, logrus.InfoLevel)) // events are made of all that
	var format logrus.Formatter = &logrus.TextFormatter{FullTimestamp: true}
	if c.Format == "json" {
		format = &logrus.JSONFormatter{TimestampFormat: time.RFC3339Nano}
	}
	log.SetFormatter(upTo{format, level})
	return nil
}

// upTo writes entries up to a level, and nothing of the others.
type upTo struct {
	logrus.Formatter
	level logrus.Level
}

// Format is nothing for an entry that is not to be written.
func (u upTo) Format(e *logrus.Entry) ([]byte, error) {
	if e.Level > u.level {
		return nil, nil
	}
	return u.Formatter.Format(e)
}

// logLines logs each line of an error by itself.
func logLines(log *logrus.Logger, err error) {
	for line := range strings.Lines(err.Error()) {
		log.Error(strings.TrimSpace(line))
	}
}
