// Command lab-deploy is what the tests of deploy/ need of Helm and Prometheus: Helm's own rendering of
// a chart, and Prometheus' own reading of expressions.
//
//	lab-deploy render CHART RELEASE NAMESPACE   values (YAML) on stdin; {file: text} (JSON) on stdout
//	lab-deploy promql                           [expression] (JSON) on stdin; what each reads on stdout
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
)

func main() {
	answer, err := run(os.Args[1:])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(answer)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) (any, error) {
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		return nil, err
	}
	switch {
	case len(arguments) == 4 && arguments[0] == "render":
		return render(arguments[1], arguments[2], arguments[3], input)
	case len(arguments) == 1 && arguments[0] == "promql":
		var expressions []string
		if err := json.Unmarshal(input, &expressions); err != nil {
			return nil, err
		}
		return readAll(expressions)
	}
	return nil, fmt.Errorf("usage: lab-deploy render CHART RELEASE NAMESPACE | promql")
}

// render does what `helm template` does: values checked against the chart's schema, then its templates.
func render(folder, release, namespace string, given []byte) (map[string]string, error) {
	chart, err := loader.Load(folder)
	if err != nil {
		return nil, err
	}
	if err := chart.Validate(); err != nil {
		return nil, err
	}
	values, err := chartutil.ReadValues(given)
	if err != nil {
		return nil, err
	}
	options := chartutil.ReleaseOptions{Name: release, Namespace: namespace, Revision: 1, IsInstall: true}
	ready, err := chartutil.ToRenderValues(chart, values, options, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	return engine.Engine{Strict: true}.Render(chart, ready)
}

// reading is what an expression takes from Prometheus.
type reading struct {
	Selectors []selector `json:"selectors"`
	Grouping  []string   `json:"grouping"`
}

type selector struct {
	Name   string   `json:"name"`
	Labels []string `json:"labels"`
}

func readAll(expressions []string) ([]reading, error) {
	answers := make([]reading, 0, len(expressions))
	for _, expression := range expressions {
		parsed, err := parser.ParseExpr(expression)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", expression, err)
		}
		answers = append(answers, read(parsed))
	}
	return answers, nil
}

func read(expression parser.Expr) reading {
	found := reading{Selectors: []selector{}, Grouping: []string{}}
	parser.Inspect(expression, func(node parser.Node, _ []parser.Node) error {
		switch one := node.(type) {
		case *parser.VectorSelector:
			picked := selector{Name: one.Name, Labels: []string{}}
			for _, matcher := range one.LabelMatchers {
				if matcher.Name != labels.MetricName {
					picked.Labels = append(picked.Labels, matcher.Name)
				}
			}
			found.Selectors = append(found.Selectors, picked)
		case *parser.AggregateExpr:
			found.Grouping = append(found.Grouping, one.Grouping...)
		case *parser.BinaryExpr:
			if one.VectorMatching != nil {
				found.Grouping = append(found.Grouping, one.VectorMatching.MatchingLabels...)
			}
		}
		return nil
	})
	slices.Sort(found.Grouping)
	return found
}
