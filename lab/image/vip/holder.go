package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"net"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// holder puts the virtual address on one link and takes it away again.
type holder struct {
	link netlink.Link
	addr *netlink.Addr

	mu       sync.Mutex
	released bool
}

func newHolder(cfg config) (*holder, error) {
	link, err := findLink(cfg.iface)
	if err != nil {
		return nil, err
	}
	return &holder{link: link, addr: &netlink.Addr{IPNet: &net.IPNet{
		IP:   cfg.address.Addr().AsSlice(),
		Mask: net.CIDRMask(cfg.address.Bits(), 32),
	}}}, nil
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
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("listing routes: %w", err)
	}
	for _, route := range routes {
		if route.Dst == nil || route.Dst.IP.IsUnspecified() {
			return netlink.LinkByIndex(route.LinkIndex)
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
		if err := h.announce(); err != nil {
			log.Printf("announcing %s: %v", h.addr.IPNet, err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
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
	err := netlink.AddrDel(h.link, h.addr)
	if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("removing %s from %s: %w", h.addr.IPNet, h.link.Attrs().Name, err)
	}
	return nil
}

// announce broadcasts a gratuitous ARP reply, so that neighbours forget the last holder's MAC.
func (h *holder) announce() error {
	attrs := h.link.Attrs()
	if len(attrs.HardwareAddr) != 6 {
		return nil
	}
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening a packet socket: %w", err)
	}
	defer unix.Close(socket)
	to := &unix.SockaddrLinklayer{
		Protocol: bigEndian(unix.ETH_P_ARP),
		Ifindex:  attrs.Index,
		Halen:    6,
		Addr:     [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	}
	if err := unix.Sendto(socket, gratuitousARP(attrs.HardwareAddr, h.addr.IP), 0, to); err != nil {
		return fmt.Errorf("sending on %s: %w", attrs.Name, err)
	}
	return nil
}

// gratuitousARP is a reply (operation 2) in which sender and target are the same address.
func gratuitousARP(mac net.HardwareAddr, ip net.IP) []byte {
	packet := []byte{0, 1, 8, 0, 6, 4, 0, 2}
	packet = append(packet, mac...)
	packet = append(packet, ip.To4()...)
	packet = append(packet, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	return append(packet, ip.To4()...)
}

// bigEndian is the 16-bit value as the kernel's network-order field wants it on this machine.
func bigEndian(value uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, value))
}
