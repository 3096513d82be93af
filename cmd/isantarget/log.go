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
