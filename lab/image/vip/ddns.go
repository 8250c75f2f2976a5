package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
)

const (
	lookupTimeout = 2 * time.Second
	// leasePause is kube-vip's first pause after a server that did not answer.
	leasePause = 10 * time.Second
	// defaultLease is for servers that do not say how long.
	defaultLease = time.Hour
)

// resolve asks DNS for a name's IPv4 address.
func resolve(ctx context.Context, name string) (net.IP, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	found, err := net.DefaultResolver.LookupIP(ctx, "ip4", name)
	if err != nil {
		return nil, err
	}
	return found[0], nil
}

// identity is what a lease for a name is asked with: its first label is host name and client
// identifier, so that all control planes are one client to the server, and another one than the
// machine itself on the same card. The server enters the host name into its DNS.
func identity(name string) []dhcpv4.Modifier {
	host, _, _ := strings.Cut(name, ".")
	return []dhcpv4.Modifier{
		dhcpv4.WithOption(dhcpv4.OptHostName(host)),
		dhcpv4.WithOption(dhcpv4.OptClientIdentifier([]byte(host))),
	}
}

// lease asks for an address until there is one or ctx ends.
func lease(ctx context.Context, iface, name string) (*nclient4.Lease, error) {
	for {
		got, err := request(ctx, iface, name)
		if err == nil {
			log.Printf("DHCP leases %s for %s", got.ACK.YourIPAddr, name)
			return got, nil
		}
		log.Printf("asking for a lease for %s: %v", name, err)
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("no lease for %s: %w", name, err)
		case <-time.After(leasePause):
		}
	}
}

func request(ctx context.Context, iface, name string) (*nclient4.Lease, error) {
	client, err := nclient4.New(iface)
	if err != nil {
		return nil, fmt.Errorf("opening a DHCP client on %s: %w", iface, err)
	}
	defer client.Close()
	return client.Request(ctx, identity(name)...)
}

// keepLease asks again at half of each lease's time, and gives the lease up when ctx ends.
func keepLease(ctx context.Context, iface, name string, held *nclient4.Lease) {
	for {
		select {
		case <-ctx.Done():
			if err := giveUp(iface, held); err != nil {
				log.Printf("giving up the lease for %s: %v", name, err)
			}
			return
		case <-time.After(held.ACK.IPAddressLeaseTime(defaultLease) / 2):
		}
		if next, err := request(ctx, iface, name); err != nil {
			log.Printf("renewing the lease for %s: %v", name, err)
		} else {
			held = next
		}
	}
}

func giveUp(iface string, held *nclient4.Lease) error {
	client, err := nclient4.New(iface)
	if err != nil {
		return err
	}
	defer client.Close()
	return client.Release(held)
}
