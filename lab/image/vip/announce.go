package main

import (
	"encoding/binary"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// announce tells all neighbours on a link that an address is here, so that they forget the last
// holder's MAC: by a gratuitous ARP reply, or by an unsolicited neighbour advertisement.
func announce(index int, mac net.HardwareAddr, ip net.IP) error {
	if len(mac) != 6 {
		return nil
	}
	if ip.To4() == nil {
		return advertise(index, mac, ip)
	}
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening a packet socket: %w", err)
	}
	defer unix.Close(socket)
	to := &unix.SockaddrLinklayer{
		Protocol: bigEndian(unix.ETH_P_ARP),
		Ifindex:  index,
		Halen:    6,
		Addr:     [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	}
	if err := unix.Sendto(socket, gratuitousARP(mac, ip), 0, to); err != nil {
		return fmt.Errorf("sending ARP: %w", err)
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

// advertise sends to all nodes of the link. The kernel adds header, source and checksum; receivers
// drop what has passed a router, so the hop limit must be 255 (RFC 4861, 7.1.2).
func advertise(index int, mac net.HardwareAddr, ip net.IP) error {
	socket, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	if err != nil {
		return fmt.Errorf("opening an ICMPv6 socket: %w", err)
	}
	defer unix.Close(socket)
	if err := unix.SetsockoptInt(socket, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255); err != nil {
		return fmt.Errorf("setting the hop limit: %w", err)
	}
	allNodes := &unix.SockaddrInet6{
		ZoneId: uint32(index),
		Addr:   [16]byte{0: 0xff, 1: 0x02, 15: 1},
	}
	if err := unix.Sendto(socket, neighbourAdvertisement(mac, ip), 0, allNodes); err != nil {
		return fmt.Errorf("sending a neighbour advertisement: %w", err)
	}
	return nil
}

// neighbourAdvertisement is unsolicited and overrides what neighbours have in their caches.
func neighbourAdvertisement(mac net.HardwareAddr, ip net.IP) []byte {
	const override = 0x20
	packet := []byte{136, 0, 0, 0, override, 0, 0, 0}
	packet = append(packet, ip.To16()...)
	packet = append(packet, 2, 1) // the target's link-layer address, 8 bytes in all
	return append(packet, mac...)
}

// bigEndian is the 16-bit value as the kernel's network-order field wants it on this machine.
func bigEndian(value uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, value))
}
