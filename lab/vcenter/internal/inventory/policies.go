package inventory

import "fmt"

// StoragePolicy is a storage profile, and the names of the datastores that satisfy it.
type StoragePolicy struct {
	Name       string        `yaml:"name"`
	ID         string        `yaml:"id"` // default: made from the number
	Datastores []string      `yaml:"datastores"`
	Rules      []StorageRule `yaml:"rules"`
}

// StorageRule is one capability that a policy asks for.
type StorageRule struct {
	Namespace string `yaml:"namespace"` // such as VSAN
	ID        string `yaml:"id"`
	Value     any    `yaml:"value"`
}

func (s *Spec) completePolicies() {
	for i := range s.StoragePolicies {
		setDefault(&s.StoragePolicies[i].ID, fmt.Sprintf("5e1f0000-0000-4000-8000-%012d", i+1))
	}
}

func (s *Spec) checkPolicies(fail func(string, ...any)) {
	stores := map[string]bool{}
	for _, dc := range s.Datacenters {
		for _, store := range dc.Datastores {
			stores[store.Name] = true
		}
	}
	for i, policy := range s.StoragePolicies {
		if policy.Name == "" {
			fail("storagePolicies[%d]: a name is needed", i)
		}
		for _, name := range policy.Datastores {
			if !stores[name] {
				fail("storage policy %q: there is no datastore %q", policy.Name, name)
			}
		}
	}
}
