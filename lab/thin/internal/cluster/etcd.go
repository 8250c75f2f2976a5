package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"
)

// member of etcd. It stays in the list when its machine is gone, until somebody removes it.
type member struct {
	id   uint64
	node *Node
}

func (m *member) client() string { return fmt.Sprintf("https://%s:2379", m.node.Address) }

// addMember puts a control plane into etcd. Besides Found, the caller holds c.mu.
func (c *Cluster) addMember(n *Node) {
	sum := fnv.New64a()
	fmt.Fprint(sum, n.UUID, n.Address, len(c.members))
	c.members = append(c.members, &member{id: sum.Sum64(), node: n})
}

func (c *Cluster) hasQuorum() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.quorum()
}

func (c *Cluster) quorum() bool {
	alive := 0
	for _, m := range c.members {
		if m.node.alive {
			alive++
		}
	}
	return alive > len(c.members)/2
}

// leads answers the member that leads: the one that it was handed to, else the first that lives. The caller holds
// c.mu.
func (c *Cluster) leads() *member {
	for _, m := range c.members {
		if m.id == c.leader && m.node.alive {
			return m
		}
	}
	for _, m := range c.members {
		if m.node.alive {
			return m
		}
	}
	return nil
}

// ill answers a member that does not answer: etcd lets nobody join as long as there is one.
func (c *Cluster) ill() *member {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.members {
		if !m.node.alive {
			return m
		}
	}
	return nil
}

func (c *Cluster) lives(n *Node) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return n.alive
}

const expelSoon = 200 * time.Millisecond

// expel is the end of a control plane whose member was removed, or that the others cannot reach any more: its
// etcd ends, and its API server with it.
func (c *Cluster) expel(n *Node) {
	c.mu.Lock()
	n.expelled = true
	c.mu.Unlock()
	c.Down(n)
}

var errNoRoute = errors.New("error dialing backend: dial tcp: connect: no route to host")

// exec is the kubelet's part of `kubectl exec`: etcd's pods have etcdctl, other pods have nothing.
func (c *Cluster) exec(pod, container string, command []string) (int, string, string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var at *member
	for _, m := range c.members {
		if "etcd-"+m.node.Name == pod {
			at = m
		}
	}
	if at == nil {
		return 126, "", fmt.Sprintf("exec: %q: no such file in this thin pod", command[0]), nil
	}
	if !at.node.alive {
		return 0, "", "", errNoRoute
	}
	if container != "" && container != "etcd" || command[0] != "etcdctl" {
		return 126, "", fmt.Sprintf("exec: %q: executable file not found in $PATH", command[0]), nil
	}
	var words []string
	endpoints := []string{at.client()}
	for _, word := range command[1:] {
		if list, ok := strings.CutPrefix(word, "--endpoints="); ok {
			endpoints = strings.Split(list, ",")
		} else if !strings.HasPrefix(word, "-") {
			words = append(words, word)
		}
	}
	return c.etcdctl(at, endpoints, words)
}

func (c *Cluster) etcdctl(at *member, endpoints, words []string) (int, string, string, error) {
	if len(words) == 2 && words[0] == "move-leader" {
		return c.moveLeader(endpoints, words[1])
	}
	switch strings.Join(words[:min(2, len(words))], " ") {
	case "member list":
		if !c.quorum() {
			return 1, "", "Error: context deadline exceeded", nil
		}
		return printed(map[string]any{"header": map[string]any{"member_id": at.id}, "members": c.memberList()})
	case "endpoint health":
		return c.health(at, endpoints)
	case "endpoint status":
		return c.status(endpoints)
	case "member remove":
		if !c.quorum() {
			return 1, "", "Error: context deadline exceeded", nil
		}
		if len(words) != 3 {
			return 1, "", "Error: member ID is not provided", nil
		}
		for i, m := range c.members {
			if fmt.Sprintf("%x", m.id) == strings.ToLower(words[2]) {
				c.members = slices.Delete(c.members, i, i+1)
				time.AfterFunc(expelSoon, func() { c.expel(m.node) }) // the answer may go through its API server
				return printed(map[string]any{"members": c.memberList()})
			}
		}
		return 1, "", "Error: etcdserver: member not found", nil
	}
	return 1, "", "Error: a thin etcd knows member list, member remove, move-leader, endpoint health and endpoint status", nil
}

func (c *Cluster) memberList() []any {
	var all []any
	for _, m := range c.members {
		all = append(all, map[string]any{
			"ID": m.id, "name": m.node.Name,
			"peerURLs": []string{fmt.Sprintf("https://%s:2380", m.node.Address)}, "clientURLs": []string{m.client()},
		})
	}
	return all
}

func (c *Cluster) health(at *member, endpoints []string) (int, string, string, error) {
	var all []any
	code := 0
	for _, endpoint := range endpoints {
		healthy := false
		for _, m := range c.members {
			local := m == at && strings.HasPrefix(endpoint, "https://127.0.0.1:")
			if (m.client() == endpoint || local) && m.node.alive {
				healthy = c.quorum()
			}
		}
		entry := map[string]any{"endpoint": endpoint, "health": healthy, "took": "1ms"}
		if !healthy {
			code, entry["error"] = 1, "context deadline exceeded"
		}
		all = append(all, entry)
	}
	_, stdout, _, err := printed(all)
	if code != 0 {
		return code, stdout, "Error: unhealthy cluster", err
	}
	return 0, stdout, "", err
}

func (c *Cluster) status(endpoints []string) (int, string, string, error) {
	all, leader := []any{}, c.leads()
	for _, m := range c.members {
		if slices.Contains(endpoints, m.client()) && m.node.alive && leader != nil {
			status := map[string]any{"header": map[string]any{"member_id": m.id}, "leader": leader.id}
			all = append(all, map[string]any{"Endpoint": m.client(), "Status": status})
		}
	}
	return printed(all)
}

// moveLeader is asked of the leader, by its own endpoint.
func (c *Cluster) moveLeader(endpoints []string, to string) (int, string, string, error) {
	leader := c.leads()
	if leader == nil || !slices.Contains(endpoints, leader.client()) {
		return 1, "", "Error: no leader endpoint found at " + strings.Join(endpoints, ","), nil
	}
	for _, m := range c.members {
		if fmt.Sprintf("%x", m.id) == to && m.node.alive {
			c.leader = m.id
			return 0, fmt.Sprintf("Leadership transferred from %x to %s\n", leader.id, to), "", nil
		}
	}
	return 1, "", "Error: etcdserver: bad leader transferee", nil
}

func printed(value any) (int, string, string, error) {
	text, err := json.Marshal(value)
	return 0, string(text) + "\n", "", err
}
