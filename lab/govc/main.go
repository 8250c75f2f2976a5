// Command govc is the part of govmomi's govc that the scripts of `moorage accounts roles` use: tests run it.
package main

import (
	"os"

	"github.com/vmware/govmomi/cli"
	_ "github.com/vmware/govmomi/cli/about"
	_ "github.com/vmware/govmomi/cli/permissions"
	_ "github.com/vmware/govmomi/cli/role"
)

func main() { os.Exit(cli.Run(os.Args[1:])) }
