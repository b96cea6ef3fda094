package loadtest

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// Access is how a server is reached that does not let everybody in.
type Access struct {
	Header http.Header // sent with every request to the server, and to nobody else
	TLS    *tls.Config // of https; nil for the system's authorities
}

// ParseHeader reads lines such as "Authorization: Bearer TOKEN". No error has a value in it.
func ParseHeader(lines []string) (http.Header, error) {
	h := http.Header{}
	for i, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("header %d has no colon: write it like 'Authorization: Bearer TOKEN'", i+1)
		}
		if err := checkHeader(strings.TrimSpace(name), strings.TrimSpace(value)); err != nil {
			return nil, err
		}
		h.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return h, nil
}

// made are headers that a load test makes by itself, and what to use in their stead.
var made = map[string]string{
	"Cache-Control":                   "use --cache",
	"Content-Type":                    "use --json or --binary",
	"Accept-Encoding":                 "answers are read as they come",
	"Host":                            "use --url",
	"Connection":                      "connections are kept",
	"Content-Length":                  "it is made from the request",
	"Transfer-Encoding":               "it is made from the request",
	"Inference-Header-Content-Length": "it is made from the request",
}

func checkHeader(name, value string) error {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r) }) {
		return errors.New("the name of a header is letters, digits and dashes: write it like 'Authorization: Bearer TOKEN'")
	}
	if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return fmt.Errorf("header %s: its value is empty or has control characters, such as the end of a line", name)
	}
	if instead, ours := made[http.CanonicalHeaderKey(name)]; ours {
		return fmt.Errorf("header %s cannot be set: %s", http.CanonicalHeaderKey(name), instead)
	}
	return nil
}

// TLS returns how to know a server by the authorities in a file, in PEM; by the system's if it is
// empty. insecure believes whoever answers.
func TLS(file string, insecure bool) (*tls.Config, error) {
	if file != "" && insecure {
		return nil, errors.New("--ca and --insecure contradict each other: with the latter nobody is asked for a certificate")
	}
	c := &tls.Config{InsecureSkipVerify: insecure}
	if file == "" {
		return c, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----", file)
	}
	return c, nil
}

// Client returns what asks the server at address, and others without the headers. No proxy stands
// between, as none does in an attack.
func (a Access) Client(address string) *http.Client {
	return &http.Client{Transport: &knocker{
		next:   &http.Transport{TLSClientConfig: a.TLS.Clone(), IdleConnTimeout: 10 * time.Second},
		origin: originOf(address),
		header: a.Header,
	}}
}

func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// knocker adds headers to the requests to one origin: a redirect, or metrics elsewhere, get none.
type knocker struct {
	next   http.RoundTripper
	origin string
	header http.Header
}

// RoundTrip implements http.RoundTripper.
func (k *knocker) RoundTrip(r *http.Request) (*http.Response, error) {
	if len(k.header) > 0 && r.URL.Scheme+"://"+r.URL.Host == k.origin {
		r = r.Clone(r.Context())
		maps.Copy(r.Header, k.header)
	}
	return k.next.RoundTrip(r)
}

// mask stands for what must not be told.
const mask = "***"

// String says which headers there are, and none of their values.
func (a Access) String() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(a.Header)) {
		all = append(all, name+": "+mask)
	}
	return strings.Join(all, ", ")
}

// shortest is how long a value is at least that is looked for in what servers say.
const shortest = 4

// Mask masks the values in what a server has said: some repeat what they were sent. Of "Bearer TOKEN"
// it masks the token by itself, too.
func (a Access) Mask(text string) string {
	for _, values := range a.Header {
		for _, v := range values {
			for _, secret := range append([]string{v}, strings.Fields(v)...) {
				if len(secret) >= shortest && !strings.EqualFold(secret, "bearer") && !strings.EqualFold(secret, "basic") {
					text = strings.ReplaceAll(text, secret, mask)
				}
			}
		}
	}
	return text
}

// hidden is err without the values.
func (a Access) hidden(err error) error {
	if err == nil || a.Mask(err.Error()) == err.Error() {
		return err
	}
	return &hiddenError{err, a.Mask(err.Error())}
}

type hiddenError struct {
	err  error
	text string
}

func (e *hiddenError) Error() string { return e.text }
func (e *hiddenError) Unwrap() error { return e.err }
