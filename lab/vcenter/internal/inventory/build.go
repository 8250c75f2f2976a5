package inventory

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"reflect"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/simulator/vpx"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

type ref = types.ManagedObjectReference

// Built is the simulator with the objects of an inventory file in it.
type Built struct {
	Service *simulator.Service
	Images  map[ref]string // of templates
}

type builder struct {
	ctx *simulator.Context
	dir string
	out *Built
}

// place is a datacenter under construction, with its objects by name.
type place struct {
	spec     *Datacenter
	dc       *simulator.Datacenter
	hosts    map[string]*simulator.HostSystem
	parents  map[string]*mo.ComputeResource // of hosts
	networks map[string]ref
	stores   map[string]ref
	folders  map[string]ref
}

// Build makes the objects of spec; the files of datastores go below dir.
func Build(spec *Spec, dir string) (*Built, error) {
	content := vpx.ServiceContent
	content.About.ApiVersion = spec.About.APIVersion
	content.About.Version = spec.About.Version
	content.About.Build = spec.About.Build
	content.About.FullName = fmt.Sprintf("VMware vCenter Server %s build-%s", spec.About.Version, spec.About.Build)
	content.About.LicenseProductVersion = spec.About.Version[:1] + ".0"

	ctx := simulator.NewContext()
	service := simulator.New(simulator.NewServiceInstance(ctx, content, vpx.RootFolder))
	b := &builder{ctx: ctx, dir: dir, out: &Built{Service: service, Images: map[ref]string{}}}
	options := ctx.Map.OptionManager()
	options.Setting = append(options.Setting, &types.OptionValue{Key: "vcsim.home", Value: dir})
	for i := range spec.Datacenters {
		if err := b.datacenter(&spec.Datacenters[i]); err != nil {
			return nil, fmt.Errorf("build datacenter %s: %w", spec.Datacenters[i].Name, err)
		}
	}
	return b.out, nil
}

func (b *builder) datacenter(spec *Datacenter) error {
	root := b.ctx.Map.Get(vpx.ServiceContent.RootFolder).(*simulator.Folder)
	body := root.CreateDatacenter(b.ctx, &types.CreateDatacenter{This: root.Self, Name: escaped(spec.Name)})
	made, err := result[*methods.CreateDatacenterBody](body)
	if err != nil {
		return err
	}
	p := &place{
		spec:     spec,
		dc:       b.ctx.Map.Get(made.Res.Returnval).(*simulator.Datacenter),
		hosts:    map[string]*simulator.HostSystem{},
		parents:  map[string]*mo.ComputeResource{},
		networks: map[string]ref{},
		stores:   map[string]ref{},
	}
	p.folders = map[string]ref{"": p.dc.VmFolder}
	for _, step := range []func(*place) error{
		b.compute, b.standalone, b.standardNetworks, b.switches, b.datastores, b.pods, b.arrangeDatastores,
		b.vmFolders, b.templates, b.arrangeOthers,
	} {
		if err := step(p); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) compute(p *place) error {
	folder := b.ctx.Map.Get(p.dc.HostFolder).(*simulator.Folder)
	for _, spec := range p.spec.ComputeClusters {
		drs := types.ClusterConfigSpecEx{DrsConfig: &types.ClusterDrsConfigInfo{
			Enabled: types.NewBool(spec.DRS), DefaultVmBehavior: types.DrsBehaviorFullyAutomated,
		}}
		body := folder.CreateClusterEx(b.ctx, &types.CreateClusterEx{This: folder.Self, Name: spec.Name, Spec: drs})
		made, err := result[*methods.CreateClusterExBody](body)
		if err != nil {
			return fmt.Errorf("compute cluster %s: %w", spec.Name, err)
		}
		cluster := b.ctx.Map.Get(made.Res.Returnval).(*simulator.ClusterComputeResource)
		if _, err := b.wait(cluster.ReconfigureComputeResourceTask(b.ctx, &types.ReconfigureComputeResource_Task{
			This: cluster.Self, Spec: &drs, Modify: true,
		})); err != nil {
			return fmt.Errorf("compute cluster %s: %w", spec.Name, err)
		}
		for _, h := range spec.Hosts {
			task := cluster.AddHostTask(b.ctx, &types.AddHost_Task{
				This: cluster.Self, Spec: types.HostConnectSpec{HostName: h.Name}, AsConnected: true,
			})
			if err := b.host(p, h, task, &cluster.ComputeResource); err != nil {
				return err
			}
		}
		b.summarize(&cluster.ComputeResource, spec.Hosts)
		if err := b.pools(*cluster.ResourcePool, spec.ResourcePools); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) standalone(p *place) error {
	folder := b.ctx.Map.Get(p.dc.HostFolder).(*simulator.Folder)
	for _, h := range p.spec.Hosts {
		task := folder.AddStandaloneHostTask(b.ctx, &types.AddStandaloneHost_Task{
			This: folder.Self, Spec: types.HostConnectSpec{HostName: h.Name}, AddConnected: true,
		})
		if err := b.host(p, h, task, nil); err != nil {
			return err
		}
		parent := p.parents[h.Name]
		b.summarize(parent, []Host{h})
		if err := b.pools(*parent.ResourcePool, h.ResourcePools); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) host(p *place, spec Host, task soap.HasFault, parent *mo.ComputeResource) error {
	made, err := b.wait(task)
	if err != nil {
		return fmt.Errorf("host %s: %w", spec.Name, err)
	}
	object := b.ctx.Map.Get(made.(ref))
	if cr, ok := object.(*mo.ComputeResource); ok { // AddStandaloneHost answers with the parent
		object = b.ctx.Map.Get(cr.Host[0])
	}
	host := object.(*simulator.HostSystem)
	if parent == nil {
		parent = b.ctx.Map.Get(*host.Parent).(*mo.ComputeResource)
	}
	cores, memory := int16(spec.CPUs), int64(spec.MemoryGiB)<<30
	host.Summary.Hardware.NumCpuCores = cores
	host.Summary.Hardware.NumCpuThreads = cores * 2
	host.Summary.Hardware.NumCpuPkgs = 1
	host.Summary.Hardware.CpuMhz = 2600
	host.Summary.Hardware.MemorySize = memory
	host.Hardware.CpuInfo.NumCpuCores = cores
	host.Hardware.CpuInfo.NumCpuThreads = cores * 2
	host.Hardware.CpuInfo.NumCpuPackages = 1
	host.Hardware.CpuInfo.Hz = 2_600_000_000
	host.Hardware.MemorySize = memory
	host.Runtime.ConnectionState = types.HostSystemConnectionStateConnected
	host.Runtime.PowerState = types.HostSystemPowerStatePoweredOn
	b.dropDangling(&host.ConfigManager)
	p.hosts[spec.Name] = host
	p.parents[spec.Name] = parent
	return nil
}

// dropDangling clears the references to managers that the simulator does not have.
func (b *builder) dropDangling(managers *types.HostConfigManager) {
	fields := reflect.ValueOf(managers).Elem()
	for i := range fields.NumField() {
		if r, ok := fields.Field(i).Interface().(*ref); ok && r != nil && b.ctx.Map.Get(*r) == nil {
			fields.Field(i).SetZero()
		}
	}
}

// summarize sets the totals that placement looks at.
func (b *builder) summarize(parent *mo.ComputeResource, hosts []Host) {
	summary := parent.Summary.GetComputeResourceSummary()
	summary.TotalCpu, summary.TotalMemory, summary.NumCpuCores, summary.NumCpuThreads = 0, 0, 0, 0
	for _, h := range hosts {
		summary.NumCpuCores += int16(h.CPUs)
		summary.NumCpuThreads += int16(h.CPUs * 2)
		summary.TotalCpu += int32(h.CPUs) * 2600
		summary.TotalMemory += int64(h.MemoryGiB) << 30
	}
	summary.NumHosts = int32(len(hosts))
	summary.NumEffectiveHosts = summary.NumHosts
	summary.EffectiveCpu = summary.TotalCpu
	summary.EffectiveMemory = summary.TotalMemory >> 20
	pool := b.ctx.Map.Get(*parent.ResourcePool).(*simulator.ResourcePool)
	pool.Runtime.Cpu.MaxUsage = int64(summary.TotalCpu)
	pool.Runtime.Memory.MaxUsage = summary.TotalMemory
}

func (b *builder) pools(parent ref, specs []ResourcePool) error {
	pool := b.ctx.Map.Get(parent).(*simulator.ResourcePool)
	for _, spec := range specs {
		config := types.DefaultResourceConfigSpec()
		if spec.MemoryLimitMiB > 0 {
			config.MemoryAllocation.Limit = types.NewInt64(spec.MemoryLimitMiB)
		}
		config.MemoryAllocation.Reservation = types.NewInt64(spec.MemoryReservationMiB)
		if spec.Expandable != nil {
			config.MemoryAllocation.ExpandableReservation = spec.Expandable
			config.CpuAllocation.ExpandableReservation = spec.Expandable
		}
		body := pool.CreateResourcePool(b.ctx, &types.CreateResourcePool{
			This: parent, Name: escaped(spec.Name), Spec: config,
		})
		made, err := result[*methods.CreateResourcePoolBody](body)
		if err != nil {
			return fmt.Errorf("resource pool %s: %w", spec.Name, err)
		}
		if err := b.pools(made.Res.Returnval, spec.Children); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) datastores(p *place) error {
	for _, spec := range p.spec.Datastores {
		dir := filepath.Join(b.dir, url.PathEscape(p.spec.Name+"-"+spec.Name))
		if err := os.Mkdir(dir, 0o700); err != nil {
			return fmt.Errorf("datastore %s: %w", spec.Name, err)
		}
		names := spec.Hosts
		if len(names) == 0 {
			for _, h := range p.spec.hosts() {
				names = append(names, h.Name)
			}
		}
		var made ref
		for _, name := range names {
			system := b.ctx.Map.Get(*p.hosts[name].ConfigManager.DatastoreSystem).(*simulator.HostDatastoreSystem)
			body := system.CreateLocalDatastore(b.ctx, &types.CreateLocalDatastore{This: system.Self, Name: spec.Name, Path: dir})
			if _, err := result[*methods.CreateLocalDatastoreBody](body); err != nil {
				return fmt.Errorf("datastore %s on host %s: %w", spec.Name, name, err)
			}
			made = b.ctx.Map.FindByName(spec.Name, p.dc.Datastore).Reference()
		}
		p.stores[spec.Name] = made
		ds := b.ctx.Map.Get(made).(*simulator.Datastore)
		capacity := spec.CapacityGiB << 30
		ds.Summary.Type = spec.Type
		ds.Summary.Capacity, ds.Summary.FreeSpace = capacity, capacity
		ds.Summary.MultipleHostAccess = types.NewBool(len(names) > 1)
		info := ds.Info.GetDatastoreInfo()
		info.FreeSpace, info.MaxFileSize, info.MaxMemoryFileSize = capacity, capacity, capacity
	}
	return nil
}

func (b *builder) vmFolders(p *place) error {
	var make func(parent ref, path string, specs []Folder) error
	make = func(parent ref, path string, specs []Folder) error {
		folder := b.ctx.Map.Get(parent).(*simulator.Folder)
		for _, spec := range specs {
			body := folder.CreateFolder(b.ctx, &types.CreateFolder{This: parent, Name: spec.Name})
			made, err := result[*methods.CreateFolderBody](body)
			if err != nil {
				return fmt.Errorf("folder %s: %w", spec.Name, err)
			}
			at := spec.Name
			if path != "" {
				at = path + "/" + at
			}
			p.folders[at] = made.Res.Returnval
			if err := make(made.Res.Returnval, at, spec.Children); err != nil {
				return err
			}
		}
		return nil
	}
	return make(p.dc.VmFolder, "", p.spec.Folders)
}

// wait runs a task to its end.
func (b *builder) wait(started soap.HasFault) (any, error) {
	return wait(b.ctx, started)
}

func wait(ctx *simulator.Context, started soap.HasFault) (any, error) {
	if fault := started.Fault(); fault != nil {
		return nil, soap.WrapSoapFault(fault)
	}
	answer := reflect.ValueOf(started).Elem().FieldByName("Res").Elem().FieldByName("Returnval")
	task := ctx.Map.Get(answer.Interface().(ref)).(*simulator.Task)
	task.Wait()
	if fault := task.Info.Error; fault != nil {
		return nil, fmt.Errorf("%s: %T", task.Info.Name, fault.Fault)
	}
	return task.Info.Result, nil
}

// result gives the answer of a call that makes no task, or its fault.
func result[T soap.HasFault](body soap.HasFault) (T, error) {
	if fault := body.Fault(); fault != nil {
		var none T
		return none, soap.WrapSoapFault(fault)
	}
	return body.(T), nil
}
