package cluster

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// Authority is a certificate authority with its key.
type Authority struct {
	Certificate *x509.Certificate
	key         crypto.Signer
}

// ReadAuthority reads a certificate and its private key and checks that they belong together.
func ReadAuthority(name, certificate, key string) (*Authority, error) {
	read, err := ReadCertificate(certificate)
	if err != nil {
		return nil, fmt.Errorf("%s.crt: %w", name, err)
	}
	if !read.IsCA {
		return nil, fmt.Errorf("%s.crt is not a certificate authority", name)
	}
	signer, err := readKey(key)
	if err != nil {
		return nil, fmt.Errorf("%s.key: %w", name, err)
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(read.PublicKey) {
		return nil, fmt.Errorf("%s.key does not belong to %s.crt", name, name)
	}
	return &Authority{read, signer}, nil
}

// ReadCertificate reads one PEM certificate.
func ReadCertificate(text string) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("there is no PEM certificate in it")
	}
	return x509.ParseCertificate(block.Bytes)
}

// CheckKeyPair says whether a public key in PEM belongs to a private one.
func CheckKeyPair(name, public, private string) error {
	signer, err := readKey(private)
	if err != nil {
		return fmt.Errorf("%s.key: %w", name, err)
	}
	der, err := x509.MarshalPKIXPublicKey(signer.Public())
	if err != nil {
		return err
	}
	block, _ := pem.Decode([]byte(public))
	if block == nil || !bytes.Equal(block.Bytes, der) {
		return fmt.Errorf("%s.key does not belong to %s.pub", name, name)
	}
	return nil
}

func readKey(text string) (crypto.Signer, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("there is no PEM key in it")
	}
	var key any
	var err error
	switch block.Type {
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a key of type %s cannot sign", block.Type)
	}
	return signer, nil
}

// serve signs an API server's own certificate.
func (a *Authority) serve(names []string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "kube-apiserver"},
		NotBefore:    a.Certificate.NotBefore,
		NotAfter:     time.Now().AddDate(1, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.Certificate, key.Public(), a.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
