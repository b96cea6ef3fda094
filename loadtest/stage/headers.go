package stage

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// reference is a variable of the shell's in a header.
var reference = regexp.MustCompile(`\$\{[A-Za-z_][A-Za-z0-9_]*\}`)

// Header returns the plan's headers as lines such as "Authorization: Bearer TOKEN". A shell fills in
// each ${NAME}, as it does in commands, so that a plan holds no secrets; one that is not set is an
// error. Nothing else in a value means anything to the shell.
func (p Plan) Header(ctx context.Context) (lines []string, err error) {
	for _, name := range slices.Sorted(maps.Keys(p.Headers)) {
		value := p.Headers[name]
		if reference.MatchString(value) {
			if value, err = expand(ctx, value); err != nil {
				return nil, fmt.Errorf("headers.%s: %w: the shell has no such variable: export it", name, err)
			}
		}
		lines = append(lines, name+": "+value)
	}
	return lines, nil
}

func expand(ctx context.Context, value string) (string, error) {
	c := exec.CommandContext(ctx, "sh", "-uc", "printf %s "+script(value))
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		return "", errors.New(cmp.Or(strings.TrimSpace(said.String()), err.Error()))
	}
	return string(out), nil
}

// script is a word of a shell's that is the value with its references filled in.
func script(value string) string {
	var b strings.Builder
	at := 0
	for _, m := range reference.FindAllStringIndex(value, -1) {
		b.WriteString(quoted(value[at:m[0]]) + `"` + value[m[0]:m[1]] + `"`)
		at = m[1]
	}
	return b.String() + quoted(value[at:])
}

func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
