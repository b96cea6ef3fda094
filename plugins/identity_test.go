package plugins

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/backendtest"
	"github.com/thrumserve/thrum/plugins/proto"
)

func TestConformanceWithCertificates(t *testing.T) {
	open := func(t *testing.T) backends.Backend { return start(t, command("fake"), Options{AutoMTLS: true}) }
	backendtest.Run(t, open, backendtest.Fixture{Spec: backends.Spec{Model: "affine", Version: "1", Dir: modelDir(t, 5)}})
}

// A plugin's first line is the plugin's to choose: it never harms the host.
func TestHandshakesThatAreRefused(t *testing.T) {
	cert := strings.Repeat("A", 80)
	host, err := newIdentity()
	if err != nil {
		t.Fatal(err)
	}
	stranger := base64.RawStdEncoding.EncodeToString(host.config.Certificates[0].Certificate[0])
	for situation, test := range map[string]struct {
		line   string
		secure bool
		want   string
	}{
		"a certificate that nobody wants": {"1|1|unix|/nowhere|grpc|" + cert, false, "no such file"},
		"no certificate":                  {"1|1|unix|/nowhere|grpc", true, "no certificate to show"},
		"an empty certificate":            {"1|1|unix|/nowhere|grpc|", true, "no certificate to show"},
		"no certificate but garbage":      {"1|1|unix|/nowhere|grpc|" + cert, true, "cert"},
		"a short one":                     {"1|1|unix|/nowhere|grpc|true", true, "no such file"},
		"nobody behind the address":       {"1|1|unix|/nowhere|grpc|" + stranger, true, "no such file"},
		"an address of no kind":           {"1|1|ip|/nowhere|grpc", false, "unknown address type"},
		"another way to talk":             {"1|1|unix|/nowhere|netrpc", false, "unsupported plugin protocol"},
		"another go-plugin":               {"7|1|unix|/nowhere|grpc", false, "7"},
		"a version that is no number":     {"1|x|unix|/nowhere|grpc", false, "x"},
		"too few fields":                  {"1|1", false, "Unrecognized"},
		"many fields":                     {strings.Repeat("1|", 2000), false, "unknown address type"},
	} {
		t.Run(situation, func(t *testing.T) {
			cmd := Command{Path: "/bin/sh", Args: []string{"-c", `echo "$0"; exec sleep 100`, test.line}}
			_, err := Start(t.Context(), cmd, Options{AutoMTLS: test.secure, StartTimeout: 2 * time.Second, CloseTimeout: 50 * time.Millisecond})
			if !errors.Is(err, backends.ErrUnavailable) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Start = %v, want an ErrUnavailable with %q", err, test.want)
			}
		})
	}
}

// FuzzHandshake plays a plugin that shows what nobody asked for.
func FuzzHandshake(f *testing.F) {
	for _, line := range []string{"1|1|unix|/a|grpc", "1|1|unix|/a|grpc|cert\n", "||||||||", "", "\r\n"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		cut := withoutCert(line)
		if hasCert(cut) || !strings.HasPrefix(strings.TrimSpace(line)+"\n", strings.TrimSuffix(cut, "\n")) {
			t.Errorf("withoutCert(%q) = %q", line, cut)
		}
	})
}

// Whoever finds the socket is not answered without the certificate that the host made for it.
func TestStrangersAreNotAnswered(t *testing.T) {
	host, err := newIdentity()
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := newIdentity()
	if err != nil {
		t.Fatal(err)
	}
	if !x509.NewCertPool().Equal(host.config.RootCAs) {
		t.Error("the host trusts others before it has seen the plugin's certificate")
	}
	line := greet(t, host)
	fields := strings.Split(line, "|")
	der, err := base64.RawStdEncoding.DecodeString(fields[5])
	if err != nil {
		t.Fatal(err)
	}
	server, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	for situation, test := range map[string]struct {
		config *tls.Config
		ok     bool
	}{
		"the host":                    {host.config, true},
		"somebody else's certificate": {stranger.config, false},
		"no certificate":              {&tls.Config{RootCAs: host.config.RootCAs, ServerName: serverName}, false},
	} {
		test.config.RootCAs = x509.NewCertPool()
		test.config.RootCAs.AddCert(server)
		conn, err := grpc.NewClient("unix:"+fields[3], grpc.WithTransportCredentials(credentials.NewTLS(test.config)))
		if err != nil {
			t.Fatal(err)
		}
		_, err = proto.NewControlClient(conn).Info(t.Context(), &proto.InfoRequest{})
		if (err == nil) != test.ok {
			t.Errorf("%s: Info = %v, want answered %v", situation, err, test.ok)
		}
		_ = conn.Close()
	}
}

// greet starts a plugin by hand and returns its handshake.
func greet(t *testing.T, host identity) string {
	t.Helper()
	r, w, err := os.Pipe() // the host's
	if err != nil {
		t.Fatal(err)
	}
	as := command("fake", append(host.environ(), cookieKey+"="+cookieValue, "PLUGIN_PROTOCOL_VERSIONS=1")...)
	plugin := exec.Command(as.Path)
	plugin.Env, plugin.ExtraFiles = as.Env, []*os.File{r}
	out, err := plugin.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := plugin.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		closeAll(r, w)
		_ = plugin.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(strings.Split(line, "|")[3]) })
	return line[:len(line)-1]
}
