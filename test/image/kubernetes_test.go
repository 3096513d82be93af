package image

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// A manifest is what the tests look at of what Kubernetes is told.
type manifest struct {
	Kind string
	Spec struct {
		Template struct {
			Metadata struct{ Annotations map[string]string }
			Spec     struct {
				SecurityContext struct {
					RunAsUser  uint32 `yaml:"runAsUser"`
					RunAsGroup uint32 `yaml:"runAsGroup"`
				} `yaml:"securityContext"`
				Containers []struct {
					Env   []struct{ Name, Value string }
					Ports []struct {
						Name          string
						ContainerPort int `yaml:"containerPort"`
					}
					Readiness    struct{ Exec struct{ Command []string } } `yaml:"readinessProbe"`
					VolumeMounts []struct {
						MountPath string `yaml:"mountPath"`
					} `yaml:"volumeMounts"`
				}
			}
		}
	}
}

// TestKubernetes holds the example for Kubernetes to the image: its user, ports, volume and health check are those of the
// Dockerfile, and Prometheus is told where the metrics are. What its variables serve, TestImage shows.
func TestKubernetes(t *testing.T) {
	set := statefulSet(t)
	image := stages(t)[1]
	pod, container := set.Spec.Template.Spec, set.Spec.Template.Spec.Containers[0]
	if uid, gid, err := image.User(); err != nil || pod.SecurityContext.RunAsUser != uid || pod.SecurityContext.RunAsGroup != gid {
		t.Errorf("it runs as %+v, the image as %d:%d (%v)", pod.SecurityContext, uid, gid, err)
	}
	if volume, ok := image.Last("VOLUME"); !ok || len(container.VolumeMounts) != 1 || container.VolumeMounts[0].MountPath != volume.Rest {
		t.Errorf("it mounts %+v, the image wants %s", container.VolumeMounts, volume.Rest)
	}
	health := strings.Join(execForm(t, image, "HEALTHCHECK"), " ")
	if probe := strings.Join(container.Readiness.Exec.Command, " "); probe != health {
		t.Errorf("it asks %q whether it is ready, the image %q", probe, health)
	}
	ports := map[string]int{}
	for _, p := range container.Ports {
		ports[p.Name] = p.ContainerPort
	}
	exposed, _ := image.Last("EXPOSE")
	if strconv.Itoa(ports["iscsi"]) != exposed.Rest {
		t.Errorf("the port iscsi is %d, the image has %s", ports["iscsi"], exposed.Rest)
	}
	annotations := set.Spec.Template.Metadata.Annotations
	if annotations["prometheus.io/port"] != strconv.Itoa(ports["admin"]) || annotations["prometheus.io/path"] != "/metrics" {
		t.Errorf("Prometheus is told %v, and the port admin is %d", annotations, ports["admin"])
	}
}

// statefulSet is that of the example.
func statefulSet(t *testing.T) (set manifest) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "configs/kubernetes/isantarget.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for part := range strings.SplitSeq(string(text), "\n---\n") {
		var m manifest
		if err := yaml.Unmarshal([]byte(part), &m); err != nil {
			t.Fatal(err)
		}
		if m.Kind == "StatefulSet" {
			set = m
		}
	}
	if len(set.Spec.Template.Spec.Containers) != 1 {
		t.Fatal("there is no stateful set with one container")
	}
	return set
}

// variables are those that the example sets in the container, with a token for the secret.
func variables(t *testing.T) (all []string) {
	t.Helper()
	for _, v := range statefulSet(t).Spec.Template.Spec.Containers[0].Env {
		if v.Name == "ISANTARGET_TOKEN" {
			v.Value = token
		}
		all = append(all, v.Name+"="+v.Value)
	}
	return all
}

// token is what the secret of the example holds in these tests.
const token = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
