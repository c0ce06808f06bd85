package kafkatest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// An authority signs certificates and writes them as PEM files.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// writeCertificates writes ca.pem, keystore.pem (the broker's key, then its
// certificate), client.pem with client.key, and stranger.pem with stranger.key,
// which nobody here signed.
func writeCertificates(dir string) error {
	a, err := newAuthority(dir, "ca.pem")
	if err != nil {
		return err
	}
	key, cert, err := a.issue("localhost", x509.ExtKeyUsageServerAuth)
	if err != nil {
		return err
	}
	if err := a.write("keystore.pem", append(key, cert...)); err != nil {
		return err
	}
	if err := a.issueFiles("client"); err != nil {
		return err
	}
	other, err := newAuthority(dir, "stranger-ca.pem")
	if err != nil {
		return err
	}
	return other.issueFiles("stranger")
}

func newAuthority(dir, file string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := certificate("penstock test authority " + file)
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	a := &authority{dir: dir, cert: cert, key: key}
	return a, a.write(file, encodePEM("CERTIFICATE", der))
}

func (a *authority) issueFiles(name string) error {
	key, cert, err := a.issue(name, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return err
	}
	if err := a.write(name+".key", key); err != nil {
		return err
	}
	return a.write(name+".pem", cert)
}

func (a *authority) issue(name string, use x509.ExtKeyUsage) (keyPEM, certPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := certificate(name)
	template.DNSNames = []string{name}
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{use}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return encodePEM("PRIVATE KEY", secret), encodePEM("CERTIFICATE", der), nil
}

func (a *authority) write(name string, data []byte) error {
	return os.WriteFile(filepath.Join(a.dir, name), data, 0o600)
}

func certificate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour * 365),
	}
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
