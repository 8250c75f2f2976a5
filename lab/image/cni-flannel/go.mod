// v0.9.1 is the last release of the CNI project's plugins that holds the flannel plugin.
module moorage.lab/image/cni-flannel

go 1.24.0

require github.com/containernetworking/plugins v0.9.1
