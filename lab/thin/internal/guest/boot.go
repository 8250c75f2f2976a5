package guest

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"strings"
	"time"

	"lab-thin/internal/cluster"
)

// failure ends a run of the boot script. A final one is not tried again.
type failure struct {
	phase, detail string
	final         bool
}

func (f *failure) Error() string { return f.phase + ": " + f.detail }

func fail(phase, format string, values ...any) error {
	return &failure{phase, fmt.Sprintf(format, values...), false}
}

func giveUp(phase, format string, values ...any) error {
	return &failure{phase, fmt.Sprintf(format, values...), true}
}

// run is the machine from power on until its node runs, or until nothing more will happen.
func (g *Guest) run(ctx context.Context, stopped chan struct{}) {
	defer close(stopped)
	settings := g.host.estate.Settings()
	g.say("Booting", "")
	if !cluster.Pause(ctx, cluster.Seconds(settings.Boot)) {
		return
	}
	switch fault := g.host.trip(g, "boot"); {
	case fault == nil:
	case fault.Action == "hang":
		g.say("Hung", fault.Detail)
		return
	default:
		g.losePower()
		return
	}
	if !g.cloudInit() {
		return
	}
	for ctx.Err() == nil {
		err := g.bootScript(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		problem, known := err.(*failure) //nolint:errorlint // never wrapped
		if !known {
			problem = &failure{"KubeadmFailed", err.Error(), false}
		}
		g.report(problem.phase, problem.detail, true)
		log.Printf("%s: %v", g.doc.Name, problem)
		if problem.final || !cluster.Pause(ctx, cluster.Seconds(g.host.estate.Settings().Retry)) {
			return
		}
	}
}

// losePower is the end of a boot that has not come far.
func (g *Guest) losePower() {
	g.host.uplink.Power(g.doc.UUID, "poweredOff")
	go g.powerOff()
}

// cloudInit reads guestinfo on the first boot of an instance; false: this node will do nothing.
func (g *Guest) cloudInit() bool {
	g.mu.Lock()
	i, err := readInstance(g.guestinfo, g.doc.NICs)
	if fault := g.host.tripLocked(g.doc.Name, "cloud-init"); fault != nil {
		i, err = nil, fmt.Errorf("%s", fault.Detail)
	}
	d := g.disk
	if i != nil && d.data != nil && d.ID == i.ID {
		g.mu.Unlock() // a reboot: what was read is on the disk
		return g.network()
	}
	if i == nil {
		d.broken = err.Error()
		d.Hostname = "localhost"
		g.mu.Unlock()
		g.complain()
		return false
	}
	leased := d.leased
	*d = Disk{ID: i.ID, Hostname: i.Hostname, cards: i.Cards, leased: leased, node: d.node}
	if err == nil {
		d.data, err = readBootData(i)
	}
	if err != nil {
		d.broken = err.Error()
	}
	g.mu.Unlock()
	words := map[string]string{}
	for _, key := range i.Redact {
		words["guestinfo."+key], words["guestinfo."+key+".encoding"] = empty, ""
	}
	if len(words) > 0 {
		g.write(words)
	}
	if g.host.trip(g, "redacted") != nil {
		g.mu.Lock()
		d.data, d.broken = nil, "" // read, and not written to its disk yet
		g.mu.Unlock()
		g.losePower()
		return false
	}
	if !g.network() {
		return false
	}
	if d.broken != "" {
		g.complain()
		return false
	}
	return true
}

// complain tells the lab, the only one who can know, why nothing runs on this node.
func (g *Guest) complain() {
	g.say("CloudInitFailed", g.disk.broken)
	log.Printf("%s: cloud-init does nothing: %s", g.doc.Name, g.disk.broken)
	g.tell()
}

// network brings the address up.
func (g *Guest) network() bool {
	if g.host.trip(g, "address") != nil {
		g.mu.Lock()
		g.disk.cards, g.disk.leased = nil, ""
		g.mu.Unlock()
		g.tell()
		return true // the boot script will say so
	}
	if g.disk.wantsLease() {
		address, err := g.host.lease()
		if err != nil {
			log.Printf("%s: %v", g.doc.Name, err)
		}
		g.mu.Lock()
		g.disk.leased = address
		g.mu.Unlock()
	}
	g.write(g.disk.localAddresses())
	g.tell()
	return true
}

// bootScript is src/moorage/bootstrap/files/boot.sh, as far as it can be seen from outside.
func (g *Guest) bootScript(ctx context.Context) error {
	d := g.disk
	if d.joined {
		return g.runNode()
	}
	env := d.data.env
	if !d.done {
		g.report("PreparingNode", fmt.Sprintf("Kubernetes %s, %s", env["VERSION"], env["ROLE"]), false)
		version := "v" + strings.TrimPrefix(g.doc.Image, "v")
		if version != env["VERSION"] {
			return giveUp("VersionMismatch", "the template has kubeadm %s and the cluster wants %s: choose a template with %s", version, env["VERSION"], env["VERSION"])
		}
		if _, err := d.nodeAddresses(env); err != nil {
			return fail("NoAddress", "no address %s on %s, for %s s", err, env["INTERFACE"], env["DEADLINE_S"])
		}
		if err := g.resume(); err != nil {
			return err
		}
		if env["MODE"] == "join" {
			if err := g.waitForEndpoint(ctx); err != nil {
				return err
			}
		}
		if err := g.runKubeadm(ctx, version); err != nil {
			return err
		}
	}
	g.mu.Lock()
	d.joined = true
	d.data.files, d.data.texts, d.data.kubeadm = nil, nil, nil // what forget_secrets removes
	g.mu.Unlock()
	g.report("Joined", env["NODE_NAME"], false)
	return nil
}

func (g *Guest) runNode() error {
	node := g.disk.node
	if err := node.Cluster().Up(node); err != nil {
		return giveUp("Joined", "the API server does not start: %v", err)
	}
	g.say("Joined", node.Name)
	return nil
}

func (g *Guest) resume() error {
	d := g.disk
	if !d.started || d.data.env["ROLE"] == "worker" {
		return nil
	}
	if d.failed[0] == "" {
		d.failed = [2]string{"Interrupted", "this machine went down while kubeadm ran: delete the machine, another will be made"}
	}
	return giveUp(d.failed[0], "%s", d.failed[1])
}

// waitForEndpoint asks what the script asks, until the cluster is ready for this machine.
func (g *Guest) waitForEndpoint(ctx context.Context) error {
	const access = `{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","spec":{"resourceAttributes":{"group":"certificates.k8s.io","resource":"certificatesigningrequests","verb":"create"}}}`
	d := g.disk.data
	server := d.env["SERVER"]
	token := strings.TrimSpace(strings.TrimPrefix(d.files[directory+"/authorization"], "Authorization: Bearer "))
	ask := func(method, path, body string) cluster.Answer {
		return g.host.estate.Ask(server, d.files[directory+"/ca.crt"], token, method, path, []byte(body))
	}
	const space = "/api/v1/namespaces/kube-system"
	g.report("WaitingForEndpoint", server, false)
	err := g.until(ctx, "WaitingForEndpoint", "kubeadm's configuration", func() cluster.Answer {
		return ask(http.MethodGet, space+"/configmaps/kubeadm-config", "")
	}, http.StatusOK)
	if err != nil {
		return err
	}
	err = g.until(ctx, "WaitingForEndpoint", "right to join", func() cluster.Answer {
		answer := ask(http.MethodPost, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", access)
		var review struct {
			Status struct {
				Allowed bool `json:"allowed"`
			} `json:"status"`
		}
		if answer.Code == http.StatusCreated && (json.Unmarshal(answer.Body, &review) != nil || !review.Status.Allowed) {
			answer.Code = http.StatusForbidden
		}
		return answer
	}, http.StatusCreated)
	if err != nil || d.env["ROLE"] != "control-plane" {
		return err
	}
	return g.until(ctx, "WaitingForCertificates", "certificates of the control plane", func() cluster.Answer {
		return ask(http.MethodGet, space+"/secrets/kubeadm-certs", "")
	}, http.StatusOK)
}

func explain(a cluster.Answer) string {
	switch {
	case a.Why != "":
		return a.Why
	case a.Code == http.StatusUnauthorized:
		return "the API does not know this machine's token yet"
	case a.Code == http.StatusForbidden:
		return "the founding of the cluster is not complete yet"
	case a.Code == http.StatusNotFound:
		return "not there yet"
	}
	return fmt.Sprintf("the API answers %d", a.Code)
}

// until asks again when something changed, and once a second; each new answer is reported, never each try.
func (g *Guest) until(ctx context.Context, phase, what string, ask func() cluster.Answer, want int) error {
	said, began := "", time.Now()
	deadline, err := time.ParseDuration(g.disk.data.env["DEADLINE_S"] + "s")
	if err != nil {
		deadline = 20 * time.Minute
	}
	done := g.host.waits()
	defer done()
	for {
		answer := ask()
		if answer.Code == want {
			return nil
		}
		server := g.disk.data.env["SERVER"]
		if now := explain(answer); now != said {
			g.report(phase, fmt.Sprintf("%s: %s: %s", server, what, now), false)
			said = now
		}
		if time.Since(began) > deadline {
			return fail("JoinTimedOut", "%s: %s: %s, for %s s", server, what, said, g.disk.data.env["DEADLINE_S"])
		}
		if !cluster.Pause(ctx, g.host.patience()) {
			return ctx.Err()
		}
		again := time.NewTimer(time.Second)
		select {
		case <-answer.Next:
		case <-again.C:
		case <-ctx.Done():
		}
		again.Stop()
	}
}
