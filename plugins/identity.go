package plugins

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"time"
)

// clientCertKey is the variable in which a plugin finds the host's certificate. It is
// go-plugin's, and so known to plugins in every language.
const clientCertKey = "PLUGIN_CLIENT_CERT"

// serverName is whom the certificates of both sides name.
const serverName = "localhost"

// identity is how a host proves to one plugin, for one start, that it is its host. It stands
// in for go-plugin's own, whose key on the curve P-521 gRPC accepts in Go alone: BoringSSL,
// which is inside gRPC for every other language, does not.
// The zero value proves nothing.
type identity struct {
	config *tls.Config // go-plugin adds the plugin's certificate, the only one then trusted
	pem    []byte      // the certificate, for the plugin to trust alone
}

func newIdentity() (identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return identity{}, err
	}
	template := &x509.Certificate{
		SerialNumber:          new(big.Int).SetInt64(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: serverName, Organization: []string{"thrum"}},
		DNSNames:              []string{serverName},
		NotBefore:             time.Now().Add(-time.Minute),
		NotAfter:              time.Now().AddDate(30, 0, 0), // a plugin lives as long as its host
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		IsCA:                  true, // it vouches for itself
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return identity{}, err
	}
	return identity{
		config: &tls.Config{
			Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
			RootCAs:      x509.NewCertPool(), // nobody, until the plugin has shown its certificate
			ServerName:   serverName,
			MinVersion:   tls.VersionTLS13,
		},
		pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
	}, nil
}

func (i identity) environ() []string {
	if i.pem == nil {
		return nil
	}
	return []string{clientCertKey + "=" + string(i.pem)}
}

// The sixth field of a handshake line is the plugin's certificate.
const handshakeFields = 5

// withoutCert cuts the certificate off a handshake: go-plugin panics at one that it has not
// asked for.
func withoutCert(handshake string) string {
	fields := strings.Split(strings.TrimSpace(handshake), "|")
	return strings.Join(fields[:min(len(fields), handshakeFields)], "|") + "\n"
}

// hasCert says whether a handshake holds a certificate.
func hasCert(handshake string) bool {
	fields := strings.Split(strings.TrimSpace(handshake), "|")
	return len(fields) > handshakeFields && fields[handshakeFields] != ""
}
