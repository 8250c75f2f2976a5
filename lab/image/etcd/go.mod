// Pins etcd and etcdctl; a module of our own, because `go install pkg@version` refuses their replaces.
module moorage.lab/image/etcd

go 1.24.0

require (
	go.etcd.io/etcd/etcdctl/v3 v3.6.5
	go.etcd.io/etcd/server/v3 v3.6.5
)
