package vcenter

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// priorVersions are those that an 8.0 vCenter still speaks, newest first.
var priorVersions = []string{
	"8.0.3.0", "8.0.2.0", "8.0.1.0", "8.0.0.2", "8.0.0.1", "8.0.0.0",
	"7.0.3.2", "7.0.3.1", "7.0.3.0", "7.0.2.1", "7.0.2.0", "7.0.1.1", "7.0.1.0", "7.0.0.2", "7.0.0.0",
	"6.9.1", "6.8.7", "6.7.3", "6.7.2", "6.7.1", "6.7", "6.5", "6.0", "5.5", "5.1", "5.0", "4.1", "4.0", "2.5u2", "2.5", "2.0",
}

// speaks is true when this vCenter's API is of a version or newer.
func (s *Server) speaks(version string) bool {
	at := func(wanted string) int { return slices.Index(priorVersions, wanted) }
	return at(version) >= at(s.content.About.ApiVersion)
}

// clientVersion is what a request says that its client speaks: "urn:vim25/7.0.3.0".
func clientVersion(r *http.Request) string {
	_, version, _ := strings.Cut(strings.Trim(r.Header.Get("SOAPAction"), `"`), "/")
	return version
}

// canRead is true when a client knows what came with a version of the API.
func (c *call) canRead(version string) bool {
	at := slices.Index(priorVersions, c.version)
	return at < 0 || at <= slices.Index(priorVersions, version)
}

// serviceVersions lists the versions of the API; the simulator's own list knows three.
func (s *Server) serviceVersions(w http.ResponseWriter, _ *http.Request) {
	newest := s.content.About.ApiVersion
	out := new(strings.Builder)
	fmt.Fprintf(out, `<?xml version="1.0" encoding="UTF-8" ?>
<namespaces version="1.0">
 <namespace>
  <name>urn:vim25</name>
  <version>%s</version>
  <priorVersions>
`, newest)
	older := false
	for _, version := range priorVersions {
		if older {
			fmt.Fprintf(out, "   <version>%s</version>\n", version)
		}
		older = older || version == newest
	}
	if !older {
		fmt.Fprintf(out, "   <version>6.0</version>\n")
	}
	out.WriteString("  </priorVersions>\n </namespace>\n</namespaces>\n")
	w.Header().Set("Content-Type", "text/xml")
	_, _ = w.Write([]byte(out.String()))
}
