// Command lab-thin plays the lab's hypervisor with thin guests: machines that behave like Kubernetes nodes
// without booting anything. lab/README.md has the protocol, lab/thin/README.md the rest.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"lab-thin/internal/cluster"
	"lab-thin/internal/guest"
	"lab-thin/internal/uplink"
)

func main() {
	var listen, control, network string
	flag.StringVar(&listen, "listen", "", "Unix socket of the hypervisor's protocol")
	flag.StringVar(&control, "control", "", "control socket of lab-vcenter")
	flag.StringVar(&network, "network", "", "network of the guests; none: a free 127.N.0.0/16")
	flag.Parse()
	log.SetFlags(log.LstdFlags | log.Lmsgprefix)
	log.SetPrefix("lab-thin: ")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, listen, control, network, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "lab-thin:", err)
		os.Exit(1)
	}
}

// run serves until the context ends; it writes one line to out when it is ready.
func run(ctx context.Context, listen, control, network string, out io.Writer) error {
	if listen == "" || control == "" {
		return errors.New("--listen and --control are needed")
	}
	prefix, lock, err := choose(network)
	if err != nil {
		return err
	}
	if lock != nil {
		defer lock.Close()
	}
	if err := os.Remove(listen); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	socket, err := net.Listen("unix", listen)
	if err != nil {
		return err
	}
	host := guest.NewHost(cluster.NewEstate(), uplink.New(control), prefix)
	server := &http.Server{Handler: host.Handler(), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(socket) }()
	if err := json.NewEncoder(out).Encode(map[string]string{"socket": listen, "network": prefix.String()}); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return server.Close()
	case err := <-failed:
		return err
	}
}

func choose(network string) (netip.Prefix, net.Listener, error) {
	if network == "" {
		return guest.FreeNetwork()
	}
	prefix, err := netip.ParsePrefix(network)
	if err == nil && (!prefix.Addr().Is4() || prefix.Bits() > 16) {
		err = errors.New("an IPv4 network of 16 bits or less is wanted")
	}
	if err != nil {
		return prefix, nil, fmt.Errorf("--network %s: %w", network, err)
	}
	return prefix, nil, nil
}
