package guest

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// ethernet is one entry of netplan's network.ethernets, as far as Moorage may use it.
type ethernet struct {
	Match struct {
		Name string `json:"name"`
		MAC  string `json:"macaddress"`
	} `json:"match"`
	SetName   string   `json:"set-name"`
	DHCP4     bool     `json:"dhcp4"`
	DHCP6     bool     `json:"dhcp6"`
	Addresses []string `json:"addresses"`
	Gateway6  string   `json:"gateway6"`
	Routes    []route  `json:"routes"`
	Overrides struct {
		UseRoutes *bool `json:"use-routes"`
	} `json:"dhcp4-overrides"`
}

type route struct {
	To  string `json:"to"`
	Via string `json:"via"`
}

// card is what the operating system made of one NIC.
type card struct {
	Addresses []string // static, IPv4 first
	DHCP      bool     // of IPv4
}

// readNetwork does what netplan and the kernel do with the network's description: one card for each NIC. What they
// would refuse, or bring up in a way that no node can use, is an error.
func readNetwork(ethernets map[string]ethernet, nics []NIC) ([]card, error) {
	if len(ethernets) == 0 {
		return nil, errors.New(metadataKey + " has no network.ethernets")
	}
	cards := make([]card, max(1, len(nics)))
	seen := map[string]bool{} // addresses, and families that have a default route
	described := map[int]bool{}
	for name, one := range ethernets {
		at, err := nicOf(one, nics)
		if err == nil && described[at] {
			err = errors.New("another one describes the same NIC")
		}
		if err == nil {
			described[at] = true
			cards[at], err = one.card(seen)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: network.ethernets.%s: %w", metadataKey, name, err)
		}
	}
	if !described[0] {
		return nil, errors.New(metadataKey + ": nothing in network.ethernets is about the first NIC")
	}
	return cards, nil
}

// nicOf finds the NIC that an entry is about. A pattern over names matches all of them, whatever they are called.
func nicOf(one ethernet, nics []NIC) (int, error) {
	if one.Match.MAC == "" {
		if len(nics) > 1 {
			return 0, fmt.Errorf("match.name %q is true of all %d NICs", one.Match.Name, len(nics))
		}
		return 0, nil
	}
	at := slices.IndexFunc(nics, func(nic NIC) bool { return strings.EqualFold(nic.MAC, one.Match.MAC) })
	if at < 0 {
		return 0, fmt.Errorf("no NIC has the MAC address %s", one.Match.MAC)
	}
	return at, nil
}

func (e ethernet) card(seen map[string]bool) (card, error) {
	made := card{DHCP: e.DHCP4}
	var prefixes []netip.Prefix
	for _, text := range e.Addresses {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return made, err
		}
		if seen[prefix.Addr().String()] {
			return made, fmt.Errorf("address %s is there twice", prefix.Addr())
		}
		seen[prefix.Addr().String()] = true
		prefixes = append(prefixes, prefix)
	}
	slices.SortStableFunc(prefixes, func(a, b netip.Prefix) int { return a.Addr().BitLen() - b.Addr().BitLen() })
	for _, prefix := range prefixes {
		made.Addresses = append(made.Addresses, prefix.Addr().String())
	}
	if len(prefixes) == 0 && !e.DHCP4 && !e.DHCP6 {
		return made, errors.New("the network has neither addresses nor dhcp4 nor dhcp6")
	}
	routes := slices.Clone(e.Routes)
	if e.Gateway6 != "" {
		routes = append(routes, route{"::/0", e.Gateway6})
	} else if slices.ContainsFunc(routes, func(one route) bool { return one.To == "::/0" }) {
		return made, errors.New("route to ::/0: cloud-init's renderer for networkd makes ::/64 of it; gateway6 is right")
	}
	for _, route := range routes {
		to, err := netip.ParsePrefix(route.To)
		if err != nil {
			return made, fmt.Errorf("route to %q: %w", route.To, err)
		}
		via, err := netip.ParseAddr(route.Via)
		if err != nil || via.BitLen() != to.Addr().BitLen() {
			return made, fmt.Errorf("route to %s via %q: no address of that family", to, route.Via)
		}
		near := func(prefix netip.Prefix) bool { return prefix.Contains(via) }
		if !via.IsLinkLocalUnicast() && !slices.ContainsFunc(prefixes, near) {
			return made, fmt.Errorf("route to %s via %s: nexthop has invalid gateway: no address here is in its network", to, via)
		}
		if to.Bits() == 0 {
			if seen["default "+to.String()] {
				return made, fmt.Errorf("a second default route, via %s", via)
			}
			seen["default "+to.String()] = true
		}
	}
	return made, nil
}
