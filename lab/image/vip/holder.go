package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math"
	"net"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// leasedLifetime is how long, in seconds, the address of a name stays without being put up again.
const leasedLifetime = 60

// holder puts the virtual address on one link and takes it away again.
type holder struct {
	link netlink.Link
	cfg  config

	mu sync.Mutex
	// addr is nil as long as a name has no address.
	addr     *netlink.Addr
	released bool
}

func newHolder(cfg config) (*holder, error) {
	link, err := findLink(cfg.iface)
	if err != nil {
		return nil, err
	}
	h := &holder{link: link, cfg: cfg}
	if cfg.name == "" {
		h.addr = h.address(cfg.address.AsSlice())
	} else if ip, err := resolve(context.Background(), cfg.name); err == nil {
		h.addr = h.address(ip)
	}
	return h, nil
}

// address is as kube-vip puts it up: deprecated, so that nobody takes it as a source.
func (h *holder) address(ip net.IP) *netlink.Addr {
	lifetime := math.MaxInt
	if h.cfg.name != "" {
		lifetime = leasedLifetime
	}
	longest := 8 * net.IPv6len
	if four := ip.To4(); four != nil {
		ip, longest = four, 8*net.IPv4len
	}
	return &netlink.Addr{
		IPNet:       &net.IPNet{IP: ip, Mask: net.CIDRMask(h.cfg.bits, longest)},
		PreferedLft: 0,
		ValidLft:    lifetime,
	}
}

// findLink takes the named link, or the one of the default route as kube-vip does.
func findLink(name string) (netlink.Link, error) {
	if name != "" {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return nil, fmt.Errorf("vip_interface=%q: %w", name, err)
		}
		return link, nil
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := netlink.RouteList(nil, family)
		if err != nil {
			return nil, fmt.Errorf("listing routes: %w", err)
		}
		for _, route := range routes {
			if route.Dst == nil || route.Dst.IP.IsUnspecified() {
				return netlink.LinkByIndex(route.LinkIndex)
			}
		}
	}
	return nil, errors.New("vip_interface is not set and there is no default route to tell it")
}

// hold keeps the address up and announces it until ctx ends; release takes it away.
func (h *holder) hold(ctx context.Context, every time.Duration) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		if err := h.put(); err != nil {
			return err
		}
		if err := announce(h.link.Attrs().Index, h.link.Attrs().HardwareAddr, h.addr.IP); err != nil {
			log.Printf("announcing %s: %v", h.addr.IPNet, err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if h.cfg.name == "" {
			continue
		}
		// What DNS says comes before the lease, as in kube-vip.
		if ip, err := resolve(ctx, h.cfg.name); err != nil {
			log.Printf("looking %s up: %v", h.cfg.name, err)
		} else if err := h.use(ip); err != nil {
			return err
		}
	}
}

// use makes an address the virtual one, in place of what was it until now.
func (h *holder) use(ip net.IP) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.addr != nil && h.addr.IP.Equal(ip) {
		return nil
	}
	log.Printf("the address is %s", ip)
	err := h.remove()
	h.addr = h.address(ip)
	return err
}

func (h *holder) put() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.released {
		return nil
	}
	if err := netlink.AddrReplace(h.link, h.addr); err != nil {
		return fmt.Errorf("adding %s to %s: %w", h.addr.IPNet, h.link.Attrs().Name, err)
	}
	return nil
}

// release removes the address for good: a hold still under way cannot bring it back.
func (h *holder) release() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.released = true
	return h.remove()
}

func (h *holder) remove() error {
	if h.addr == nil {
		return nil
	}
	err := netlink.AddrDel(h.link, h.addr)
	if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("removing %s from %s: %w", h.addr.IPNet, h.link.Attrs().Name, err)
	}
	return nil
}
