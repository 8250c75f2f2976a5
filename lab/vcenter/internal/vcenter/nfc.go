package vcenter

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	nfcPath   = "/nfc/"
	nfcCall   = "/nfc" // what transfers are counted as, after their verb, and faults are armed for
	diskType  = "application/x-vnd.vmware-streamVmdk"
	diskMagic = "KDMV"
)

// blocked are the methods that vCenter takes from a machine while a lease covers it (API reference, HttpNfcLease).
var blocked = []string{"PowerOnVM_Task", "Destroy_Task", "MigrateVM_Task", "RelocateVM_Task", "ReconfigVM_Task", "CloneVM_Task"}

// leases are the NFC leases by which disks come in, and the host that takes these.
type leases struct {
	server *Server
	host   nfcHost

	mu       sync.Mutex
	byTicket map[string]*lease
	contents map[ref]map[string]string // machine to file to digest, of what was imported
}

func newLeases(s *Server) *leases {
	return &leases{server: s, byTicket: map[string]*lease{}, contents: map[ref]map[string]string{}}
}

// lease belongs to the session that made it, which alone can name it; it goes on without that until its time is up.
type lease struct {
	mo.HttpNfcLease
	server *Server
	ticket string
	vm     *simulator.VirtualMachine
	free   func() // lets others operate the machine
	task   *running
	timer  *time.Timer
	over   chan struct{}

	aborted bool // before it was ready
	mu      sync.Mutex
	files   map[string]*leased
}

// leased is a file that the lease waits for.
type leased struct {
	disk   bool
	digest string // of what was received whole
}

// resourcePool stands in for a resource pool of the simulator.
type resourcePool struct {
	*simulator.ResourcePool
	server *Server
}

// ImportVApp makes a machine, and a lease by which its disks come in.
func (p *resourcePool) ImportVApp(ctx *simulator.Context, req *types.ImportVApp) soap.HasFault {
	s, pool := p.server, p.ResourcePool
	spec, ok := req.Spec.(*types.VirtualMachineImportSpec)
	if !ok {
		return &methods.ImportVAppBody{Fault_: simulator.Fault("The lab imports single machines.", &types.InvalidArgument{InvalidProperty: "spec"})}
	}
	folder := s.importFolder(pool, req.Folder)
	if folder == nil {
		return &methods.ImportVAppBody{Fault_: simulator.Fault("", &types.InvalidArgument{InvalidProperty: "folder"})}
	}
	if req.Host == nil && s.wantsHost(pool.Self) {
		return &methods.ImportVAppBody{Fault_: simulator.Fault("A cluster without DRS wants the host to be named.", &types.InvalidArgument{InvalidProperty: "host"})}
	}
	l := s.leases.open(ctx)
	create := &types.CreateVM_Task{This: folder.Self, Config: spec.ConfigSpec, Pool: pool.Self, Host: req.Host}
	s.tasks.start(ctx, pool, "ImportVApp", func(ctx *simulator.Context, task *running) (types.AnyType, *refusal) {
		if refused := l.prepare(ctx, task, folder, create); refused != nil {
			ctx.WithLock(l, func() { l.close(ctx, refused) })
			return nil, refused
		}
		select {
		case <-l.over:
		case <-task.life.Done(): // nobody remembers the lease after a restart, and the machine stays as it is
			l.timer.Stop()
			l.free()
			s.leases.forget(l, "restart")
			return nil, nil
		}
		if fault := l.Error; fault != nil {
			return nil, refuseText(fault.Fault, fault.LocalizedMessage)
		}
		return l.vm.Self, nil
	})
	return &methods.ImportVAppBody{Res: &types.ImportVAppResponse{Returnval: l.Self}}
}

// wantsHost is true in a compute cluster whose DRS is off ("for a stand-alone host or a cluster with DRS, host can
// be omitted", API reference, ImportVApp).
func (s *Server) wantsHost(pool ref) bool {
	compute := s.computeOf(pool)
	if compute == nil {
		return false
	}
	cluster, ok := s.registry.Get(compute.Self).(*simulator.ClusterComputeResource)
	return ok && !isTrue(rulesOf(cluster).DrsConfig.Enabled)
}

// importFolder is the VM folder named, or that of the pool's datacenter.
func (s *Server) importFolder(pool *simulator.ResourcePool, named *ref) *simulator.Folder {
	if named == nil {
		dc := s.datacenterOf(pool)
		if dc == nil {
			return nil
		}
		named = &dc.VmFolder
	}
	folder, _ := s.registry.Get(*named).(*simulator.Folder)
	return folder
}

func (l *leases) open(ctx *simulator.Context) *lease {
	made := &lease{
		HttpNfcLease: mo.HttpNfcLease{
			Self:  ref{Type: "HttpNfcLease", Value: fmt.Sprintf("session[%s]%s", ctx.Session.Key, uuid.NewString())},
			State: types.HttpNfcLeaseStateInitializing,
		},
		server: l.server, ticket: uuid.NewString(), over: make(chan struct{}), files: map[string]*leased{}, free: func() {},
	}
	ctx.Session.Put(made)
	l.mu.Lock()
	l.byTicket[made.ticket] = made
	l.mu.Unlock()
	l.server.ledger.made("Lease", made.ticket, "", ctx.Session.UserName)
	return made
}

func (l *leases) forget(gone *lease, how string) {
	l.mu.Lock()
	delete(l.byTicket, gone.ticket)
	l.mu.Unlock()
	l.server.ledger.gone("Lease", gone.ticket, how)
}

// content is the digest of what was imported as a machine's file.
func (l *leases) content(vm ref, file string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.contents[vm][path.Base(file)]
}

// prepare makes the machine, and says where its disks are to be sent.
func (l *lease) prepare(ctx *simulator.Context, task *running, folder *simulator.Folder, create *types.CreateVM_Task) *refusal {
	s := l.server
	if refused := s.importedDisks(ctx, folder, &create.Config); refused != nil {
		return refused
	}
	where, thumbprint, err := s.leases.host.endpoint(s)
	if err != nil {
		return systemError(err)
	}
	vm, refused := s.importMachine(ctx, folder, create, ctx.Session.UserName)
	if refused != nil {
		return refused
	}
	free, refused := s.machines.begin(vm.Self, "import", task)
	if refused != nil {
		return refused
	}
	l.vm, l.free, l.task = vm, free, task
	info := &types.HttpNfcLeaseInfo{Lease: l.Self, Entity: vm.Self, LeaseTimeout: int32(l.timeout().Seconds())}
	devices := object.VirtualDeviceList(vm.Config.Hardware.Device)
	number := map[string]int{}
	ctx.WithLock(vm, func() {
		for _, device := range devices {
			file, ok := device.GetVirtualDevice().Backing.(types.BaseVirtualDeviceFileBackingInfo)
			if !ok {
				continue
			}
			name := path.Base(file.GetVirtualDeviceFileBackingInfo().FileName)
			disk, isDisk := device.(*types.VirtualDisk)
			if isDisk {
				info.TotalDiskCapacityInKB += disk.CapacityInKB
			}
			kind := devices.Type(device)
			l.files[name] = &leased{disk: isDisk}
			info.DeviceUrl = append(info.DeviceUrl, types.HttpNfcLeaseDeviceUrl{
				Key:           fmt.Sprintf("/%s/%s:%d", vm.Self.Value, kind, number[kind]),
				ImportKey:     fmt.Sprintf("/%s/%s:%d", create.Config.Name, kind, number[kind]),
				Url:           where + path.Join(nfcPath, l.ticket, name),
				SslThumbprint: thumbprint, Disk: types.NewBool(isDisk), TargetId: name,
			})
			number[kind]++
		}
		s.registry.Update(ctx, vm, []types.PropertyChange{{Name: "disabledMethod", Val: blocked}})
	})
	ctx.WithLock(l, func() {
		if l.aborted {
			refused = refuse(&types.RequestCanceled{})
			return
		}
		l.timer = time.AfterFunc(l.timeout(), l.timedOut)
		ctx.Update(l, []types.PropertyChange{{Name: "info", Val: info}, {Name: "state", Val: types.HttpNfcLeaseStateReady}})
	})
	return refused
}

func (l *lease) timeout() time.Duration {
	return time.Duration(l.server.limits.get().LeaseSeconds * float64(time.Second))
}

func (l *lease) timedOut() {
	ctx := l.server.internal()
	ctx.WithLock(l, func() { l.close(ctx, refuseText(&types.Timedout{}, "The lease timed out: nobody reported progress.")) })
}

// close ends the lease: well, or with the machine gone. The caller holds its lock.
func (l *lease) close(ctx *simulator.Context, failed *refusal) {
	if l.State == types.HttpNfcLeaseStateDone || l.State == types.HttpNfcLeaseStateError {
		return
	}
	s := l.server
	if l.timer != nil {
		l.timer.Stop()
	}
	l.free()
	state, how := types.HttpNfcLeaseStateDone, "completed"
	if failed != nil {
		state, how = types.HttpNfcLeaseStateError, typeName(failed.fault)
		l.Error = &types.LocalizedMethodFault{Fault: failed.fault, LocalizedMessage: failed.text}
		if l.vm != nil {
			if refused := s.destroy(s.internal(), l.task, l.vm); refused != nil {
				l.Error.LocalizedMessage += " What was made could not be removed: " + refused.text
			}
		}
	} else {
		s.registry.AtomicUpdate(s.internal(), l.vm, []types.PropertyChange{{Name: "disabledMethod", Val: []string(nil)}})
	}
	ctx.Update(l, []types.PropertyChange{{Name: "state", Val: state}})
	s.leases.forget(l, how)
	close(l.over)
}

// ended refuses what an ended lease does not take any more.
func (l *lease) ended() *soap.Fault {
	switch {
	case l.State == types.HttpNfcLeaseStateReady:
		return nil
	case l.Error != nil && typeName(l.Error.Fault) == "Timedout":
		return simulator.Fault(l.Error.LocalizedMessage, &types.Timedout{})
	}
	return simulator.Fault("The lease is "+string(l.State)+".", &types.InvalidState{})
}

// HttpNfcLeaseProgress keeps the lease alive.
func (l *lease) HttpNfcLeaseProgress(ctx *simulator.Context, req *types.HttpNfcLeaseProgress) soap.HasFault {
	if fault := l.ended(); fault != nil {
		return &methods.HttpNfcLeaseProgressBody{Fault_: fault}
	}
	l.timer.Reset(l.timeout())
	ctx.Update(l, []types.PropertyChange{{Name: "transferProgress", Val: req.Percent}})
	return &methods.HttpNfcLeaseProgressBody{Res: new(types.HttpNfcLeaseProgressResponse)}
}

// HttpNfcLeaseComplete refuses a machine with a disk that did not come whole, which a real vCenter may take.
func (l *lease) HttpNfcLeaseComplete(ctx *simulator.Context, _ *types.HttpNfcLeaseComplete) soap.HasFault {
	fault := l.ended()
	if fault == nil {
		l.mu.Lock()
		digests := map[string]string{}
		for name, file := range l.files {
			if digests[name] = file.digest; file.digest == "" {
				fault = simulator.Fault(name+" was not received.", &types.InvalidState{})
			}
		}
		l.mu.Unlock()
		if fault == nil {
			all := l.server.leases
			all.mu.Lock()
			all.contents[l.vm.Self] = digests
			all.mu.Unlock()
			l.close(ctx, nil)
			ctx.Session.Remove(ctx, l.Self)
		}
	}
	if fault != nil {
		return &methods.HttpNfcLeaseCompleteBody{Fault_: fault}
	}
	return &methods.HttpNfcLeaseCompleteBody{Res: new(types.HttpNfcLeaseCompleteResponse)}
}

// HttpNfcLeaseAbort takes away what was made.
func (l *lease) HttpNfcLeaseAbort(ctx *simulator.Context, _ *types.HttpNfcLeaseAbort) soap.HasFault {
	if l.State == types.HttpNfcLeaseStateInitializing { // once the machine is made, it goes
		l.aborted = true
		return &methods.HttpNfcLeaseAbortBody{Res: new(types.HttpNfcLeaseAbortResponse)}
	}
	if fault := l.ended(); fault != nil {
		return &methods.HttpNfcLeaseAbortBody{Fault_: fault}
	}
	l.close(ctx, refuse(&types.RequestCanceled{}))
	ctx.Session.Remove(ctx, l.Self)
	return &methods.HttpNfcLeaseAbortBody{Res: new(types.HttpNfcLeaseAbortResponse)}
}

// ServeHTTP takes a file in, at the host that a lease names: who knows the URL may send it.
func (l *leases) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := r.Method + " " + nfcCall
	l.server.Counters.called(name)
	act := l.server.Faults.match(name)
	if act != nil {
		act.wait(r.Context())
		switch act.Action {
		case DieBefore:
			panic(http.ErrAbortHandler)
		case Status, Fail:
			act.turnAway(w)
			return
		}
	}
	ticket, base := path.Split(strings.TrimPrefix(r.URL.Path, nfcPath))
	l.mu.Lock()
	held := l.byTicket[path.Clean(ticket)]
	l.mu.Unlock()
	if held == nil {
		http.NotFound(w, r)
		return
	}
	status := held.receive(r, base)
	if act != nil && act.Action == DropAnswer || r.Context().Err() != nil {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(status)
}

// receive reads a file to its end and answers a status of HTTP.
func (l *lease) receive(r *http.Request, name string) int {
	l.mu.Lock()
	file := l.files[name]
	l.mu.Unlock()
	switch {
	case file == nil:
		return http.StatusNotFound
	case file.disk && (r.Method != http.MethodPost || r.Header.Get("Content-Type") != diskType):
		return http.StatusUnsupportedMediaType
	case !file.disk && r.Method != http.MethodPut:
		return http.StatusMethodNotAllowed
	}
	digest := sha256.New()
	magic := make([]byte, len(diskMagic))
	if n, err := io.ReadFull(r.Body, magic); file.disk && (err != nil || string(magic[:n]) != diskMagic) {
		return http.StatusInternalServerError
	}
	_, _ = digest.Write(magic)
	if _, err := io.Copy(digest, r.Body); err != nil {
		return http.StatusInternalServerError
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	file.digest = hex.EncodeToString(digest.Sum(nil))
	return http.StatusOK
}
