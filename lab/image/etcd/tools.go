//go:build tools

// Package tools names the commands that the node image is made of, so that go.sum covers them.
package tools

import (
	_ "go.etcd.io/etcd/etcdctl/v3"
	_ "go.etcd.io/etcd/server/v3"
)
