package main

import (
	"bytes"
	"maps"
	"net"
	"strings"
	"testing"
	"time"
)

// manifest is the environment of kube-vip's own `manifest pod --controlplane --arp --leaderElection`.
var manifest = map[string]string{
	"vip_arp": "true", "port": "6443", "vip_nodename": "cp-1", "vip_interface": "eth0",
	"vip_subnet": "32", "dns_mode": "first", "cp_enable": "true", "cp_namespace": "kube-system",
	"vip_leaderelection": "true", "vip_leasename": "plndr-cp-lock", "vip_leaseduration": "5",
	"vip_renewdeadline": "3", "vip_retryperiod": "1", "address": "10.77.1.5",
	"prometheus_server": ":2112",
}

func parseWith(changes map[string]string) (config, error) {
	env := maps.Clone(manifest)
	maps.Copy(env, changes)
	return parse([]string{"manager"}, func(key string) (string, bool) {
		value, ok := env[key]
		return value, ok
	})
}

func TestAKubeVIPManifestIsUnderstood(t *testing.T) {
	cfg, err := parseWith(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := cfg.address.String(); got != "10.77.1.5/32" {
		t.Errorf("address %s", got)
	}
	if cfg.leaseDuration != 5*time.Second || cfg.renewDeadline != 3*time.Second || cfg.retryPeriod != time.Second {
		t.Errorf("lease times %s/%s/%s", cfg.leaseDuration, cfg.renewDeadline, cfg.retryPeriod)
	}
	if cfg.nodeName != "cp-1" || cfg.iface != "eth0" || cfg.namespace != "kube-system" || cfg.port != 6443 {
		t.Errorf("config %+v", cfg)
	}
}

func TestWhatTheStandInCannotDoIsRefused(t *testing.T) {
	for _, c := range []struct{ key, value, want string }{
		{"svc_enable", "true", "svc_enable=true"},
		{"vip_arp", "false", "vip_arp must be true"},
		{"address", "vip.example", "not an IPv4 address"},
		{"address", "", "not an IPv4 address"},
		{"vip_subnet", "40", "not a prefix length"},
		{"vip_leaseduration", "5s", "vip_leaseduration"},
		{"cp_enable", "", "cp_enable must be true"},
	} {
		_, err := parseWith(map[string]string{c.key: c.value})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s=%q: error %v, want %q in it", c.key, c.value, err, c.want)
		}
	}
}

func TestOnlyManagerModeStarts(t *testing.T) {
	if _, err := parse([]string{"service"}, func(string) (string, bool) { return "", false }); err == nil {
		t.Error("no error")
	}
}

func TestGratuitousARPNamesTheAddressTwice(t *testing.T) {
	packet := gratuitousARP(net.HardwareAddr{0, 0x50, 0x56, 1, 2, 3}, net.IPv4(10, 77, 1, 5))
	address := []byte{10, 77, 1, 5}
	if len(packet) != 28 || !bytes.Equal(packet[14:18], address) || !bytes.Equal(packet[24:28], address) {
		t.Errorf("packet % x", packet)
	}
}
