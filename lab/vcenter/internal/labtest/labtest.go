// Package labtest starts a simulated vCenter for the tests of this module, with a hypervisor that keeps a diary.
package labtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/task"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"lab-vcenter/internal/control"
	"lab-vcenter/internal/hypervisor"
	"lab-vcenter/internal/inventory"
	"lab-vcenter/internal/pki"
	"lab-vcenter/internal/vcenter"
)

// User and Password are those of the default inventory.
const (
	User     = "moorage@vsphere.local"
	Password = "Moorage-lab-1"
	Template = "/dc1/vm/templates/ubuntu-2404-kube-v1.34.4"
)

// Lab is a running vCenter under test.
type Lab struct {
	T          *testing.T
	Server     *vcenter.Server
	Hypervisor *Diary
	CA         string
}

// Inventory loads a file of lab/inventories.
func Inventory(t *testing.T, name string) *inventory.Spec {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	spec, err := inventory.Load(filepath.Join(filepath.Dir(here), "../../../inventories", name))
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// Start runs a vCenter with the default inventory; edit changes its options first.
func Start(t *testing.T, edit ...func(*vcenter.Options)) *Lab {
	t.Helper()
	dir := t.TempDir()
	authority, err := pki.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := authority.Issue([]string{"vcenter.lab", "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	diary := newDiary(t)
	options := vcenter.Options{
		Listen: "127.0.0.1:0", Certificate: certificate, Inventory: Inventory(t, "default.yaml"),
		Datastores: dir, Hypervisor: hypervisor.Dial(diary.socket),
	}
	for _, f := range edit {
		f(&options)
	}
	server, err := vcenter.New(options)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return &Lab{T: t, Server: server, Hypervisor: diary, CA: authority.File}
}

// Dial connects without logging in.
func (l *Lab) Dial() *vim25.Client {
	l.T.Helper()
	address, err := url.Parse(l.Server.URL())
	if err != nil {
		l.T.Fatal(err)
	}
	wire := soap.NewClient(address, false)
	if err := wire.SetRootCAs(l.CA); err != nil {
		l.T.Fatal(err)
	}
	client, err := vim25.NewClient(l.Context(), wire)
	if err != nil {
		l.T.Fatal(err)
	}
	return client
}

// Login connects and logs in.
func (l *Lab) Login() *govmomi.Client {
	l.T.Helper()
	return l.LoginAs(User)
}

// LoginAs logs in somebody with the usual password.
func (l *Lab) LoginAs(user string) *govmomi.Client {
	l.T.Helper()
	client := &govmomi.Client{Client: l.Dial()}
	client.SessionManager = session.NewManager(client.Client)
	if err := client.SessionManager.Login(l.Context(), url.UserPassword(user, Password)); err != nil {
		l.T.Fatal(err)
	}
	return client
}

// Context ends when the test has taken too long.
func (l *Lab) Context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	l.T.Cleanup(cancel)
	return ctx
}

// VM finds a machine by its inventory path.
func (l *Lab) VM(c *govmomi.Client, path string) *object.VirtualMachine {
	l.T.Helper()
	vm, err := find.NewFinder(c.Client, false).VirtualMachine(l.Context(), path)
	if err != nil {
		l.T.Fatal(err)
	}
	return vm
}

// Properties reads a machine's properties.
func (l *Lab) Properties(c *govmomi.Client, vm types.ManagedObjectReference, names ...string) mo.VirtualMachine {
	l.T.Helper()
	var out mo.VirtualMachine
	if err := property.DefaultCollector(c.Client).RetrieveOne(l.Context(), vm, names, &out); err != nil {
		l.T.Fatal(err)
	}
	return out
}

// Spec makes the specification of a clone into compute cluster cc1 on ds1.
func (l *Lab) Spec(c *govmomi.Client, edit ...func(*types.VirtualMachineCloneSpec)) types.VirtualMachineCloneSpec {
	l.T.Helper()
	finder := find.NewFinder(c.Client, false)
	pool, err := finder.ResourcePool(l.Context(), "/dc1/host/cc1/Resources")
	if err != nil {
		l.T.Fatal(err)
	}
	store, err := finder.Datastore(l.Context(), "/dc1/datastore/ds1")
	if err != nil {
		l.T.Fatal(err)
	}
	poolRef, storeRef := pool.Reference(), store.Reference()
	spec := types.VirtualMachineCloneSpec{
		Location: types.VirtualMachineRelocateSpec{Pool: &poolRef, Datastore: &storeRef},
		Config:   &types.VirtualMachineConfigSpec{},
	}
	for _, f := range edit {
		f(&spec)
	}
	return spec
}

// StartClone starts a clone of the template into the folder "clusters".
func (l *Lab) StartClone(c *govmomi.Client, name string, spec types.VirtualMachineCloneSpec) *object.Task {
	l.T.Helper()
	folder, err := find.NewFinder(c.Client, false).Folder(l.Context(), "/dc1/vm/clusters")
	if err != nil {
		l.T.Fatal(err)
	}
	started, err := l.VM(c, Template).Clone(l.Context(), folder, name, spec)
	if err != nil {
		l.T.Fatal(err)
	}
	return started
}

// Clone clones the template and waits.
func (l *Lab) Clone(c *govmomi.Client, name string, edit ...func(*types.VirtualMachineCloneSpec)) *object.VirtualMachine {
	l.T.Helper()
	info, err := l.StartClone(c, name, l.Spec(c, edit...)).WaitForResult(l.Context())
	if err != nil {
		l.T.Fatalf("clone %s: %v", name, err)
	}
	return object.NewVirtualMachine(c.Client, info.Result.(types.ManagedObjectReference))
}

// Linked makes a linked clone of a specification.
func (l *Lab) Linked(c *govmomi.Client) func(*types.VirtualMachineCloneSpec) {
	snapshot := l.Properties(c, l.VM(c, Template).Reference(), "snapshot").Snapshot.CurrentSnapshot
	return func(spec *types.VirtualMachineCloneSpec) {
		spec.Snapshot = snapshot
		spec.Location.DiskMoveType = string(types.VirtualMachineRelocateDiskMoveOptionsCreateNewChildDiskBacking)
	}
}

// Options are extraConfig as key, value, key, value …
func Options(pairs ...string) []types.BaseOptionValue {
	var out []types.BaseOptionValue
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, &types.OptionValue{Key: pairs[i], Value: pairs[i+1]})
	}
	return out
}

// Done waits for a task that has to succeed.
func (l *Lab) Done(started *object.Task, err error) {
	l.T.Helper()
	if err == nil {
		err = started.Wait(l.Context())
	}
	if err != nil {
		l.T.Fatal(err)
	}
}

// Fault gives the fault that a call or its task ended with.
func (l *Lab) Fault(started *object.Task, err error) (fault types.BaseMethodFault, text string) {
	l.T.Helper()
	if err == nil {
		err = started.Wait(l.Context())
	}
	var failed task.Error
	switch {
	case err == nil:
		l.T.Fatal("it succeeded")
	case errors.As(err, &failed):
		return failed.Fault(), failed.LocalizedMessage
	case soap.IsSoapFault(err):
		reason := soap.ToSoapFault(err)
		value := reflect.ValueOf(reason.VimFault())
		fault := reflect.New(value.Type())
		fault.Elem().Set(value)
		return fault.Interface().(types.BaseMethodFault), reason.String
	}
	l.T.Fatalf("no fault but %v", err)
	return nil, ""
}

// Control calls the control port and answers its status and body.
func (l *Lab) Control(method, path, body string) (int, string) {
	l.T.Helper()
	recorder := httptest.NewRecorder()
	control.Handler(l.Server).ServeHTTP(recorder, httptest.NewRequest(method, "http://control"+path, strings.NewReader(body)))
	return recorder.Code, recorder.Body.String()
}

// Diary is a hypervisor that writes down what it is asked, and answers as told.
type Diary struct {
	socket string
	mu     sync.Mutex
	lines  []string
	bodies []string
	Answer func(method, path string) (status int, body string) // default: 204
}

func newDiary(t *testing.T) *Diary {
	t.Helper()
	d := &Diary{socket: filepath.Join(t.TempDir(), "hypervisor.sock")}
	listener, err := net.Listen("unix", d.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: d, ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return d
}

// ServeHTTP writes down and answers.
func (d *Diary) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	d.mu.Lock()
	d.lines = append(d.lines, r.Method+" "+r.URL.Path)
	d.bodies = append(d.bodies, string(body))
	answer := d.Answer
	d.mu.Unlock()
	if answer != nil {
		if status, text := answer(r.Method, r.URL.Path); status != 0 {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
			return
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

// Set changes the answers.
func (d *Diary) Set(answer func(method, path string) (int, string)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.Answer = answer
}

// Read gives what was asked so far, with the machine's UUID shortened to {uuid}, and forgets it.
func (d *Diary) Read(uuid string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for _, line := range d.lines {
		out = append(out, strings.ReplaceAll(line, strings.ToLower(uuid), "{uuid}"))
	}
	d.lines, d.bodies = nil, nil
	return out
}

// Last gives the body of the latest call whose line ends so.
func (d *Diary) Last(suffix string, into any) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := len(d.lines) - 1; i >= 0; i-- {
		if strings.HasSuffix(d.lines[i], suffix) {
			return json.Unmarshal([]byte(d.bodies[i]), into)
		}
	}
	return fmt.Errorf("nobody called …%s", suffix)
}
