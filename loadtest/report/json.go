package report

import (
	"encoding/json"
	"io"
)

// JSON writes the report as JSON, of the shape that FORMAT.md describes. Fields may
// be added to it; none is renamed or removed without a new version.
func JSON(w io.Writer, d Document) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(build(d))
}
