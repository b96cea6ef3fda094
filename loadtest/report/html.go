package report

import (
	"bytes"
	"html/template"
	"io"
)

var page = template.Must(template.New("page").Parse(`<!doctype html><meta charset="utf-8"><title>{{.Title}}</title><h1>{{.Title}}</h1><pre>{{.Text}}</pre>
`))

// HTML writes the report as one file that needs nothing else.
func HTML(w io.Writer, d Document) error {
	var text bytes.Buffer
	if err := Table(&text, d); err != nil {
		return err
	}
	return page.Execute(w, struct{ Title, Text string }{d.Title, text.String()})
}
