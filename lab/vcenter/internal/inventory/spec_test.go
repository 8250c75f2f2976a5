package inventory

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func load(t *testing.T, text string) (*Spec, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "inventory.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(file)
}

func TestMistakesAreNamedAllAtOnce(t *testing.T) {
	_, err := load(t, `
users: [{name: a}]
datacenters:
  - name: dc
    computeClusters: [{name: cc, hosts: [{name: h}, {name: h}]}]
    datastores: [{name: ds, hosts: [nowhere]}]
    folders: [{name: a/b}]
    templates: [{name: t, folder: none, datastore: none, network: none, host: none}]
`)
	if err == nil {
		t.Fatal("it was taken")
	}
	for _, part := range []string{
		`users[0]`, `host "h" is there twice`, `datastore "ds": there is no host "nowhere"`, `folder "a/b"`,
		`no folder "none"`, `no datastore "none"`, `no network "none"`, `no host "none"`,
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("nothing about %s in %v", part, err)
		}
	}
}

func TestUnknownFieldsAreRefused(t *testing.T) {
	if _, err := load(t, "datacentres: []\n"); err == nil || !strings.Contains(err.Error(), "datacentres") {
		t.Error(err)
	}
}

func TestDefaultsAreFilledIn(t *testing.T) {
	spec, err := load(t, `
users: [{name: a, password: b}]
datacenters:
  - name: dc
    computeClusters: [{name: cc, hostCount: 2, cpus: 4}]
    datastores: [{name: ds}]
    networks: [net]
    templates: [{name: t}]
`)
	if err != nil {
		t.Fatal(err)
	}
	dc := spec.Datacenters[0]
	if hosts := dc.hosts(); len(hosts) != 2 || hosts[1].Name != "cc-esx2.lab" || hosts[1].CPUs != 4 || hosts[1].MemoryGiB != 128 {
		t.Errorf("%+v", hosts)
	}
	if tpl := dc.Templates[0]; tpl.Datastore != "ds" || tpl.Network != "net" || tpl.Host != "cc-esx1.lab" || tpl.DiskGiB != 20 {
		t.Errorf("%+v", tpl)
	}
}
