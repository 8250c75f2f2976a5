// Command flanneld is flannel's daemon, put together from flannel's own packages.
//
// Its upstream main imports a cloud backend whose modules cannot be had, so this one wires the
// same parts for what the lab runs: the Kubernetes subnet manager, the vxlan and host-gw backends,
// iptables and nftables. It runs from upstream's unchanged kube-flannel.yml; flags and
// net-conf.json keys of the parts that are left out are refused.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/flannel-io/flannel/pkg/backend"
	_ "github.com/flannel-io/flannel/pkg/backend/hostgw"
	_ "github.com/flannel-io/flannel/pkg/backend/vxlan"
	"github.com/flannel-io/flannel/pkg/ipmatch"
	"github.com/flannel-io/flannel/pkg/subnet"
	"github.com/flannel-io/flannel/pkg/subnet/kube"
	"github.com/flannel-io/flannel/pkg/trafficmngr"
	"github.com/flannel-io/flannel/pkg/trafficmngr/iptables"
	"github.com/flannel-io/flannel/pkg/trafficmngr/nftables"
	log "k8s.io/klog/v2"
)

// resyncSeconds is how often flannel looks after its rules (upstream's default).
const resyncSeconds = 5

type options struct {
	ipMasq        bool
	kubeSubnetMgr bool
	iface         string
	subnetFile    string
	netConf       string
	annotations   string
}

func main() {
	var opts options
	flag.BoolVar(&opts.ipMasq, "ip-masq", false, "masquerade traffic that leaves the overlay")
	flag.BoolVar(&opts.kubeSubnetMgr, "kube-subnet-mgr", false, "take subnets from the nodes' podCIDR; required")
	flag.StringVar(&opts.iface, "iface", "", "interface or address for traffic between nodes; default: that of the default route")
	flag.StringVar(&opts.subnetFile, "subnet-file", "/run/flannel/subnet.env", "file for the CNI plugin")
	flag.StringVar(&opts.netConf, "net-config-path", "/etc/kube-flannel/net-conf.json", "network configuration")
	flag.StringVar(&opts.annotations, "kube-annotation-prefix", "flannel.alpha.coreos.com", "prefix of the nodes' annotations")
	log.InitFlags(nil)
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, opts); err != nil && ctx.Err() == nil {
		log.Errorf("flanneld: %v", err)
		log.Flush()
		os.Exit(1)
	}
}

func run(ctx context.Context, opts options) error {
	if !opts.kubeSubnetMgr {
		return errors.New("--kube-subnet-mgr is required: this build has no etcd subnet manager")
	}
	manager, err := kube.NewSubnetManager(ctx, "", "", opts.annotations, opts.netConf, true)
	if err != nil {
		return fmt.Errorf("creating the subnet manager: %w", err)
	}
	config, err := networkConfig(ctx, manager)
	if err != nil {
		return err
	}
	external, err := externalInterface(ctx, opts.iface, manager, config)
	if err != nil {
		return err
	}

	// The backend and the lease have goroutines of their own, which end with this context.
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()

	kind, err := backend.NewManager(ctx, manager, external).GetBackend(config.BackendType)
	if err != nil {
		return fmt.Errorf("backend %q (this build has vxlan and host-gw): %w", config.BackendType, err)
	}
	network, err := kind.RegisterNetwork(ctx, &wg, config)
	if err != nil {
		return fmt.Errorf("registering the network: %w", err)
	}
	if err := filterTraffic(ctx, opts.ipMasq, config, network); err != nil {
		return err
	}
	lease := network.Lease()
	err = manager.HandleSubnetFile(opts.subnetFile, config, opts.ipMasq, lease.Subnet, lease.IPv6Subnet, network.MTU())
	if err != nil {
		return fmt.Errorf("writing %s: %w", opts.subnetFile, err)
	}
	log.Infof("wrote %s, running backend %s", opts.subnetFile, config.BackendType)
	wg.Add(1)
	go func() {
		defer wg.Done()
		network.Run(ctx)
	}()
	if err := manager.CompleteLease(ctx, lease, &wg); err != nil {
		return fmt.Errorf("keeping the lease: %w", err)
	}
	wg.Wait()
	return nil
}

// networkConfig waits until the configuration can be read and checks that this build can serve it.
func networkConfig(ctx context.Context, manager subnet.Manager) (*subnet.Config, error) {
	for {
		config, err := manager.GetNetworkConfig(ctx)
		switch {
		case err != nil:
			log.Errorf("reading the network configuration: %v", err)
		default:
			// Without it, packets between pods of one node pass by kube-proxy's rules.
			const bridged = "/proc/sys/net/bridge/bridge-nf-call-iptables"
			if _, err := os.Stat(bridged); err != nil {
				return nil, fmt.Errorf("br_netfilter is not loaded: %w", err)
			}
			return config, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

func externalInterface(ctx context.Context, name string, manager subnet.Manager, config *subnet.Config) (*backend.ExternalInterface, error) {
	family, err := ipmatch.GetIPFamily(config.EnableIPv4, config.EnableIPv6)
	if err != nil {
		return nil, err
	}
	// An annotation on the node overrules what the interface says.
	public, publicV6 := manager.GetStoredPublicIP(ctx)
	if name == "" {
		name = public
	}
	told := ipmatch.PublicIPOpts{PublicIP: public, PublicIPv6: publicV6}
	found, err := ipmatch.LookupExtIface(name, "", "", family, told)
	if err != nil {
		return nil, fmt.Errorf("finding the interface between nodes (--iface=%q): %w", name, err)
	}
	return found, nil
}

func filterTraffic(ctx context.Context, masquerade bool, config *subnet.Config, network backend.Network) error {
	var rules, other trafficmngr.TrafficManager = &iptables.IPTablesManager{}, &nftables.NFTablesManager{}
	if config.EnableNFTables {
		rules, other = other, rules
	}
	// The configuration may have been changed from the one to the other.
	if err := other.CleanUp(ctx); err != nil {
		return fmt.Errorf("removing rules of the unused kind: %w", err)
	}
	if err := rules.Init(ctx); err != nil {
		return fmt.Errorf("setting up packet filter rules: %w", err)
	}
	if masquerade {
		// A node's podCIDR never changes, so there are no rules of an earlier subnet to take back.
		err := rules.SetupAndEnsureMasqRules(ctx,
			config.Network, network.Lease().Subnet, config.Network,
			config.IPv6Network, network.Lease().IPv6Subnet, config.IPv6Network,
			network.Lease(), resyncSeconds, false)
		if err != nil {
			return fmt.Errorf("setting up masquerading: %w", err)
		}
	}
	rules.SetupAndEnsureForwardRules(ctx, config.Network, config.IPv6Network, resyncSeconds)
	return nil
}
