package guest

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"lab-thin/internal/cluster"
)

const (
	directory = "/etc/moorage"
	pkiRoot   = "/etc/kubernetes/pki"
)

// bootData is what the boot script and kubeadm read from the node's files.
type bootData struct {
	env       map[string]string
	kubeadm   map[string]map[string]any // documents by kind
	texts     map[string]string         // the same as YAML
	files     map[string]string
	bootUnit  bool
	helper    map[string]string // machine and key
	discovery discovery
	vip       string
}

type discovery struct {
	server, authority, token string
}

// readBootData finds the boot script's and the helper's files. Without them nothing runs on the node.
func readBootData(i *instance) (*bootData, error) {
	d := &bootData{files: i.Files, env: map[string]string{}}
	for _, run := range i.Runs {
		d.bootUnit = d.bootUnit || strings.Contains(run, "systemctl") && strings.Contains(run, "moorage-boot")
	}
	if text, ok := i.Files[directory+"/helper.json"]; ok {
		if err := yaml.Unmarshal([]byte(text), &d.helper); err != nil {
			return d, fmt.Errorf("%s/helper.json: %w", directory, err)
		}
	}
	for _, path := range []string{"/usr/local/lib/moorage/boot", "/etc/systemd/system/moorage-boot.service", directory + "/boot.env"} {
		if i.Files[path] == "" {
			return d, errors.New("no file " + path)
		}
	}
	if !d.bootUnit {
		return d, errors.New("no command starts moorage-boot")
	}
	for line := range strings.Lines(i.Files[directory+"/boot.env"]) {
		if name, quoted, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			d.env[name] = strings.ReplaceAll(strings.Trim(quoted, "'"), `'"'"'`, "'")
		}
	}
	return d, nil
}

// render does what the script does before it runs kubeadm: it fills in address and UUID.
func (d *bootData) render(addresses []string, uuid string) error {
	text := d.files[directory+"/kubeadm.yaml.in"]
	if text == "" {
		return errors.New("unable to read config from \"/run/moorage/kubeadm.yaml\"")
	}
	if mark := d.env["NODE_IP_MARK"]; mark != "" {
		text = strings.ReplaceAll(text, mark, addresses[0])
	}
	if mark := d.env["NODE_IPS_MARK"]; mark != "" {
		text = strings.ReplaceAll(text, mark, strings.Join(addresses, ","))
	}
	if mark := d.env["PROVIDER_ID_MARK"]; mark != "" {
		text = strings.ReplaceAll(text, mark, "vsphere://"+uuid)
	}
	d.kubeadm, d.texts = map[string]map[string]any{}, map[string]string{}
	for _, part := range strings.Split("\n"+text, "\n---") {
		var document map[string]any
		if err := yaml.Unmarshal([]byte(part), &document); err != nil {
			return fmt.Errorf("kubeadm.yaml: %w", err)
		}
		if kind, _ := document["kind"].(string); kind != "" {
			if version := fmt.Sprint(document["apiVersion"]); strings.HasPrefix(version, "kubeadm.") && version != "kubeadm.k8s.io/v1beta4" {
				return fmt.Errorf("your configuration file uses an API spec: %q", version)
			}
			d.kubeadm[kind], d.texts[kind] = document, strings.TrimSpace(part)+"\n"
		}
	}
	d.vip = vipOf(d.files["/etc/kubernetes/manifests/kube-vip.yaml"])
	return nil
}

// vipOf reads what kube-vip's manifest tells it to carry.
func vipOf(manifest string) string {
	var pod map[string]any
	if yaml.Unmarshal([]byte(manifest), &pod) != nil {
		return ""
	}
	values := map[string]string{}
	for _, container := range list(pod, "spec", "containers") {
		for _, item := range list(asMap(container), "env") {
			values[text(asMap(item), "name")] = text(asMap(item), "value")
		}
	}
	if values["address"] == "" || values["cp_enable"] != "true" {
		return ""
	}
	return net.JoinHostPort(values["address"], values["port"])
}

// machine is what kubelet and kubeadm make of the configuration.
func (d *bootData) machine(doc *Document, addresses []string, version string) (cluster.Machine, error) {
	kind := "JoinConfiguration"
	if d.env["MODE"] == "init" {
		kind = "InitConfiguration"
	}
	configuration := d.kubeadm[kind]
	if configuration == nil {
		return cluster.Machine{}, fmt.Errorf("no %s found in the supplied config", kind)
	}
	m := cluster.Machine{
		UUID: doc.UUID, Name: text(configuration, "nodeRegistration", "name"), Address: addresses[0], Version: version,
		ControlPlane: d.env["ROLE"] == "control-plane", Port: 6443, VIP: d.vip, Labels: map[string]string{},
		Taints: list(configuration, "nodeRegistration", "taints"),
		CPUs:   int(doc.CPUs), MemoryMiB: int(doc.MemoryMiB), DiskMiB: doc.DiskMiB,
	}
	for _, item := range list(configuration, "nodeRegistration", "kubeletExtraArgs") {
		value := text(asMap(item), "value")
		switch text(asMap(item), "name") {
		case "provider-id":
			m.ProviderID = value
		case "cloud-provider":
			m.External = value == "external"
		case "node-ip":
			m.Addresses = strings.Split(value, ",")
			for _, one := range m.Addresses {
				if !slices.Contains(addresses, one) {
					return m, fmt.Errorf("kubelet: node IP: %q not found in the host's network interfaces", one)
				}
			}
		case "node-labels":
			for pair := range strings.SplitSeq(value, ",") {
				name, label, _ := strings.Cut(pair, "=")
				if strings.HasPrefix(name, "node-role.kubernetes.io/") {
					return m, fmt.Errorf("kubelet: unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-labels: [%s]", name)
				}
				m.Labels[name] = label
			}
		}
	}
	if len(m.Addresses) == 0 {
		m.Addresses = addresses[:1] // kubelet takes that of the default route
	}
	local := []string{"localAPIEndpoint"}
	if kind == "JoinConfiguration" {
		local = []string{"controlPlane", "localAPIEndpoint"}
	}
	if at := text(configuration, append(local, "advertiseAddress")...); m.ControlPlane && !slices.Contains(addresses, at) {
		return m, fmt.Errorf("localAPIEndpoint: advertiseAddress: %q is no address of this node", at)
	}
	if port, ok := dig(configuration, append(local, "bindPort")...).(float64); ok {
		m.Port = int(port)
	}
	if m.ControlPlane != (dig(configuration, local...) != nil) {
		return m, fmt.Errorf("the configuration's control plane does not fit role %s", d.env["ROLE"])
	}
	return m, nil
}

// founding is what `kubeadm init` reads.
func (d *bootData) founding() (cluster.Founding, error) {
	c := d.kubeadm["ClusterConfiguration"]
	if c == nil {
		return cluster.Founding{}, errors.New("no ClusterConfiguration found in the supplied config")
	}
	f := cluster.Founding{
		Name: text(c, "clusterName"), Version: text(c, "kubernetesVersion"), Endpoint: text(c, "controlPlaneEndpoint"),
		PodSubnet: text(c, "networking", "podSubnet"), ServiceSubnet: text(c, "networking", "serviceSubnet"),
		DNSDomain: text(c, "networking", "dnsDomain"),
		Configuration: map[string]string{
			"kubeadm": d.texts["ClusterConfiguration"], "kubelet": d.texts["KubeletConfiguration"], "kubeProxy": d.texts["KubeProxyConfiguration"],
		},
		External: strings.Contains(d.texts["ClusterConfiguration"], "cloud-provider"),
	}
	pods, err := families(f.PodSubnet)
	if err != nil {
		return f, fmt.Errorf("networking.podSubnet: %w", err)
	}
	services, err := families(f.ServiceSubnet)
	if err != nil {
		return f, fmt.Errorf("networking.serviceSubnet: %w", err)
	}
	if !slices.Equal(pods, services) {
		return f, fmt.Errorf("expected podSubnet %q and serviceSubnet %q to be of the same families", f.PodSubnet, f.ServiceSubnet)
	}
	for _, name := range list(c, "apiServer", "certSANs") {
		f.Names = append(f.Names, fmt.Sprint(name))
	}
	if _, _, err := net.SplitHostPort(f.Endpoint); err != nil {
		return f, fmt.Errorf("controlPlaneEndpoint: %w", err)
	}
	for _, item := range list(d.kubeadm["InitConfiguration"], "bootstrapTokens") {
		id, secret, _ := strings.Cut(text(asMap(item), "token"), ".")
		ttl, err := time.ParseDuration(text(asMap(item), "ttl"))
		if len(id) != 6 || len(secret) != 16 || err != nil {
			return f, fmt.Errorf("bootstrapTokens: the token or its ttl is not well-formed")
		}
		token := cluster.Token{ID: id, Secret: secret, TTL: ttl}
		for _, group := range list(asMap(item), "groups") {
			token.Groups = append(token.Groups, fmt.Sprint(group))
		}
		f.Tokens = append(f.Tokens, token)
	}
	authority, err := d.authorities(func(name string) string { return d.files[pkiRoot+"/"+name] })
	f.Authority = authority
	return f, err
}

// families reads subnets with a comma between them: one, or one of each family.
func families(subnets string) ([]bool, error) {
	var found []bool
	for text := range strings.SplitSeq(subnets, ",") {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, err
		}
		if slices.Contains(found, prefix.Addr().Is6()) {
			return nil, fmt.Errorf("%q: expected at most one of each family", subnets)
		}
		found = append(found, prefix.Addr().Is6())
	}
	return found, nil
}

// authorities checks all keys of a control plane, as kubeadm does with what it finds in its folder.
func (d *bootData) authorities(read func(name string) string) (*cluster.Authority, error) {
	authority, err := cluster.ReadAuthority("ca", read("ca.crt"), read("ca.key"))
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"etcd/ca", "front-proxy-ca"} {
		if _, err := cluster.ReadAuthority(name, read(name+".crt"), read(name+".key")); err != nil {
			return nil, err
		}
	}
	return authority, cluster.CheckKeyPair("sa", read("sa.pub"), read("sa.key"))
}

// readDiscovery reads the kubeconfig by which a joiner finds its cluster.
func (d *bootData) readDiscovery() error {
	path := text(d.kubeadm["JoinConfiguration"], "discovery", "file", "kubeConfigPath")
	var config map[string]any
	if err := yaml.Unmarshal([]byte(d.files[path]), &config); err != nil || len(config) == 0 {
		return fmt.Errorf("discovery.file: couldn't read %q", path)
	}
	clusters, users := list(config, "clusters"), list(config, "users")
	if len(clusters) == 0 || len(users) == 0 {
		return fmt.Errorf("discovery.file: %q has no cluster or no user", path)
	}
	at := asMap(asMap(clusters[0])["cluster"])
	authority, err := base64.StdEncoding.DecodeString(text(at, "certificate-authority-data"))
	if err != nil {
		return fmt.Errorf("discovery.file: certificate-authority-data: %w", err)
	}
	d.discovery = discovery{text(at, "server"), string(authority), text(asMap(asMap(users[0])["user"]), "token")}
	return nil
}

// openCertificates opens the Secret kubeadm-certs with the certificate key.
func (d *bootData) openCertificates(data map[string]any) error {
	key, err := hex.DecodeString(text(d.kubeadm["JoinConfiguration"], "controlPlane", "certificateKey"))
	if err != nil || len(key) != 32 {
		return errors.New("certificateKey is not well-formed")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	box, err := cipher.NewGCM(block)
	if err != nil {
		return err
	}
	var failed error
	_, err = d.authorities(func(name string) string {
		sealed, err := base64.StdEncoding.DecodeString(text(data, strings.ReplaceAll(name, "/", "-")))
		if err != nil || len(sealed) < box.NonceSize() {
			failed = fmt.Errorf("the Secret does not include the required certificate or key - name: %s", name)
			return ""
		}
		plain, err := box.Open(nil, sealed[:box.NonceSize()], sealed[box.NonceSize():], nil)
		if err != nil {
			failed = fmt.Errorf("failed to decrypt %s with the provided key: %w", name, err)
		}
		return string(plain)
	})
	if failed != nil {
		return failed
	}
	return err
}

func dig(document map[string]any, path ...string) any {
	var at any = document
	for _, name := range path {
		at = asMap(at)[name]
	}
	return at
}

func text(document map[string]any, path ...string) string {
	found, _ := dig(document, path...).(string)
	return found
}

func list(document map[string]any, path ...string) []any {
	found, _ := dig(document, path...).([]any)
	return found
}

func asMap(value any) map[string]any {
	found, _ := value.(map[string]any)
	return found
}
