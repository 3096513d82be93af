package provision

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"slices"
	"time"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/state"
)

// What the certificate that we make ourselves, and its key, are called in the state directory.
const (
	CertificateName = "admin-cert.pem"
	certificateKey  = "admin-key.pem"
)

// How long a certificate of ours is good, and how long it must still be good to be used
// again.
const (
	certificateLife = 10 * 365 * 24 * time.Hour
	certificateLeft = 30 * 24 * time.Hour
)

// certificate reads the one that a configuration names; nil: it names none.
func (s *secrets) certificate() *tls.Certificate {
	a := s.config.Admin
	if a.TLSCert == "" || a.TLSKey == "" {
		return nil
	}
	key, info, err := readPEM(a.TLSKey)
	if err != nil {
		s.complain("admin.tls-key", fmt.Errorf("cannot read the key: %w", err))
		return nil
	} else if info.Mode().Perm()&0o007 != 0 {
		s.complain("admin.tls-key", fmt.Errorf("everybody may read the key in %s (mode %04o); run: chmod 600 %s", a.TLSKey, info.Mode().Perm(), a.TLSKey))
		return nil
	}
	cert, _, err := readPEM(a.TLSCert)
	var c tls.Certificate
	if err == nil {
		c, err = tls.X509KeyPair(cert, key)
	}
	if err != nil {
		s.complain("admin.tls-cert", fmt.Errorf("this certificate and its key cannot be used: %w", err))
		return nil
	}
	return &c
}

// maxPEM is what is read of a file with certificates, or a key.
const maxPEM = 1 << 20

// readPEM reads a file with certificates, or a key.
func readPEM(file string) ([]byte, os.FileInfo, error) {
	f, info, err := openFile(file)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPEM))
	return text, info, err
}

// ownCertificate is the one that the state directory keeps. It is made at first, and anew
// where it is about to end or not for an address.
func ownCertificate(d *state.Directory, address configs.Address) (*tls.Certificate, error) {
	cert, err := d.Kept(CertificateName)
	if err != nil {
		return nil, err
	}
	key, err := d.Kept(certificateKey)
	if err != nil {
		return nil, err
	}
	if c, err := tls.X509KeyPair(cert, key); err == nil && fits(c.Leaf, address) {
		return &c, nil
	}
	if cert, key, err = makeCertificate(address); err != nil {
		return nil, err
	}
	if err := d.Keep(certificateKey, key); err != nil {
		return nil, err
	}
	if err := d.Keep(CertificateName, cert); err != nil {
		return nil, err
	}
	c, err := tls.X509KeyPair(cert, key)
	return &c, err
}

// fits tells whether c is good for a while, for who asks by address.
func fits(c *x509.Certificate, address configs.Address) bool {
	if time.Until(c.NotAfter) < certificateLeft {
		return false
	}
	host, _, _ := net.SplitHostPort(string(address))
	ip := net.ParseIP(host)
	return ip == nil || ip.IsUnspecified() || c.VerifyHostname(host) == nil
}

// makeCertificate makes a certificate for this host, and its key, in PEM.
func makeCertificate(address configs.Address) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	names, addresses := namesOfHost(address)
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "isantarget " + names[0]}, DNSNames: names, IPAddresses: addresses,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certificateLife), // clocks differ
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), nil
}

// namesOfHost are the names and addresses by which this host is asked at an address.
func namesOfHost(address configs.Address) (names []string, addresses []net.IP) {
	names, addresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	if name, err := os.Hostname(); err == nil && name != "" {
		names = []string{name, "localhost"}
	}
	add := func(ip net.IP) {
		if !slices.ContainsFunc(addresses, func(known net.IP) bool { return known.Equal(ip) }) {
			addresses = append(addresses, ip)
		}
	}
	host, _, _ := net.SplitHostPort(string(address))
	if ip := net.ParseIP(host); ip != nil && !ip.IsUnspecified() {
		add(ip)
		return names, addresses
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return names, addresses
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLinkLocalUnicast() {
			add(n.IP)
		}
	}
	return names, addresses
}
