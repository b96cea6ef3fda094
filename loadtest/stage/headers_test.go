package stage

import (
	"slices"
	"strings"
	"testing"
)

func TestHeadersAreFilledInByAShell(t *testing.T) {
	t.Setenv("STAGE_TOKEN", `a'b"c $HOME`)
	p := Plan{Headers: map[string]string{
		"Authorization": "Bearer ${STAGE_TOKEN}", "X-Tenant": "plain", "X-Odd": `it's $(echo no) $HOME ${STAGE_TOKEN}`, "X-Other": "$HOME `id`",
	}}
	got, err := p.Header(t.Context())
	want := []string{`Authorization: Bearer a'b"c $HOME`, `X-Odd: it's $(echo no) $HOME a'b"c $HOME`, "X-Other: $HOME `id`", "X-Tenant: plain"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("Header = %q, %v, want %q", got, err, want)
	}
	p.Headers = map[string]string{"Authorization": "Bearer ${STAGE_NOT_SET}"}
	if got, err := p.Header(t.Context()); err == nil || !strings.Contains(err.Error(), "headers.Authorization") || !strings.Contains(err.Error(), "STAGE_NOT_SET") {
		t.Errorf("Header = %q, %v, want an error that names what is not set", got, err)
	}
}
