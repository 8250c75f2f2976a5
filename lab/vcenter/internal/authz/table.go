// Package authz is the vCenter's authorization: which privilege each call needs, and who holds it where.
//
// What calls need comes from outside of the product: see generate.py for methods.tsv and fields.tsv, and
// this file for what those leave open, each row with the page that says so.
package authz

import (
	_ "embed"
	"strings"
)

var (
	//go:embed methods.tsv
	methodsText string
	//go:embed fields.tsv
	fieldsText string
)

// Method says what a method needs: a privilege on the object called, and on objects given as parameters.
type Method struct {
	Privilege  string            // "" if none, or if it depends on the object: see the code that checks it
	Parameters map[string]string // parameter to privilege
}

var (
	methods    = map[string]Method{}
	properties = map[string]string{} // "Type.property" to privilege
	fields     = map[string]string{} // of VirtualMachineConfigSpec
)

func init() {
	for line := range strings.Lines(methodsText) {
		cell := strings.Split(strings.TrimSpace(line), "\t")
		switch cell[0] {
		case "method":
			row := Method{Parameters: map[string]string{}}
			if cell[2] != "-" {
				row.Privilege = cell[2]
			}
			for _, need := range cell[3:] {
				name, privilege, _ := strings.Cut(need, "=")
				row.Parameters[name] = privilege
			}
			if row.Privilege != "" || len(row.Parameters) > 0 { // else only the rows below can tell
				methods[cell[1]] = row
			}
		case "property":
			properties[cell[1]] = cell[2]
		}
	}
	for name, row := range byHand {
		methods[name] = Method{Privilege: row.privilege, Parameters: row.parameters}
	}
	for line := range strings.Lines(fieldsText) {
		name, privilege, _ := strings.Cut(strings.TrimSpace(line), "\t")
		fields[name] = privilege
	}
	for name, row := range fieldsByHand {
		fields[name] = row.privilege
	}
}

// Of gives the row of a method; false means that nobody has said what it needs.
func Of(method string) (Method, bool) {
	row, ok := methods[method]
	return row, ok
}

// OfProperty gives what reading a property needs, when the tables of the API say more than the usual System.Read.
func OfProperty(kind, property string) (string, bool) {
	privilege, ok := properties[kind+"."+property]
	return privilege, ok
}

// OfField gives what setting a field of VirtualMachineConfigSpec needs; "" for nothing.
func OfField(name string) (string, bool) {
	privilege, ok := fields[name]
	return privilege, ok
}

type row struct {
	privilege  string
	parameters map[string]string
	source     string
}

const (
	apiReference = "vSphere Web Services API reference, "
	ownObject    = "belongs to the session that made it, which nobody else can name"
	byCode       = "depends on the object or on the specification: needs.go"
)

// byHand are the methods of which pyVmomi's table says nothing.
var byHand = map[string]row{
	"CloneVM_Task":            {source: apiReference + "VirtualMachine.CloneVM_Task; " + byCode},
	"ReconfigVM_Task":         {source: apiReference + "VirtualMachine.ReconfigVM_Task; " + byCode},
	"Destroy_Task":            {source: apiReference + "ManagedEntity.Destroy_Task; " + byCode},
	"Rename_Task":             {source: apiReference + "ManagedEntity.Rename_Task; " + byCode},
	"MoveIntoFolder_Task":     {source: apiReference + "Folder.MoveIntoFolder_Task; " + byCode},
	"CancelTask":              {source: apiReference + "Task.CancelTask (own tasks, else Global.CancelTask); " + byCode},
	"UnregisterAndDestroy":    {source: apiReference + "Folder.UnregisterAndDestroy_Task"},
	"UpdateOptions":           {privilege: "Global.Settings", source: apiReference + "OptionManager.UpdateOptions"},
	"UpdateConfig":            {privilege: "Resource.EditPool", source: apiReference + "ResourcePool.UpdateConfig"},
	"DestroyChildren":         {privilege: "Resource.DeletePool", source: apiReference + "ResourcePool.DestroyChildren"},
	"MoveIntoResourcePool":    {parameters: map[string]string{"list": "Resource.AssignVMToPool"}, source: apiReference + "ResourcePool.MoveIntoResourcePool, for virtual machines"},
	"MigrateVM_Task":          {privilege: "Resource.ColdMigrate", parameters: map[string]string{"pool": "Resource.AssignVMToPool"}, source: apiReference + "VirtualMachine.MigrateVM_Task, powered off"},
	"ReconfigureDvs_Task":     {privilege: "DVSwitch.Modify", source: apiReference + "DistributedVirtualSwitch.ReconfigureDvs_Task"},
	"setCustomValue":          {privilege: "Global.SetCustomField", source: apiReference + "ExtensibleManagedObject.setCustomValue"},
	"SearchDatastore_Task":    {privilege: "Datastore.Browse", source: apiReference + "HostDatastoreBrowser.SearchDatastore_Task"},
	"AcquireTicket":           {privilege: "VirtualMachine.Interact.ConsoleInteract", source: apiReference + "VirtualMachine.AcquireTicket, for consoles"},
	"AddVirtualNic":           {privilege: "Host.Config.Network", source: apiReference + "HostNetworkSystem.AddVirtualNic"},
	"UpdateNetworkConfig":     {privilege: "Host.Config.Network", source: apiReference + "HostNetworkSystem.UpdateNetworkConfig"},
	"UpdateVirtualNic":        {privilege: "Host.Config.Network", source: apiReference + "HostNetworkSystem.UpdateVirtualNic"},
	"RetrieveUserGroups":      {privilege: "System.View", source: apiReference + "UserDirectory.RetrieveUserGroups"},
	"DestroyPropertyFilter":   {source: ownObject},
	"ResetListViewFromView":   {source: ownObject},
	"SetCollectorPageSize":    {source: ownObject},
	"RewindCollector":         {source: ownObject},
	"ResetCollector":          {source: ownObject},
	"DestroyCollector":        {source: ownObject},
	"ReadNextEvents":          {source: ownObject},
	"ReadPreviousEvents":      {source: ownObject},
	"ReadNextTasks":           {source: ownObject},
	"ReadPreviousTasks":       {source: ownObject},
	"HttpNfcLeaseGetManifest": {source: ownObject},
	"HttpNfcLeaseComplete":    {source: ownObject},
	"HttpNfcLeaseAbort":       {source: ownObject},
	"HttpNfcLeaseProgress":    {source: ownObject},
	"Fetch":                   {source: "undocumented, pyVmomi's way to read one property: the property's privilege is checked"},

	"ReconfigureDVPortgroup_Task":      {privilege: "DVPortgroup.Modify", source: apiReference + "DistributedVirtualPortgroup.ReconfigureDVPortgroup_Task"},
	"SearchDatastoreSubFolders_Task":   {privilege: "Datastore.Browse", source: apiReference + "HostDatastoreBrowser.SearchDatastoreSubFolders_Task"},
	"ConfigureDatastoreIORM_Task":      {privilege: "Datastore.ConfigIOManagement", source: apiReference + "StorageResourceManager.ConfigureDatastoreIORM_Task"},
	"UpdateChildResourceConfiguration": {privilege: "Resource.EditPool", source: apiReference + "ResourcePool.UpdateChildResourceConfiguration"},
}

// fieldsByHand are the fields of VirtualMachineConfigSpec whose comments say nothing, or something else
// than ReconfigVM_Task does.
var fieldsByHand = map[string]row{
	"Annotation":        {privilege: "VirtualMachine.Config.Annotation", source: apiReference + "VirtualMachine.ReconfigVM_Task (its field's comment names Rename)"},
	"ChangeVersion":     {source: apiReference + "VirtualMachineConfigSpec.changeVersion: a condition, no change"},
	"DeviceChange":      {source: apiReference + "VirtualMachineConfigSpec.deviceChange; " + byCode},
	"NumCoresPerSocket": {privilege: "VirtualMachine.Config.CPUCount", source: apiReference + "VirtualMachine.ReconfigVM_Task: number of CPUs"},
	"Firmware":          {privilege: "VirtualMachine.Config.Settings", source: "vSphere Security, Virtual Machine Change Configuration Privileges: Change Settings"},
	"Version":           {privilege: "VirtualMachine.Config.UpgradeVirtualHardware", source: "vSphere Security, Virtual Machine Change Configuration Privileges: Upgrade virtual machine compatibility"},
	"VAppConfig":        {privilege: "VApp.ApplicationConfig", source: apiReference + "VmConfigSpec: property, product, ovfSection"},
	"VmProfile":         {privilege: "StorageProfile.View", source: "vSphere Security, Profile-driven Storage Privileges"},
}
