package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

// config is the part of kube-vip's settings that control-plane mode with ARP and NDP needs.
type config struct {
	// address is the virtual one; it is not valid when the name's is leased by DHCP.
	address netip.Addr
	// name is leased, of IPv4, if it is not empty (vip_ddns).
	name string
	// bits is the length of the virtual address's prefix.
	bits          int
	iface         string
	nodeName      string
	namespace     string
	leaseName     string
	kubeconfig    string
	port          int
	leaseDuration time.Duration
	renewDeadline time.Duration
	retryPeriod   time.Duration
	arpRate       time.Duration
}

// refused are modes of the real kube-vip that this stand-in does not have.
var refused = []string{"svc_enable", "bgp_enable", "lb_enable", "vip_wireguard", "vip_routingtable"}

// required are switches without which the real kube-vip would not do what this one does.
var required = []string{"cp_enable", "vip_arp", "vip_leaderelection"}

// env reads typed values and keeps every fault, so that one start names them all.
type env struct {
	lookup func(string) (string, bool)
	faults []error
}

func (e *env) str(key, fallback string) string {
	if value, ok := e.lookup(key); ok && value != "" {
		return value
	}
	return fallback
}

func (e *env) number(key string, fallback int) int {
	value := e.str(key, "")
	if value == "" {
		return fallback
	}
	n, err := strconv.Atoi(value)
	if err != nil || n <= 0 {
		e.faults = append(e.faults, fmt.Errorf("%s=%q is not a positive whole number", key, value))
		return fallback
	}
	return n
}

func (e *env) boolean(key string) bool {
	value := e.str(key, "false")
	b, err := strconv.ParseBool(value)
	if err != nil {
		e.faults = append(e.faults, fmt.Errorf("%s=%q is not a boolean", key, value))
	}
	return b
}

func parse(args []string, lookup func(string) (string, bool)) (config, error) {
	if len(args) != 1 || args[0] != "manager" {
		return config{}, fmt.Errorf("arguments %q: only %q is understood", args, "manager")
	}
	e := &env{lookup: lookup}
	for _, key := range refused {
		if e.boolean(key) {
			e.faults = append(e.faults, fmt.Errorf("%s=true: the lab's stand-in has no such mode", key))
		}
	}
	for _, key := range required {
		if !e.boolean(key) {
			e.faults = append(e.faults, fmt.Errorf("%s must be true", key))
		}
	}
	hostname, err := os.Hostname()
	if err != nil {
		return config{}, fmt.Errorf("reading the host name: %w", err)
	}
	cfg := config{
		iface:         e.str("vip_interface", ""),
		nodeName:      e.str("vip_nodename", hostname),
		namespace:     e.str("cp_namespace", "kube-system"),
		leaseName:     e.str("vip_leasename", "plndr-cp-lock"),
		kubeconfig:    e.str("k8s_config_file", "/etc/kubernetes/admin.conf"),
		port:          e.number("port", 6443),
		leaseDuration: seconds(e.number("vip_leaseduration", 5)),
		renewDeadline: seconds(e.number("vip_renewdeadline", 3)),
		retryPeriod:   seconds(e.number("vip_retryperiod", 1)),
		arpRate:       time.Duration(e.number("vip_arpRate", 3000)) * time.Millisecond,
	}
	e.endpoint(&cfg)
	return cfg, errors.Join(e.faults...)
}

// endpoint reads the virtual address, or the name to lease one for; vip_address is the older name of
// the same setting. Without an answer of its own dhcp_mode is IPv4 (kube-vip from 1.0.2 on).
func (e *env) endpoint(cfg *config) {
	value := e.str("address", e.str("vip_address", ""))
	isLeased := e.boolean("vip_ddns")
	addr, err := netip.ParseAddr(value)
	switch {
	case isLeased && (err == nil || value == ""):
		e.faults = append(e.faults, fmt.Errorf("address=%q is not a name, and vip_ddns leases for one", value))
		return
	case isLeased && e.str("dhcp_mode", "ipv4") != "ipv4":
		e.faults = append(e.faults, fmt.Errorf("dhcp_mode=%q: the lab's stand-in leases IPv4 only", e.str("dhcp_mode", "")))
		return
	case !isLeased && err != nil:
		e.faults = append(e.faults, fmt.Errorf("address=%q is not an address; a name needs vip_ddns", value))
		return
	case isLeased:
		cfg.name = value
	default:
		cfg.address = addr
	}
	longest := 32
	if addr.Is6() {
		longest = 128
	}
	subnet := e.str("vip_subnet", e.str("vip_cidr", strconv.Itoa(longest)))
	// "32,128" has one for each family.
	first, second, hasBoth := strings.Cut(subnet, ",")
	if hasBoth && addr.Is6() {
		first = second
	}
	cfg.bits, err = strconv.Atoi(strings.TrimPrefix(first, "/"))
	if err != nil || cfg.bits < 1 || cfg.bits > longest {
		e.faults = append(e.faults, fmt.Errorf("vip_subnet=%q is not a prefix length", subnet))
	}
}
