// Command lab-vcenter is the lab's vCenter: govmomi's simulator with stricter behaviour, SOAP and REST over TLS.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"lab-vcenter/internal/control"
	"lab-vcenter/internal/hypervisor"
	"lab-vcenter/internal/inventory"
	"lab-vcenter/internal/pki"
	"lab-vcenter/internal/vcenter"
)

type arguments struct {
	listen, control, hypervisor, inventory, stateDir, names string
	apiVersion                                              string
	sessionIdle                                             time.Duration
	sessionLimit                                            int
	taskSeconds                                             float64
}

func main() {
	var args arguments
	flag.StringVar(&args.listen, "listen", "10.77.0.2:443", "address and port of SOAP and REST; port 0 takes a free one")
	flag.StringVar(&args.control, "control", "", "Unix socket for the hypervisor's reports and for tests")
	flag.StringVar(&args.hypervisor, "hypervisor", "", "Unix socket of the hypervisor; none: nobody is behind the machines")
	flag.StringVar(&args.inventory, "inventory", "", "YAML file with datacenters, hosts, templates and users")
	flag.StringVar(&args.stateDir, "state-dir", "", "folder for the certificate authority and the datastores' files")
	flag.StringVar(&args.names, "names", "vcenter.lab,10.77.0.2,127.0.0.1", "names and addresses in the certificate")
	flag.StringVar(&args.apiVersion, "api-version", "", "6.7.3, 7.0.3 or 8.0.3 instead of the inventory file's")
	flag.DurationVar(&args.sessionIdle, "session-idle", 30*time.Minute, "end sessions after so long without a call; 0: never")
	flag.IntVar(&args.sessionLimit, "session-limit", 0, "most sessions open at a time, SOAP and REST each; 0: any number")
	flag.Float64Var(&args.taskSeconds, "task-seconds", 0, "least time of clones, power operations and deletions")
	flag.Parse()
	log.SetFlags(log.LstdFlags | log.Lmsgprefix)
	log.SetPrefix("lab-vcenter: ")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, args, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "lab-vcenter:", err)
		os.Exit(1)
	}
}

// run serves until the context ends; it writes one line to out when it is ready.
func run(ctx context.Context, args arguments, out io.Writer) error {
	for flag, value := range map[string]string{"control": args.control, "inventory": args.inventory, "state-dir": args.stateDir} {
		if value == "" {
			return fmt.Errorf("--%s is needed", flag)
		}
	}
	if err := os.MkdirAll(args.stateDir, 0o755); err != nil {
		return err
	}
	spec, err := inventory.Load(args.inventory)
	if err != nil {
		return err
	}
	if args.apiVersion != "" {
		if err := spec.SetAPIVersion(args.apiVersion); err != nil {
			return err
		}
	}
	authority, err := pki.Open(args.stateDir)
	if err != nil {
		return err
	}
	issue := issuer(authority, args)
	certificate, _, err := issue(false)
	if err != nil {
		return err
	}
	// The inventory lives in memory only, so its files are of this run only as well.
	datastores := filepath.Join(args.stateDir, "datastores")
	if err := os.RemoveAll(datastores); err != nil {
		return err
	}
	if err := os.Mkdir(datastores, 0o700); err != nil {
		return err
	}

	server, err := vcenter.New(vcenter.Options{
		Listen:      args.listen,
		Certificate: certificate,
		Issue:       issue,
		Inventory:   spec,
		Datastores:  datastores,
		Hypervisor:  hypervisor.Dial(args.hypervisor),
		SessionIdle: args.sessionIdle, SessionLimit: args.sessionLimit,
		TaskTime: time.Duration(args.taskSeconds * float64(time.Second)),
	})
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return err
	}
	port, err := control.Serve(args.control, server)
	if err != nil {
		return errors.Join(err, server.Close())
	}
	if err := json.NewEncoder(out).Encode(map[string]string{
		"url": server.URL(), "control": args.control, "ca": authority.File,
	}); err != nil {
		return err
	}
	<-ctx.Done()
	return errors.Join(port.Close(), server.Close(), os.RemoveAll(datastores))
}

// issuer makes server certificates; a new authority's files are in a folder of its own.
func issuer(authority *pki.Authority, args arguments) func(bool) (tls.Certificate, string, error) {
	changes := 0
	return func(newAuthority bool) (tls.Certificate, string, error) {
		if newAuthority {
			changes++
			dir := filepath.Join(args.stateDir, fmt.Sprintf("authority-%d", changes))
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return tls.Certificate{}, "", err
			}
			other, err := pki.Open(dir)
			if err != nil {
				return tls.Certificate{}, "", err
			}
			authority = other
		}
		certificate, err := authority.Issue(names(args))
		return certificate, authority.File, err
	}
}

// names are those asked for, and the address that is listened on.
func names(args arguments) []string {
	var out []string
	for name := range strings.SplitSeq(args.names, ",") {
		if name = strings.TrimSpace(name); name != "" {
			out = append(out, name)
		}
	}
	if host, _, err := net.SplitHostPort(args.listen); err == nil && net.ParseIP(host) != nil && !slices.Contains(out, host) {
		out = append(out, host)
	}
	return out
}
