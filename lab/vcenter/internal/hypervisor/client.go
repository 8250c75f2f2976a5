// Package hypervisor is the vCenter's side of the protocol that turns powered-on machines into real nodes.
package hypervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Document describes a virtual machine to the hypervisor.
type Document struct {
	UUID         string            `json:"uuid"`
	InstanceUUID string            `json:"instanceUuid"`
	Moref        string            `json:"moref"`
	Name         string            `json:"name"`
	Image        string            `json:"image"`
	CPUs         int32             `json:"cpus"`
	MemoryMiB    int32             `json:"memoryMib"`
	DiskMiB      int64             `json:"diskMib"`
	NICs         []NIC             `json:"nics"`
	Guestinfo    map[string]string `json:"guestinfo"`
}

// NIC of a virtual machine.
type NIC struct {
	MAC       string `json:"mac"`
	Network   string `json:"network"`
	Connected bool   `json:"connected"`
}

// Client speaks to the hypervisor over its socket. A nil Client stands for "nobody behind the machines".
type Client struct {
	http *http.Client
}

// Dial makes a client for a socket; an empty path gives nil. Nothing is connected yet.
func Dial(socket string) *Client {
	if socket == "" {
		return nil
	}
	dialer := new(net.Dialer)
	return &Client{http: &http.Client{
		Timeout: 5 * time.Minute, // a first boot unpacks its store
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, "unix", socket)
			},
			MaxIdleConns:    8,
			IdleConnTimeout: 30 * time.Second,
		},
	}}
}

// Put makes the machine known, or tells its new size, NICs and guestinfo.
func (c *Client) Put(ctx context.Context, vm *Document) error {
	return c.call(ctx, http.MethodPut, vm.UUID, "", vm)
}

// Power asks for power-on, power-off, shutdown, reboot or reset.
func (c *Client) Power(ctx context.Context, uuid, verb string) error {
	return c.call(ctx, http.MethodPost, uuid, "/"+verb, nil)
}

// Delete ends the machine and its disk.
func (c *Client) Delete(ctx context.Context, uuid string) error {
	return c.call(ctx, http.MethodDelete, uuid, "", nil)
}

// Guestinfo passes changed keys on; a nil value removes the key.
func (c *Client) Guestinfo(ctx context.Context, uuid string, changed map[string]*string) error {
	return c.call(ctx, http.MethodPut, uuid, "/guestinfo", changed)
}

func (c *Client) call(ctx context.Context, method, uuid, verb string, body any) error {
	if c == nil {
		return nil
	}
	payload := []byte(nil)
	if body != nil {
		var err error
		if payload, err = json.Marshal(body); err != nil {
			return err
		}
	}
	path := "/vms/" + strings.ToLower(uuid) + verb
	req, err := http.NewRequestWithContext(ctx, method, "http://hypervisor"+path, bytes.NewReader(payload))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("hypervisor: %w", err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<16))
	if err != nil {
		return fmt.Errorf("hypervisor: %s %s: %w", method, path, err)
	}
	if res.StatusCode/100 == 2 {
		return nil
	}
	var answer struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(text, &answer) != nil || answer.Error == "" {
		answer.Error = strings.TrimSpace(string(text))
	}
	return fmt.Errorf("hypervisor: %s %s: %s: %s", method, path, res.Status, answer.Error)
}
