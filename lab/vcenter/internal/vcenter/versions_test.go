package vcenter_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"lab-vcenter/internal/labtest"
	"lab-vcenter/internal/vcenter"
)

func release(t *testing.T, version string) func(*vcenter.Options) {
	return func(options *vcenter.Options) {
		if err := options.Inventory.SetAPIVersion(version); err != nil {
			t.Fatal(err)
		}
	}
}

// ask sends a bare request and answers status and text.
func ask(t *testing.T, l *labtest.Lab, method, path, action, body string) (int, string) {
	t.Helper()
	client := l.Dial()
	req, err := http.NewRequestWithContext(l.Context(), method, strings.TrimSuffix(l.Server.URL(), "/sdk")+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(labtest.User, labtest.Password)
	if action != "" {
		req.Header.Set("SOAPAction", action)
	}
	status, text := 0, ""
	_ = client.Client.Do(l.Context(), req, func(res *http.Response) error {
		all, err := io.ReadAll(res.Body)
		status, text = res.StatusCode, string(all)
		return err
	})
	return status, text
}

func TestEachReleaseSaysWhatItIs(t *testing.T) {
	for version, want := range map[string]struct {
		api, product string
		session      int
	}{
		"6.7.3": {"6.7.3", "6.7.0", http.StatusNotFound},
		"7.0.3": {"7.0.3.0", "7.0.3", http.StatusCreated},
		"8.0.3": {"8.0.3.0", "8.0.3", http.StatusCreated},
	} {
		t.Run(version, func(t *testing.T) {
			l := labtest.Start(t, release(t, version))
			about := l.Login().ServiceContent.About
			if about.ApiVersion != want.api || about.Version != want.product || !strings.Contains(about.FullName, want.product) {
				t.Errorf("%+v", about)
			}
			if status, _ := ask(t, l, http.MethodPost, "/api/session", "", ""); status != want.session {
				t.Errorf("POST /api/session answers %d", status)
			}
			_, text := ask(t, l, http.MethodGet, "/sdk/vimServiceVersions.xml", "", "")
			if !strings.Contains(text, "<version>"+want.api+"</version>") {
				t.Error(text)
			}
			if strings.Contains(text, "8.0") != (version == "8.0.3") {
				t.Errorf("a %s names newer versions: %s", version, text)
			}
		})
	}
}

func TestAClientOfANewerAPIIsRefused(t *testing.T) {
	const call = `<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"><Body><RetrieveServiceContent xmlns="urn:vim25">` +
		`<_this type="ServiceInstance">ServiceInstance</_this></RetrieveServiceContent></Body></Envelope>`
	l := labtest.Start(t, release(t, "6.7.3"))
	if _, text := ask(t, l, http.MethodPost, "/sdk", `"urn:vim25/8.0.3.0"`, call); !strings.Contains(text, "Unsupported version URI") {
		t.Error(text)
	}
	if status, text := ask(t, l, http.MethodPost, "/sdk", `"urn:vim25/6.7.3"`, call); status != http.StatusOK {
		t.Error(text)
	}
}

func TestAnUnknownReleaseIsRefused(t *testing.T) {
	spec := labtest.Inventory(t, "default.yaml")
	if err := spec.SetAPIVersion("5.5"); err == nil || !strings.Contains(err.Error(), "6.7.3, 7.0.3, 8.0.3") {
		t.Error(err)
	}
}
