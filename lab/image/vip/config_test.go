package main

import (
	"bytes"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
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
	if cfg.address.String() != "10.77.1.5" || cfg.bits != 32 || cfg.name != "" {
		t.Errorf("address %s/%d, name %q", cfg.address, cfg.bits, cfg.name)
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
		{"address", "vip.example", "a name needs vip_ddns"},
		{"address", "", "is not an address"},
		{"vip_ddns", "true", "is not a name"},
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

func TestAnAddressOfIPv6HasItsOwnPrefix(t *testing.T) {
	for _, subnet := range []string{"128", "32,128", ""} {
		cfg, err := parseWith(map[string]string{"address": "fd00:77::5", "vip_subnet": subnet})
		if err != nil || cfg.address.String() != "fd00:77::5" || cfg.bits != 128 {
			t.Errorf("vip_subnet=%q: %s/%d, error %v", subnet, cfg.address, cfg.bits, err)
		}
	}
}

func TestANameIsLeasedByItsFirstLabel(t *testing.T) {
	leased := map[string]string{"address": "web.lab.example", "vip_ddns": "true"}
	cfg, err := parseWith(leased)
	if err != nil || cfg.name != "web.lab.example" || cfg.address.IsValid() || cfg.bits != 32 {
		t.Errorf("config %+v, error %v", cfg, err)
	}
	asked, err := dhcpv4.NewDiscovery(net.HardwareAddr{0, 0x50, 0x56, 1, 2, 3}, identity(cfg.name)...)
	if err != nil {
		t.Fatal(err)
	}
	client := asked.GetOneOption(dhcpv4.OptionClientIdentifier)
	if asked.HostName() != "web" || string(client) != "web" {
		t.Errorf("host name %q, client identifier %q", asked.HostName(), client)
	}
	leased["dhcp_mode"] = "ipv6"
	if _, err := parseWith(leased); err == nil || !strings.Contains(err.Error(), "dhcp_mode") {
		t.Errorf("error %v", err)
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

// What the kernel and neighbours do with both is seen where the tests may make namespaces: on real nodes.
func TestNeighbourAdvertisementOverridesAndNamesTheAddress(t *testing.T) {
	mac, address := net.HardwareAddr{0, 0x50, 0x56, 1, 2, 3}, net.ParseIP("fd00:77::5")
	packet := neighbourAdvertisement(mac, address)
	if len(packet) != 32 || packet[0] != 136 || packet[4] != 0x20 || !bytes.Equal(packet[8:24], address) {
		t.Errorf("packet % x", packet)
	}
	if !bytes.Equal(packet[24:], append([]byte{2, 1}, mac...)) {
		t.Errorf("option % x", packet[24:])
	}
}

func TestAnAddressIsDeprecatedAndThatOfANameEnds(t *testing.T) {
	lasting := &holder{cfg: config{bits: 128}}
	if addr := lasting.address(net.ParseIP("fd00:77::5")); addr.PreferedLft != 0 || uint32(addr.ValidLft) != 0xffffffff || addr.IPNet.String() != "fd00:77::5/128" {
		t.Errorf("%+v", addr)
	}
	leased := &holder{cfg: config{name: "web.lab", bits: 32}}
	if addr := leased.address(net.IPv4(10, 77, 8, 1)); addr.ValidLft != leasedLifetime || addr.IPNet.String() != "10.77.8.1/32" {
		t.Errorf("%+v", addr)
	}
}
