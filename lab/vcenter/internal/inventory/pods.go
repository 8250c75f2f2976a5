package inventory

import (
	"fmt"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// Pod is a datastore cluster.
type Pod struct {
	Name       string   `yaml:"name"`
	Datastores []string `yaml:"datastores"`
	StorageDRS string   `yaml:"storageDrs"` // off (the default), manual or automated
}

// pods makes datastore clusters and moves datastores into them.
func (b *builder) pods(p *place) error {
	folder := b.ctx.Map.Get(p.dc.DatastoreFolder).(*simulator.Folder)
	for _, spec := range p.spec.Pods {
		body := folder.CreateStoragePod(b.ctx, &types.CreateStoragePod{This: folder.Self, Name: spec.Name})
		made, err := result[*methods.CreateStoragePodBody](body)
		if err != nil {
			return fmt.Errorf("datastore cluster %s: %w", spec.Name, err)
		}
		pod := b.ctx.Map.Get(made.Res.Returnval).(*simulator.StoragePod)
		pod.PodStorageDrsEntry.StorageDrsConfig.PodConfig.Enabled = spec.StorageDRS != "off"
		pod.PodStorageDrsEntry.StorageDrsConfig.PodConfig.DefaultVmBehavior = spec.StorageDRS
		for _, name := range spec.Datastores {
			store := b.ctx.Map.Get(p.stores[name]).(*simulator.Datastore)
			simulator.RemoveReference(&folder.ChildEntity, store.Self)
			pod.ChildEntity = append(pod.ChildEntity, store.Self)
			store.Parent = &pod.Self
		}
	}
	return nil
}
