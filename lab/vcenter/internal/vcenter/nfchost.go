package vcenter

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // what a vCenter's thumbprints are
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// nfcHost stands for the ESXi hosts that take disks in: a port of its own, with a certificate that no authority of
// the vCenter's has signed, so that nobody gets there who does not compare the thumbprint.
type nfcHost struct {
	mu         sync.Mutex
	server     *http.Server
	address    string
	thumbprint string
}

// endpoint is where a lease's files go to, by scheme and host, and the thumbprint that the lease names.
func (h *nfcHost) endpoint(s *Server) (string, string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.server == nil {
		if err := h.start(s); err != nil {
			return "", "", err
		}
	}
	said, limits := h.thumbprint, s.limits.get()
	address := h.address
	if limits.LeaseHost == "*" { // the vCenter itself, by the name that the client knows
		at, err := url.Parse(s.URL())
		if err != nil {
			return "", "", err
		}
		address, said = "*:"+at.Port(), ""
	}
	switch limits.LeaseThumbprint {
	case "":
	case "none":
		said = ""
	default:
		said = limits.LeaseThumbprint
	}
	return "https://" + address, said, nil
}

func (h *nfcHost) start(s *Server) error {
	on, _, err := net.SplitHostPort(s.options.Listen)
	if err != nil {
		return err
	}
	certificate, err := selfSigned()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(on, "0"))
	if err != nil {
		return fmt.Errorf("listen as a host: %w", err)
	}
	sum := sha1.Sum(certificate.Certificate[0]) //nolint:gosec // see above
	h.thumbprint = strings.ToUpper(strings.ReplaceAll(fmt.Sprintf("% x", sum), " ", ":"))
	h.address = listener.Addr().String()
	h.server = &http.Server{
		Handler:           s.leases,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){},
		ReadHeaderTimeout: 30 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	go func() { _ = h.server.ServeTLS(listener, "", "") }()
	return nil
}

func (h *nfcHost) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.server != nil {
		_ = h.server.Close()
	}
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: "localhost.localdomain"},
		NotBefore:    time.Now().Add(-7 * 24 * time.Hour),
		NotAfter:     time.Now().AddDate(10, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
