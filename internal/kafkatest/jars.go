package kafkatest

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// pom names Apache Kafka's jars for Maven.
//
//go:embed pom.xml
var pom []byte

// jars returns the folder with Apache Kafka's jars, fetched with Maven on first
// use and kept outside the tree. Test packages run in parallel, so a file lock
// lets one of them fetch; the folder gets its name only when it is complete.
func jars() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "penstock", "kafka-"+Version)
	if complete(dir) {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	unlock, err := lockFile(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if complete(dir) {
		return dir, nil
	}
	return dir, fetch(dir)
}

func complete(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "kafka_2.13-"+Version+".jar"))
	return err == nil
}

func fetch(dir string) error {
	mvn, err := tool("mvn", "maven")
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), "fetch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := os.WriteFile(filepath.Join(work, "pom.xml"), pom, 0o600); err != nil {
		return err
	}
	libs := filepath.Join(work, "libs")
	cmd := exec.Command(mvn, "-q", "-B", "dependency:copy-dependencies",
		"-DoutputDirectory="+libs, "-DincludeScope=runtime")
	cmd.Dir = work
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("fetch Apache Kafka %s with maven: %w\n%s", Version, err, out)
	}
	return os.Rename(libs, dir)
}
