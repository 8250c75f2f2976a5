package pki

import (
	"crypto/x509"
	"os"
	"testing"
)

func TestAuthorityIsKeptAndItsCertificatesVerify(t *testing.T) {
	dir := t.TempDir()
	first, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !first.cert.Equal(second.cert) {
		t.Error("a new authority was made")
	}
	issued, err := second.Issue([]string{"vcenter.lab", "10.77.0.2"})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(first.File)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		t.Fatal("no certificate in ca.crt")
	}
	leaf, err := x509.ParseCertificate(issued.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, valid := range map[string]bool{"vcenter.lab": true, "10.77.0.2": true, "other.lab": false} {
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); (err == nil) != valid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if info, err := os.Stat(dir + "/ca.key"); err != nil || info.Mode().Perm() != 0o600 {
		t.Error("the key can be read by others")
	}
}

func TestBrokenAuthorityIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"ca.crt", "ca.key"} {
		if err := os.WriteFile(dir+"/"+name, []byte("nonsense"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(dir); err == nil {
		t.Error("it was written over")
	}
}
