// Command kube-vip stands in for kube-vip's control-plane mode in the lab.
//
// kube-vip itself cannot be had as a verified Go module, so the lab's image behind its name is
// this program. It takes the arguments and the environment of an unchanged kube-vip manifest, does
// leader election on the same Lease, and holds the virtual address on the leader with gratuitous
// ARP or unsolicited neighbour advertisements. With vip_ddns the leader leases the address of a name by
// DHCP, with kube-vip's DHCP library and identity. What it does not do (services, BGP, load balancing) it refuses, so that a manifest which
// asks for more fails here instead of seeming to work.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

func main() {
	if err := run(os.Args[1:], os.LookupEnv); err != nil {
		log.Fatalf("kube-vip (lab stand-in): %v", err)
	}
}

func run(args []string, getenv func(string) (string, bool)) error {
	cfg, err := parse(args, getenv)
	if err != nil {
		return err
	}
	holder, err := newHolder(cfg)
	if err != nil {
		return err
	}
	// An address left by a killed predecessor would answer beside the new leader's.
	if err := holder.remove(); err != nil {
		return err
	}
	leases, err := newLeaseClient(cfg)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return elect(ctx, cfg, leases, holder)
}

// newLeaseClient talks to this node's own API server: the manifest's hostAliases point the name
// "kubernetes" at 127.0.0.1, because the virtual address is what is about to be made.
func newLeaseClient(cfg config) (*coordinationv1.CoordinationV1Client, error) {
	rest, err := clientcmd.BuildConfigFromFlags("", cfg.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig %s: %w", cfg.kubeconfig, err)
	}
	rest.Host = fmt.Sprintf("https://kubernetes:%d", cfg.port)
	rest.Timeout = cfg.renewDeadline
	client, err := coordinationv1.NewForConfig(rest)
	if err != nil {
		return nil, fmt.Errorf("making a client for %s: %w", rest.Host, err)
	}
	return client, nil
}

// elect returns nil after a signal and an error when leadership was lost: the kubelet then starts
// a fresh process, as it does with the real kube-vip.
func elect(ctx context.Context, cfg config, leases coordinationv1.LeasesGetter, holder *holder) error {
	lock := &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Name: cfg.leaseName, Namespace: cfg.namespace},
		Client:     leases,
		LockConfig: resourcelock.ResourceLockConfig{Identity: cfg.nodeName},
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, 1)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:            lock,
		LeaseDuration:   cfg.leaseDuration,
		RenewDeadline:   cfg.renewDeadline,
		RetryPeriod:     cfg.retryPeriod,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) {
				if err := lead(ctx, cfg, holder); err != nil {
					failed <- err
					cancel()
				}
			},
			OnStoppedLeading: func() {},
			OnNewLeader:      func(identity string) { log.Printf("leader is %s", identity) },
		},
	})
	if err != nil {
		return fmt.Errorf("setting up the election on lease %s/%s: %w", cfg.namespace, cfg.leaseName, err)
	}
	elector.Run(ctx)
	if err := holder.release(); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	default:
		return fmt.Errorf("lost lease %s/%s: not renewed within %s", cfg.namespace, cfg.leaseName, cfg.renewDeadline)
	}
}

// lead holds the address until ctx ends; that of a name is leased first.
func lead(ctx context.Context, cfg config, holder *holder) error {
	link := holder.link.Attrs().Name
	if cfg.name == "" {
		log.Printf("%s leads: holding %s on %s", cfg.nodeName, cfg.address, link)
		return holder.hold(ctx, cfg.arpRate)
	}
	log.Printf("%s leads: leasing an address for %s on %s", cfg.nodeName, cfg.name, link)
	held, err := lease(ctx, link, cfg.name)
	if err != nil {
		return err
	}
	if err := holder.use(held.ACK.YourIPAddr); err != nil {
		return err
	}
	go keepLease(ctx, link, cfg.name, held)
	return holder.hold(ctx, cfg.arpRate)
}

// seconds is how kube-vip writes durations in its environment.
func seconds(n int) time.Duration { return time.Duration(n) * time.Second }
