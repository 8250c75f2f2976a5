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

// config is the part of kube-vip's settings that control-plane mode with ARP needs.
type config struct {
	address       netip.Prefix
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
var refused = []string{"svc_enable", "bgp_enable", "lb_enable", "vip_ddns", "vip_wireguard", "vip_routingtable"}

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
		address:       e.address(),
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
	return cfg, errors.Join(e.faults...)
}

// address reads the virtual address; vip_address is the older name of the same setting.
func (e *env) address() netip.Prefix {
	value := e.str("address", e.str("vip_address", ""))
	addr, err := netip.ParseAddr(value)
	if err != nil || !addr.Is4() {
		e.faults = append(e.faults, fmt.Errorf("address=%q is not an IPv4 address", value))
		return netip.Prefix{}
	}
	bits, err := strconv.Atoi(strings.TrimPrefix(e.str("vip_subnet", e.str("vip_cidr", "32")), "/"))
	if err != nil || bits < 1 || bits > 32 {
		e.faults = append(e.faults, fmt.Errorf("vip_subnet=%q is not a prefix length", e.str("vip_subnet", "")))
		return netip.Prefix{}
	}
	return netip.PrefixFrom(addr, bits)
}
