package main

import (
	"io"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/isantarget/isantarget/configs"
)

// newLog makes the log that the configuration asks for.
func newLog(w io.Writer, c configs.Log) (*logrus.Logger, error) {
	level, err := logrus.ParseLevel(string(c.Level))
	if err != nil {
		return nil, err
	}
	log := logrus.New()
	log.SetOutput(w)
	log.SetLevel(level)
	if c.Format == "json" {
		log.SetFormatter(&logrus.JSONFormatter{TimestampFormat: time.RFC3339Nano})
	} else {
		log.SetFormatter(&logrus.TextFormatter{FullTimestamp: true})
	}
	return log, nil
}
