package vcenter_test

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vapi/tags"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"lab-vcenter/internal/labtest"
	"lab-vcenter/internal/vcenter"
)

func TestPasswordsAreChecked(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Dial()
	try := func(user, password string) error {
		_, err := methods.Login(lab.Context(), client, &types.Login{This: *client.ServiceContent.SessionManager, UserName: user, Password: password})
		return err
	}
	for _, c := range [][2]string{{labtest.User, "wrong"}, {labtest.User, ""}, {"nobody", ""}, {"nobody", labtest.Password}} {
		fault, text := lab.Fault(nil, try(c[0], c[1]))
		if _, ok := fault.(*types.InvalidLogin); !ok || text == "" {
			t.Errorf("%v: %T %q", c, fault, text)
		}
	}
	if err := try(labtest.User, labtest.Password); err != nil {
		t.Error(err)
	}
	got := lab.Server.Counted()
	if got.Sessions.Logins != 1 || got.Sessions.Open != 1 || got.Calls["Login"] != 5 {
		t.Errorf("%+v", got)
	}
}

func TestNothingButLoginWithoutASession(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Dial()
	root := object.NewRootFolder(client)
	_, err := root.CreateFolder(lab.Context(), "x")
	fault, text := lab.Fault(nil, err)
	if _, ok := fault.(*types.NotAuthenticated); !ok || text == "" {
		t.Errorf("%T %q", fault, text)
	}
	_, err = root.Children(lab.Context())
	if fault, _ = lab.Fault(nil, err); fault == nil {
		t.Error("properties are read without a session")
	}
	if _, err := methods.GetCurrentTime(lab.Context(), client); err == nil {
		t.Error("the clock is read without a session")
	}
}

func TestCountersCount(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	lab.Clone(client, "a")
	got := lab.Server.Counted()
	if got.Calls["CloneVM_Task"] != 1 || got.Calls["Login"] != 1 || got.Connections.Open < 1 || got.Connections.Opened < 1 || got.Updates.Returns < 1 {
		t.Errorf("%+v", got)
	}
	if err := client.Logout(lab.Context()); err != nil {
		t.Fatal(err)
	}
	if got := lab.Server.Counted().Sessions; got.Open != 0 || got.Logouts != 1 {
		t.Errorf("%+v", got)
	}
	lab.Control(http.MethodPost, "/counters/reset", "")
	if got := lab.Server.Counted(); len(got.Calls) != 0 || got.Sessions.Logins != 0 || got.Connections.Opened != 0 {
		t.Errorf("after the reset: %+v", got)
	}
}

func TestExpiredSessionsAreNotAuthenticated(t *testing.T) {
	for name, expire := range map[string]func(*labtest.Lab){
		"by the control port": func(lab *labtest.Lab) { lab.Control(http.MethodPost, "/sessions/expire", "") },
		"by idling":           func(*labtest.Lab) { time.Sleep(150 * time.Millisecond) },
	} {
		t.Run(name, func(t *testing.T) {
			lab := labtest.Start(t, func(o *vcenter.Options) {
				if name == "by idling" {
					o.SessionIdle = 100 * time.Millisecond
				}
			})
			client := lab.Login()
			root := object.NewRootFolder(client.Client)
			if _, err := root.CreateFolder(lab.Context(), "before"); err != nil {
				t.Fatal(err)
			}
			expire(lab)
			_, err := root.CreateFolder(lab.Context(), "after")
			fault, _ := lab.Fault(nil, err)
			if _, ok := fault.(*types.NotAuthenticated); !ok {
				t.Errorf("%T", fault)
			}
			if got := lab.Server.Counted().Sessions.Open; got != 0 {
				t.Errorf("%d sessions are open", got)
			}
			if err := client.SessionManager.Login(lab.Context(), url.UserPassword(labtest.User, labtest.Password)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRestartLosesSessionsAndTasksButNoMachine(t *testing.T) {
	lab := labtest.Start(t, func(o *vcenter.Options) { o.TaskTime = 200 * time.Millisecond })
	client := lab.Login()
	vm := lab.Clone(client, "node")
	uuid := lab.Properties(client, vm.Reference(), "config.uuid").Config.Uuid
	lab.Done(vm.PowerOn(lab.Context()))
	pending := lab.StartClone(client, "lost", lab.Spec(client))
	before := lab.Server.URL()

	if code, text := lab.Control(http.MethodPost, "/restart?seconds=0.3", ""); code != http.StatusNoContent {
		t.Fatal(code, text)
	}
	address, _ := url.Parse(before)
	if conn, err := net.DialTimeout("tcp", address.Host, time.Second); err == nil {
		_ = conn.Close()
		t.Error("the port is open")
	}
	if code, _ := lab.Control(http.MethodGet, "/healthz", ""); code != http.StatusServiceUnavailable {
		t.Errorf("health %d", code)
	}
	report(t, lab, uuid, true) // is kept
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if code, _ := lab.Control(http.MethodGet, "/healthz", ""); code == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it does not come back")
		}
	}
	if lab.Server.URL() != before {
		t.Errorf("%s became %s", before, lab.Server.URL())
	}
	_, err := object.NewRootFolder(client.Client).CreateFolder(lab.Context(), "x")
	if fault, _ := lab.Fault(nil, err); fault == nil {
		t.Error("the session survived")
	}
	client = lab.Login()
	now := lab.Properties(client, vm.Reference(), "runtime.powerState", "guest.ipAddress")
	if now.Runtime.PowerState != "poweredOn" || now.Guest.IpAddress != "10.77.1.5" {
		t.Errorf("%s %s", now.Runtime.PowerState, now.Guest.IpAddress)
	}
	_, err = methods.SetTaskDescription(lab.Context(), client, &types.SetTaskDescription{This: pending.Reference()})
	fault, _ := lab.Fault(nil, err)
	if _, ok := fault.(*types.ManagedObjectNotFound); !ok {
		t.Errorf("the running task is still known: %T", fault)
	}
	if n := len(lab.Server.Inventory().VMs); n != 2 {
		t.Errorf("%d machines: the lost clone went on", n)
	}
}

func fault(t *testing.T, lab *labtest.Lab, rule string) {
	t.Helper()
	if code, text := lab.Control(http.MethodPost, "/faults", rule); code != http.StatusNoContent {
		t.Fatal(code, text)
	}
}

func folders(lab *labtest.Lab) int { return len(lab.Server.Inventory().Folders) }

func TestFaults(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	root := object.NewRootFolder(client.Client)
	create := func() error {
		_, err := root.CreateFolder(lab.Context(), "f"+time.Now().Format("150405.000000000"))
		return err
	}
	broken := func(what string, err error, made int, before int) {
		t.Helper()
		if err == nil || soap.IsSoapFault(err) {
			t.Errorf("%s: %v", what, err)
		}
		if got := folders(lab) - before; got != made {
			t.Errorf("%s: %d folders made, not %d", what, got, made)
		}
	}
	// Creating is not repeated by the HTTP client, because its connection closes after the request was sent.
	before := folders(lab)
	fault(t, lab, `{"method": "CreateFolder", "action": "dropAnswer"}`)
	broken("dropAnswer", create(), 1, before)
	before = folders(lab)
	fault(t, lab, `{"method": "CreateFolder", "action": "dieBefore", "count": 1, "after": 1}`)
	if err := create(); err != nil {
		t.Errorf("the first call was to pass: %v", err)
	}
	broken("dieBefore", create(), 1, before)
	if err := create(); err != nil {
		t.Errorf("the fault outlives its count: %v", err)
	}

	fault(t, lab, `{"method": "CreateFolder", "action": "fail", "fault": "InsufficientResourcesFault", "count": 2}`)
	for range 2 {
		raised, text := lab.Fault(nil, create())
		if _, ok := raised.(*types.InsufficientResourcesFault); !ok || !strings.Contains(text, "injected") {
			t.Errorf("%T %q", raised, text)
		}
	}
	fault(t, lab, `{"at": "call", "n": 3, "action": "dropAnswer"}`)
	before = folders(lab)
	for range 2 {
		if err := create(); err != nil {
			t.Error(err)
		}
	}
	broken("third call", create(), 3, before)

	fault(t, lab, `{"method": "CreateFolder", "action": "delay", "seconds": 0.2}`)
	start := time.Now()
	if err := create(); err != nil || time.Since(start) < 200*time.Millisecond {
		t.Errorf("%v after %s", err, time.Since(start))
	}
	fault(t, lab, `{"action": "fail", "fault": "RuntimeFault", "count": -1}`)
	for range 3 {
		lab.Fault(nil, create())
	}
	if code, _ := lab.Control(http.MethodDelete, "/faults", ""); code != http.StatusNoContent {
		t.Error(code)
	}
	if err := create(); err != nil {
		t.Error(err)
	}
	for _, rule := range []string{`{"action": "explode"}`, `{"action": "fail", "fault": "NoSuchFault"}`, `{"action": "delay"}`, `{"acton": "fail"}`, `{"at": "call", "action": "delay", "seconds": 1}`} {
		if code, text := lab.Control(http.MethodPost, "/faults", rule); code != http.StatusBadRequest || !strings.Contains(text, "error") {
			t.Errorf("%s: %d %s", rule, code, text)
		}
	}
}

func TestLateFaultFailsTheTaskOnly(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	fault(t, lab, `{"method": "CloneVM_Task", "action": "fail", "fault": "InsufficientResourcesFault", "message": "no memory left", "late": true}`)
	started := lab.StartClone(client, "node", lab.Spec(client)) // the call itself succeeds
	raised, text := lab.Fault(started, nil)
	if _, ok := raised.(*types.InsufficientResourcesFault); !ok || text != "no memory left" {
		t.Errorf("%T %q", raised, text)
	}
	if n := len(lab.Server.Inventory().VMs); n != 1 {
		t.Errorf("%d machines", n)
	}
	lab.Clone(client, "node")
}

func TestInventoryIsTheSameBeforeAndAfter(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	_, before := lab.Control(http.MethodGet, "/inventory", "")
	vm := lab.Clone(client, "node", lab.Linked(client))
	lab.Done(vm.PowerOn(lab.Context()))
	_, between := lab.Control(http.MethodGet, "/inventory", "")
	if before == between || !strings.Contains(between, "/dc1/vm/clusters/node") {
		t.Error("the clone is not listed")
	}
	lab.Done(vm.PowerOff(lab.Context()))
	lab.Done(vm.Destroy(lab.Context()))
	_, after := lab.Control(http.MethodGet, "/inventory", "")
	if before != after {
		t.Errorf("before %s\nafter %s", before, after)
	}
	var listing vcenter.Listing
	if err := json.Unmarshal([]byte(after), &listing); err != nil || len(listing.Hosts) != 4 || len(listing.Datastores) != 2 ||
		len(listing.ComputeClusters) != 2 || listing.VMs[0].Image != "1.34.4" || listing.VMs[0].Snapshots != 1 {
		t.Errorf("%v %+v", err, listing)
	}
}

func TestReportsOnUnknownMachinesAreRefused(t *testing.T) {
	lab := labtest.Start(t)
	for _, path := range []string{"state", "guestinfo", "power"} {
		if code, _ := lab.Control(http.MethodPut, "/guest/4211b5e5-0000-0000-0000-000000000000/"+path, "{}"); code != http.StatusNotFound {
			t.Errorf("%s: %d", path, code)
		}
	}
}

func TestTagsOverREST(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	ctx := lab.Context()
	wire := rest.NewClient(client.Client)
	if err := wire.Login(ctx, url.UserPassword(labtest.User, "wrong")); err == nil {
		t.Error("REST takes any password")
	}
	if err := wire.Login(ctx, url.UserPassword(labtest.User, labtest.Password)); err != nil {
		t.Fatal(err)
	}
	manager := tags.NewManager(wire)
	category, err := manager.CreateCategory(ctx, &tags.Category{Name: "moorage", Cardinality: "SINGLE"})
	if err != nil {
		t.Fatal(err)
	}
	tag, err := manager.CreateTag(ctx, &tags.Tag{Name: "node", CategoryID: category})
	if err != nil {
		t.Fatal(err)
	}
	vm := lab.VM(client, labtest.Template)
	if err := manager.AttachTag(ctx, tag, vm); err != nil {
		t.Fatal(err)
	}
	if got, err := manager.GetAttachedTags(ctx, vm); err != nil || len(got) != 1 || got[0].Name != "node" {
		t.Errorf("%v %v", got, err)
	}
	lab.Control(http.MethodPost, "/sessions/expire", "")
	if _, err := manager.GetAttachedTags(ctx, vm); err == nil {
		t.Error("the REST session survived")
	}
}

func TestSessionsOverAPI(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Dial()
	base := strings.TrimSuffix(lab.Server.URL(), "/sdk") + "/api/session"
	do := func(method, user, password, token string) (int, string) {
		req, err := http.NewRequestWithContext(lab.Context(), method, base, nil)
		if err != nil {
			t.Fatal(err)
		}
		if user != "" {
			req.SetBasicAuth(user, password)
		}
		if token != "" {
			req.Header.Set("vmware-api-session-id", token)
		}
		status, text := 0, ""
		if err := client.Client.Do(lab.Context(), req, func(res *http.Response) error {
			status = res.StatusCode
			return json.NewDecoder(res.Body).Decode(&text)
		}); err != nil && status == 0 && !errors.Is(err, http.ErrServerClosed) {
			t.Fatal(err)
		}
		return status, text
	}
	if code, _ := do(http.MethodPost, labtest.User, "wrong", ""); code != http.StatusUnauthorized {
		t.Errorf("a wrong password gives %d", code)
	}
	code, token := do(http.MethodPost, labtest.User, labtest.Password, "")
	if code != http.StatusCreated || token == "" {
		t.Fatalf("%d %q", code, token)
	}
	if code, _ := do(http.MethodGet, "", "", token); code != http.StatusOK {
		t.Errorf("asking for the session gives %d", code)
	}
	if code, _ := do(http.MethodDelete, "", "", token); code != http.StatusNoContent {
		t.Errorf("its end gives %d", code)
	}
	if code, _ := do(http.MethodGet, "", "", token); code != http.StatusUnauthorized {
		t.Errorf("after its end %d", code)
	}
}

func TestPowerOnUnderWayOutlivesTheRestart(t *testing.T) {
	lab := labtest.Start(t)
	client := lab.Login()
	vm := lab.Clone(client, "node")
	asked, answered := make(chan struct{}), make(chan struct{})
	lab.Hypervisor.Set(func(_, path string) (int, string) {
		if strings.HasSuffix(path, "/power-on") {
			close(asked)
			<-answered
		}
		return 0, ""
	})
	if _, err := vm.PowerOn(lab.Context()); err != nil {
		t.Fatal(err)
	}
	<-asked
	if code, text := lab.Control(http.MethodPost, "/restart?seconds=0", ""); code != http.StatusNoContent {
		t.Fatal(code, text)
	}
	close(answered)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if vms := lab.Server.Inventory().VMs; vms[0].Name == "node" && vms[0].Power == "poweredOn" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v", lab.Server.Inventory().VMs)
		}
	}
}
