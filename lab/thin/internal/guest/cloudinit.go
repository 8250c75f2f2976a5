package guest

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"sigs.k8s.io/yaml"
)

const (
	metadataKey = "guestinfo.metadata"
	userdataKey = "guestinfo.userdata"
	empty       = "---" // what cloud-init leaves where it has redacted
	maxValue    = 64 << 10
)

// instance is what cloud-init knows of its machine.
type instance struct {
	ID       string
	Hostname string
	Cards    []card // in the order of the NICs
	Redact   []string
	Files    map[string]string
	Runs     []string // commands of runcmd, each as one line
}

// readInstance does what cloud-init's DataSourceVMware does with guestinfo.
func readInstance(guestinfo map[string]string, nics []NIC) (*instance, error) {
	raw, err := value(guestinfo, metadataKey)
	if err != nil {
		return nil, err
	}
	if raw == "" {
		return nil, errors.New("no " + metadataKey + ": cloud-init finds no data source")
	}
	var metadata struct {
		ID       string   `json:"instance-id"`
		Hostname string   `json:"local-hostname"`
		Redact   []string `json:"redact"`
		Network  struct {
			Ethernets map[string]ethernet `json:"ethernets"`
		} `json:"network"`
	}
	if err := yaml.Unmarshal([]byte(raw), &metadata); err != nil {
		return nil, fmt.Errorf("%s is no YAML: %w", metadataKey, err)
	}
	made := &instance{ID: metadata.ID, Hostname: metadata.Hostname, Redact: metadata.Redact, Files: map[string]string{}}
	if made.ID == "" || made.Hostname == "" {
		return nil, errors.New(metadataKey + " lacks instance-id or local-hostname")
	}
	if made.Cards, err = readNetwork(metadata.Network.Ethernets, nics); err != nil {
		return nil, err
	}
	return made, made.readUserdata(guestinfo)
}

func (i *instance) readUserdata(guestinfo map[string]string) error {
	raw, err := value(guestinfo, userdataKey)
	if err != nil {
		return err
	}
	raw = strings.TrimPrefix(raw, "## template: jinja\n")
	if !strings.HasPrefix(raw, "#cloud-config") {
		return errors.New(userdataKey + " is no #cloud-config")
	}
	var config struct {
		Files []struct {
			Path     string `json:"path"`
			Content  string `json:"content"`
			Encoding string `json:"encoding"`
		} `json:"write_files"`
		Runs []any `json:"runcmd"`
	}
	if err := yaml.Unmarshal([]byte(raw), &config); err != nil {
		return fmt.Errorf("%s is no YAML: %w", userdataKey, err)
	}
	for _, file := range config.Files {
		if i.Files[file.Path], err = decoded(file.Content, file.Encoding); err != nil {
			return fmt.Errorf("%s: file %s: %w", userdataKey, file.Path, err)
		}
	}
	for _, run := range config.Runs {
		if words, ok := run.([]any); ok {
			line := make([]string, len(words))
			for at, word := range words {
				line[at] = fmt.Sprint(word)
			}
			i.Runs = append(i.Runs, strings.Join(line, " "))
		} else {
			i.Runs = append(i.Runs, fmt.Sprint(run))
		}
	}
	return nil
}

func value(guestinfo map[string]string, key string) (string, error) {
	raw := guestinfo[key]
	if len(raw) > maxValue {
		return "", fmt.Errorf("%s has %d bytes; a guest can read %d", key, len(raw), maxValue)
	}
	if strings.TrimSpace(raw) == empty {
		return "", nil
	}
	text, err := decoded(raw, guestinfo[key+".encoding"])
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	return text, nil
}

func decoded(text, encoding string) (string, error) {
	switch strings.TrimSpace(encoding) {
	case "", "text/plain":
		return text, nil
	case "base64", "b64":
		raw, err := base64.StdEncoding.DecodeString(text)
		return string(raw), err
	case "gzip+base64", "gz+b64":
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return "", err
		}
		reader, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			return "", err
		}
		plain, err := io.ReadAll(io.LimitReader(reader, 16<<20))
		return string(plain), err
	}
	return "", fmt.Errorf("encoding %q is not known to cloud-init", encoding)
}
