package vcenter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/ovf"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vapi/library"
	"github.com/vmware/govmomi/vapi/vcenter"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	restPath    = "/rest/com/vmware/"
	libraryPath = restPath + "content/library"
	localPath   = restPath + "content/local-library"
	ovfPath     = restPath + "vcenter/ovf/library-item"
	uploadPath  = restPath + "cis/data/"
)

// contentNeeds is what the content library needs, on the vCenter as a whole: its libraries have no permissions
// of their own here (vSphere Security, "Content Library Privileges" and "Hierarchical Inheritance of Permissions
// for Content Libraries"). What is not here changes nothing.
var contentNeeds = map[string]string{
	"POST local-library": "ContentLibrary.CreateLocalLibrary", "DELETE local-library": "ContentLibrary.DeleteLocalLibrary",
	"POST library/item": "ContentLibrary.AddLibraryItem", "DELETE library/item": "ContentLibrary.DeleteLibraryItem",
	"POST library/item/update-session": "ContentLibrary.UpdateSession", "DELETE library/item/update-session": "ContentLibrary.UpdateSession",
	"POST library/item/updatesession/file": "ContentLibrary.UpdateSession",
}

// contentRequest is a call of the content library service.
type contentRequest struct {
	*http.Request
	collection, id, action string
	body                   struct {
		Create struct {
			Name    string                   `json:"name"`
			Library string                   `json:"library_id"`
			Storage []library.StorageBacking `json:"storage_backings"`
		} `json:"create_spec"`
		File library.UpdateFile `json:"file_spec"`
	}
}

func contentRequestOf(r *http.Request, sent []byte) *contentRequest {
	rest, ok := strings.CutPrefix(r.URL.Path, restPath+"content/")
	if !ok {
		return nil
	}
	out := &contentRequest{Request: r, action: r.URL.Query().Get("~action")}
	out.collection, out.id, _ = strings.Cut(rest, "/id:")
	_ = json.Unmarshal(sent, &out.body)
	return out
}

// callName is what a call is counted as and faults are armed for: identifiers of libraries are left out.
func callName(r *http.Request) string {
	path := r.URL.Path
	for _, prefix := range []string{libraryPath, localPath, ovfPath} {
		if strings.HasPrefix(path, prefix) {
			path, _, _ = strings.Cut(path, "/id:")
		}
	}
	if strings.HasPrefix(path, uploadPath) {
		path = strings.TrimSuffix(uploadPath, "/")
	}
	if action := r.URL.Query().Get("~action"); action != "" && path != r.URL.Path {
		path += " " + action
	}
	return r.Method + " " + path
}

// contentDenied names the privilege that a call lacks; "" if it may run.
func (s *Server) contentDenied(r *contentRequest, user string) string {
	var needs []need
	if privilege := contentNeeds[r.Method+" "+r.collection]; privilege != "" && r.action != "find" {
		needs = append(needs, need{privilege, s.content.RootFolder})
	}
	if r.Method == http.MethodPost && r.collection == "local-library" {
		for _, storage := range r.body.Create.Storage {
			needs = append(needs, need{"Datastore.AllocateSpace", ref{Type: "Datastore", Value: storage.DatastoreID}})
		}
	}
	return s.lacks(user, needs)
}

func (s *Server) lacks(user string, needs []need) string {
	for _, one := range needs {
		if !s.policy.Has(user, one.on, one.privilege) {
			return one.privilege
		}
	}
	return ""
}

// contentMisfit refuses what the simulator would take, or panic over.
func (f *front) contentMisfit(r *contentRequest) string {
	switch {
	case r.Method == http.MethodPost && r.collection == "local-library":
		stores := r.body.Create.Storage
		if len(stores) != 1 {
			return "a local library has one storage backing"
		}
		if _, ok := f.server.registry.Get(ref{Type: "Datastore", Value: stores[0].DatastoreID}).(*simulator.Datastore); !ok {
			return "there is no datastore " + stores[0].DatastoreID
		}
	case r.action == "add" && strings.HasSuffix(r.body.File.Name, ".ova") && r.body.File.Checksum != nil:
		return "checksum_info should not be set for ova files" // API reference, FileAddSpec
	case r.action == "complete":
		var files []library.UpdateFile
		f.ask(r.Request, http.MethodGet, libraryPath+"/item/updatesession/file?update_session_id="+r.id, nil, &files)
		for _, file := range files {
			if !f.server.uploads.whole(file) {
				return "file " + file.Name + " was not received as it was announced"
			}
		}
	}
	return ""
}

// ask puts a question to the simulator itself, with the caller's session, and reads the value of its answer.
func (f *front) ask(r *http.Request, method, path string, body, value any) bool {
	sent, _ := json.Marshal(body)
	request := r.Clone(r.Context())
	request.Method = method
	request.URL = &url.URL{}
	request.URL.Path, request.URL.RawQuery, _ = strings.Cut(path, "?")
	request.Body = io.NopCloser(bytes.NewReader(sent))
	request.ContentLength = int64(len(sent))
	got := &answer{header: http.Header{}, status: http.StatusOK}
	f.next.ServeHTTP(got, request)
	wrapped := struct {
		Value any `json:"value"`
	}{value}
	return got.status/100 == 2 && json.Unmarshal(got.body.Bytes(), &wrapped) == nil
}

// content follows what was done to libraries, for the ledger.
func (l *ledger) content(r *contentRequest, user string, answered []byte) {
	kind := map[string]string{"local-library": "Library", "library/item": "LibraryItem", "library/item/update-session": "UpdateSession"}[r.collection]
	var made struct {
		Value string `json:"value"`
	}
	name := r.body.Create.Name
	if kind == "LibraryItem" {
		name = r.body.Create.Library
	}
	switch {
	case kind == "":
	case r.Method == http.MethodPost && r.id == "" && r.action != "find" && json.Unmarshal(answered, &made) == nil:
		l.made(kind, made.Value, name, user)
	case r.Method == http.MethodDelete:
		l.gone(kind, r.id, "deleted")
		if kind == "Library" {
			l.itemsGone(r.id)
		}
	}
}

// itemsGone closes the entries of a library's items: they go with it.
func (l *ledger) itemsGone(library string) {
	var ids []string
	l.mu.Lock()
	for _, entry := range l.book {
		if entry.Kind == "LibraryItem" && entry.Name == library && entry.Gone == nil {
			ids = append(ids, entry.ID)
		}
	}
	l.mu.Unlock()
	for _, id := range ids {
		l.gone("LibraryItem", id, "deleted with its library")
	}
}

// deployment is the body of deploy.
type deployment struct {
	Spec   vcenter.DeploymentSpec `json:"deployment_spec"`
	Target vcenter.Target         `json:"target"`
}

// ovf answers what is asked of an item: what its descriptor says, or to make a machine of it.
func (f *front) ovf(w http.ResponseWriter, r *http.Request, sent []byte, user string) {
	_, id, _ := strings.Cut(r.URL.Path, "/id:")
	var wanted deployment
	if err := json.Unmarshal(sent, &wanted); err != nil {
		refused(w, http.StatusBadRequest, "invalid_argument", nil, err.Error())
		return
	}
	var item library.Item
	var lib library.Library
	if !f.ask(r, http.MethodGet, libraryPath+"/item/id:"+id, nil, &item) || !f.ask(r, http.MethodGet, localPath+"/id:"+item.LibraryID, nil, &lib) {
		refused(w, http.StatusNotFound, "not_found", nil, "There is no library item "+id)
		return
	}
	descriptor := f.server.descriptorOf(&lib, id)
	switch r.URL.Query().Get("~action") {
	case "deploy":
		f.deploy(w, &wanted, descriptor, user)
	case "filter":
		summary := map[string]any{"name": item.Name, "networks": networksOf(descriptor)}
		_ = json.NewEncoder(w).Encode(map[string]any{"value": summary})
	default:
		refused(w, http.StatusNotFound, "not_found", nil, "The lab deploys and filters only.")
	}
}

// networksOf are the names that a descriptor has for networks.
func networksOf(descriptor string) []string {
	names := []string{}
	envelope, err := ovf.Unmarshal(strings.NewReader(descriptor))
	if err != nil || envelope.Network == nil {
		return names
	}
	for _, network := range envelope.Network.Networks {
		names = append(names, network.Name)
	}
	return names
}

// deploy says what went wrong in its answer, as a real one does, with HTTP 200.
func (f *front) deploy(w http.ResponseWriter, wanted *deployment, descriptor, user string) {
	s := f.server
	if privilege := s.lacks(user, needsOfDeploy(wanted)); privilege != "" {
		refused(w, http.StatusForbidden, "unauthorized", []string{privilege}, "Unable to authorize user: it lacks "+privilege+".")
		return
	}
	out := vcenter.Deployment{}
	vm, why := s.deploy(wanted, descriptor, user)
	if why != nil {
		message := map[string]any{"default_message": why.text, "id": "lab", "args": []string{}}
		answer := map[string]any{"succeeded": false, "error": map[string]any{
			"errors": []any{map[string]any{"category": "SERVER", "message": message}},
		}}
		_ = json.NewEncoder(w).Encode(map[string]any{"value": answer})
		return
	}
	out.Succeeded, out.ResourceID = true, &vcenter.ResourceID{Type: vm.Type, Value: vm.Value}
	_ = json.NewEncoder(w).Encode(map[string]any{"value": out})
}

// needsOfDeploy is that of ImportVApp and of the machine that it makes (vSphere Web Services API, ResourcePool
// importVApp; vSphere Virtual Machine Administration, "Deploy a VM from an OVF Template in a Content Library").
func needsOfDeploy(d *deployment) []need {
	folder := ref{Type: "Folder", Value: d.Target.FolderID}
	pool := ref{Type: "ResourcePool", Value: d.Target.ResourcePoolID}
	out := []need{
		{"VApp.Import", pool}, {"VApp.Import", folder}, {"VirtualMachine.Inventory.Create", folder},
		{"Resource.AssignVMToPool", pool}, {"VirtualMachine.Config.AddNewDisk", folder},
		{"Datastore.AllocateSpace", ref{Type: "Datastore", Value: d.Spec.DefaultDatastoreID}},
	}
	for _, network := range d.Spec.NetworkMappings {
		out = append(out, need{"Network.Assign", networkRef(network.Value)})
	}
	return out
}

func networkRef(value string) ref {
	if strings.HasPrefix(value, "dvportgroup") {
		return ref{Type: "DistributedVirtualPortgroup", Value: value}
	}
	return ref{Type: "Network", Value: value}
}

func (s *Server) descriptorOf(lib *library.Library, item string) string {
	store, ok := s.registry.Get(ref{Type: "Datastore", Value: lib.Storage[0].DatastoreID}).(*simulator.Datastore)
	if !ok {
		return ""
	}
	found, _ := filepath.Glob(filepath.Join(store.Info.GetDatastoreInfo().Url, "contentlib-"+lib.ID, item, "*.ovf"))
	if len(found) != 1 {
		return ""
	}
	text, _ := os.ReadFile(found[0])
	return string(text)
}

func (s *Server) deploy(d *deployment, descriptor, user string) (ref, *refusal) {
	if descriptor == "" {
		return ref{}, refuseText(&types.InvalidArgument{}, "The library item holds no OVF descriptor.")
	}
	ctx := s.internal()
	folder, ok := s.registry.Get(ref{Type: "Folder", Value: d.Target.FolderID}).(*simulator.Folder)
	if !ok || !slices.Contains(folder.ChildType, "VirtualMachine") {
		return ref{}, refuseText(&types.InvalidArgument{InvalidProperty: "folder_id"}, "There is no VM folder "+d.Target.FolderID)
	}
	config, refused := s.specOf(ctx, d, descriptor)
	if refused != nil {
		return ref{}, refused
	}
	request := &types.CreateVM_Task{
		This: folder.Self, Config: *config, Pool: ref{Type: "ResourcePool", Value: d.Target.ResourcePoolID},
	}
	vm, refused := s.importMachine(ctx, folder, request, user)
	if refused != nil {
		return ref{}, refused
	}
	return vm.Self, nil
}

// importMachine makes the machine of an OVF, without what is on its disks.
func (s *Server) importMachine(ctx *simulator.Context, folder *simulator.Folder, request *types.CreateVM_Task, user string) (*simulator.VirtualMachine, *refusal) {
	release, refused := s.machines.claimName(ctx, folder, request.Config.Name)
	if refused != nil {
		return nil, refused
	}
	defer release()
	if refused := s.checkCreate(folder, request); refused != nil {
		return nil, refused
	}
	instance, releaseUUID := s.machines.claimInstanceUUID(request.Config.InstanceUuid, ref{})
	defer releaseUUID()
	request.Config.InstanceUuid = instance
	made, refused := s.tasks.inner(ctx, folder, func() soap.HasFault { return folder.CreateVMTask(ctx, request) })
	if refused != nil {
		return nil, refused
	}
	vm := s.registry.Get(made.(ref)).(*simulator.VirtualMachine)
	s.ledger.by(vm.Self, &simulator.Session{UserSession: types.UserSession{UserName: user}})
	ctx.WithLock(vm, func() {
		s.machines.complete(vm)
		vm.Config.ExtraConfig = slices.DeleteFunc(vm.Config.ExtraConfig, simulatorsOwn)
	})
	s.hub.Publish(ctx, vm.Self)
	s.hub.Touch(s.around(vm)...)
	return vm, nil
}

// specOf reads the OVF by the simulator's own means.
func (s *Server) specOf(ctx *simulator.Context, d *deployment, descriptor string) (*types.VirtualMachineConfigSpec, *refusal) {
	params := &types.OvfCreateImportSpecParams{EntityName: d.Spec.Name, DiskProvisioning: d.Spec.StorageProvisioning}
	for _, network := range d.Spec.NetworkMappings {
		params.NetworkMapping = append(params.NetworkMapping, types.OvfNetworkMapping{Name: network.Key, Network: networkRef(network.Value)})
	}
	pool := ref{Type: "ResourcePool", Value: d.Target.ResourcePoolID}
	store := ref{Type: "Datastore", Value: d.Spec.DefaultDatastoreID}
	if s.computeOf(pool) == nil {
		return nil, refuse(&types.ManagedObjectNotFound{Obj: pool})
	}
	datastore, ok := s.registry.Get(store).(*simulator.Datastore)
	if !ok {
		return nil, refuse(&types.ManagedObjectNotFound{Obj: store})
	}
	manager := s.registry.Get(*s.content.OvfManager).(*simulator.OvfManager)
	body := manager.CreateImportSpec(ctx, &types.CreateImportSpec{OvfDescriptor: descriptor, ResourcePool: pool, Datastore: store, Cisp: params})
	answered, ok := body.(*methods.CreateImportSpecBody)
	if !ok || answered.Res == nil {
		return nil, refuseText(&types.InvalidArgument{InvalidProperty: "ovfDescriptor"}, "The OVF descriptor cannot be read.")
	}
	if faults := answered.Res.Returnval.Error; len(faults) > 0 {
		return nil, refuseText(&types.InvalidArgument{InvalidProperty: "ovfDescriptor"}, faults[0].LocalizedMessage)
	}
	config := answered.Res.Returnval.ImportSpec.(*types.VirtualMachineImportSpec).ConfigSpec
	config.Annotation = d.Spec.Annotation
	path := object.DatastorePath{Datastore: datastore.Name}
	config.Files = &types.VirtualMachineFileInfo{VmPathName: path.String()}
	return &config, s.roomForDisks(ctx, datastore, &config)
}

// importedDisks looks for the datastore that a machine to be imported names, and for room on it.
func (s *Server) importedDisks(ctx *simulator.Context, folder *simulator.Folder, config *types.VirtualMachineConfigSpec) *refusal {
	var path object.DatastorePath
	dc := s.datacenterOf(folder)
	if dc != nil && config.Files != nil && path.FromString(config.Files.VmPathName) {
		if store, ok := s.registry.FindByName(path.Datastore, dc.Datastore).(*simulator.Datastore); ok {
			return s.roomForDisks(ctx, store, config)
		}
	}
	return refuseText(&types.InvalidDatastorePath{}, "config.files.vmPathName names no datastore of the datacenter.")
}

// roomForDisks completes the sizes of disks, of which OVFs tell one only, and refuses what the datastore cannot hold.
func (s *Server) roomForDisks(ctx *simulator.Context, datastore *simulator.Datastore, config *types.VirtualMachineConfigSpec) *refusal {
	var need int64
	for _, change := range config.DeviceChange {
		if disk, ok := change.GetVirtualDeviceConfigSpec().Device.(*types.VirtualDisk); ok {
			disk.CapacityInBytes = disk.CapacityInKB << 10
			need += disk.CapacityInBytes
		}
	}
	var free int64
	ctx.WithLock(datastore, func() { free = datastore.Summary.FreeSpace })
	if need > free {
		return refuseText(&types.NoDiskSpace{Datastore: datastore.Name}, fmt.Sprintf("Insufficient disk space on datastore '%s'.", datastore.Name))
	}
	return nil
}
