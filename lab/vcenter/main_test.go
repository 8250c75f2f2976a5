package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/soap"
)

func TestReadyLineSaysWhereItIsServed(t *testing.T) {
	dir := t.TempDir()
	ctx, stop := context.WithCancel(context.Background())
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, arguments{
			listen: "127.0.0.1:0", control: filepath.Join(dir, "control.sock"), stateDir: dir,
			inventory: "../inventories/default.yaml", names: "vcenter.lab",
		}, writer)
	}()
	line, err := bufio.NewReader(reader).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var ready struct{ URL, Control, CA string }
	if err := json.Unmarshal(line, &ready); err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(ready.URL)
	if err != nil {
		t.Fatal(err)
	}
	wire := soap.NewClient(address, false)
	if err := wire.SetRootCAs(ready.CA); err != nil {
		t.Fatal(err)
	}
	client, err := vim25.NewClient(ctx, wire) // the address listened on is in the certificate
	if err != nil {
		t.Fatal(err)
	}
	if got := client.ServiceContent.About; got.ApiVersion != "8.0.3.0" || !strings.Contains(got.FullName, "8.0.3") {
		t.Errorf("%+v", got)
	}
	if info, err := os.Stat(ready.Control); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("control socket: %v %v", info, err)
	}
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it does not end")
	}
	if _, err := os.Stat(filepath.Join(dir, "datastores")); !os.IsNotExist(err) {
		t.Error("the datastores' files are left")
	}
	if _, err := os.Stat(ready.CA); err != nil {
		t.Error("the authority is not kept")
	}
}

func TestMissingFlagsAreNamed(t *testing.T) {
	err := run(context.Background(), arguments{}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "is needed") {
		t.Error(err)
	}
}
