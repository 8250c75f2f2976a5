//go:build tools

// Package tools names the commands that the node image is made of, so that go.sum covers them.
package tools

import _ "github.com/containernetworking/plugins/plugins/meta/flannel"
