package collector_test

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"lab-vcenter/internal/labtest"
)

type ref = types.ManagedObjectReference

// stream is a property collector with its version.
type stream struct {
	*property.Collector
	lab     *labtest.Lab
	client  *govmomi.Client
	version string
}

func open(lab *labtest.Lab, client *govmomi.Client) *stream {
	made, err := property.DefaultCollector(client.Client).Create(lab.Context())
	if err != nil {
		lab.T.Fatal(err)
	}
	return &stream{Collector: made, lab: lab, client: client}
}

func throughView(view ref, kind string, paths ...string) types.CreateFilter {
	return types.CreateFilter{Spec: types.PropertyFilterSpec{
		PropSet: []types.PropertySpec{{Type: kind, PathSet: paths}},
		ObjectSet: []types.ObjectSpec{{Obj: view, Skip: types.NewBool(true), SelectSet: []types.BaseSelectionSpec{
			&types.TraversalSpec{Type: view.Type, Path: "view"},
		}}},
	}}
}

func (s *stream) filter(spec types.CreateFilter) ref {
	s.lab.T.Helper()
	spec.This = s.Reference()
	res, err := methods.CreateFilter(s.lab.Context(), s.client, &spec)
	if err != nil {
		s.lab.T.Fatal(err)
	}
	return res.Returnval
}

func (s *stream) ask(version string, most, seconds int32) (*types.UpdateSet, error) {
	res, err := methods.WaitForUpdatesEx(s.lab.Context(), s.client, &types.WaitForUpdatesEx{
		This: s.Reference(), Version: version,
		Options: &types.WaitOptions{MaxWaitSeconds: &seconds, MaxObjectUpdates: most},
	})
	if err != nil {
		return nil, err
	}
	return res.Returnval, nil
}

// next gives the updates since the last time, one line for each value.
func (s *stream) next() []string {
	s.lab.T.Helper()
	set, err := s.ask(s.version, 0, 2)
	if err != nil {
		s.lab.T.Fatal(err)
	}
	if set == nil {
		return nil
	}
	s.version = set.Version
	return lines(set)
}

func lines(set *types.UpdateSet) []string {
	var out []string
	for _, filter := range set.FilterSet {
		for _, o := range filter.ObjectSet {
			if len(o.ChangeSet) == 0 {
				out = append(out, string(o.Kind))
			}
			for _, c := range o.ChangeSet {
				value := c.Val
				if option, ok := value.(types.OptionValue); ok {
					value = option.Value
				}
				out = append(out, fmt.Sprintf("%s %s %s %v", o.Kind, c.Name, c.Op, value))
			}
		}
	}
	sort.Strings(out)
	return out
}

func (s *stream) expect(what string, want ...string) {
	s.lab.T.Helper()
	if got := s.next(); !slices.Equal(got, want) {
		s.lab.T.Errorf("%s:\n%s", what, strings.Join(got, "\n"))
	}
}

func containerView(lab *labtest.Lab, client *govmomi.Client, path string, kinds ...string) ref {
	root := client.ServiceContent.RootFolder
	if path != "" {
		folder, err := find.NewFinder(client.Client, false).Folder(lab.Context(), path)
		if err != nil {
			lab.T.Fatal(err)
		}
		root = folder.Reference()
	}
	made, err := view.NewManager(client.Client).CreateContainerView(lab.Context(), root, kinds, true)
	if err != nil {
		lab.T.Fatal(err)
	}
	return made.Reference()
}
