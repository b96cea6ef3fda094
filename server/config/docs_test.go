package config

import (
	"os"
	"reflect"
	"regexp"
	"testing"
)

// The page that users copy from holds every key, and nothing that is refused.
func TestTheDocumentationIsAccepted(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(page, -1)
	if len(blocks) != 2 {
		t.Fatalf("%d YAML blocks, want the server's and the model's", len(blocks))
	}
	server := Default()
	if err := decodeStrict(blocks[0][1], &server); err != nil {
		t.Error(err)
	}
	if err := server.Validate(); err != nil {
		t.Error(err)
	}
	var model Model
	if err := decodeStrict(blocks[1][1], &model); err != nil {
		t.Error(err)
	}
	for i, into := range []any{server, model} {
		for key := range yamlFields(reflect.TypeOf(into)) {
			if !regexp.MustCompile(`(?m)^` + key + `:`).Match(blocks[i][1]) {
				t.Errorf("docs/configuration.md does not tell of %q", key)
			}
		}
	}
}
