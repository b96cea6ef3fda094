package input

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/thrumserve/thrum/loadtest/oip"
)

func write(t *testing.T, name string, content ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(strings.Join(content, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) *Set {
	t.Helper()
	s, err := Read(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// request returns the JSON of a request of one input x of bytes.
func request(data ...string) string {
	return fmt.Sprintf(`{"inputs":[{"name":"x","datatype":"UINT8","shape":[1,%d],"data":[%s]}]}`, len(data), strings.Join(data, ","))
}

// binaryRequest returns one whose bytes follow.
func binaryRequest(data string) string {
	return fmt.Sprintf(`{"inputs":[{"name":"x","datatype":"UINT8","shape":[1,%d],"parameters":{"binary_data_size":%d}}]}`, len(data), len(data)) + data
}

// xs returns the data of every request's first input.
func xs(s *Set) []string {
	var all []string
	for _, c := range s.Cases {
		all = append(all, string(c.Inputs[0].Data))
	}
	return all
}

const twoCases = `{"source": "arithmetic", "tolerance": {"abs": 0.5, "rel": 0}, "cases": [
	{"name": "one", "inputs": [{"name": "x", "datatype": "UINT8", "shape": [1,1], "data": [65]}], "outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [3]}]},
	{"name": "two", "inputs": [{"name": "x", "datatype": "UINT8", "shape": [1,1], "data": [66]}], "outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [4]}]}]}`

func npy(kind, order, shape, data string) string {
	header := fmt.Sprintf("{'descr': '%s', 'fortran_order': %s, 'shape': (%s), }\n", kind, order, shape)
	return arrayMagic + "\x01\x00" + string(binary.LittleEndian.AppendUint16(nil, uint16(len(header)))) + header + data
}

func npz(t *testing.T, files map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, content := range files {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestReadKnowsEveryForm(t *testing.T) {
	for _, c := range []struct {
		situation, name, content string
		want                     []string
	}{
		{"one request", "a.json", request("65", "66"), []string{"AB"}},
		{"lines", "a.jsonl", "\n" + request("65") + "\n" + request("66", "67") + "\n\n", []string{"A", "BC"}},
		{"a binary request", "a.bin", binaryRequest("xyz"), []string{"xyz"}},
		{"binary requests in a row", "a.bin", binaryRequest("{\n") + "\n" + request("65") + binaryRequest(""), []string{"{\n", "A", ""}},
		{"a golden set", "golden.json", twoCases, []string{"A", "B"}},
		{"an array", "x.npy", npy("|u1", "False", "2, 3", "abcdef"), []string{"abc", "def"}},
		{"an array of one dimension", "x.npy", npy("|u1", "False", "2,", "ab"), []string{"a", "b"}},
		{"arrays", "a.npz", npz(t, map[string]string{"x.npy": npy("|u1", "False", "2, 1", "ab"), "z.npy": npy("<f4", "False", "2, 1", "12345678")}), []string{"a", "b"}},
	} {
		s := read(t, write(t, c.name, c.content))
		if got := xs(s); !slices.Equal(got, c.want) || s.Warnings != nil {
			t.Errorf("%s: Read = %q, %v, want %q", c.situation, got, s.Warnings, c.want)
		}
	}
}

func TestReadTakesTheLengthOfTheJSON(t *testing.T) {
	text := binaryRequest("xyz")
	head := len(text) - 3
	path := write(t, "a.bin", text[:head], "  ", text[head:])
	s, err := Read(path, head+2)
	if err != nil || !slices.Equal(xs(s), []string{"xyz"}) {
		t.Errorf("Read = %+v, %v", s, err)
	}
}

func TestReadRefuses(t *testing.T) {
	for _, c := range []struct {
		situation, name, content string
		want                     string // part of the error
	}{
		{"nothing", "a.json", " \n", "there is no request in it"},
		{"something else", "a.txt", "hello", "neither JSON nor another form"},
		{"a line that is broken", "a.jsonl", request("65") + "\n" + `{"inputs":[}`, "request 2, at byte 71"},
		{"another protocol's request", "a.json", `{"instances":[1]}`, "no inputs"},
		{"binary tensors cut short", "a.bin", binaryRequest("xyz")[:96], "3 bytes of binary tensors are announced, 2 follow"},
		{"a golden case without inputs", "golden.json", `{"cases":[{"name":"n"}]}`, `golden case "n": the request has no inputs`},
		{"a golden set without cases", "golden.json", `{"cases":[]}`, "there is no request in it"},
		{"an array by columns", "x.npy", npy("<f4", "True", "1, 1", "1234"), "ascontiguousarray"},
		{"an array of objects", "x.npy", npy("|O", "False", "1,", ""), `its elements are "|O"`},
		{"an array of large ends", "x.npy", npy(">f4", "False", "1,", "1234"), `its elements are ">f4"`},
		{"a structure", "x.npy", npy("x', 'y", "False", "1,", "1234"), "an array of numbers is expected"},
		{"an array cut short", "x.npy", npy("<f4", "False", "2,", "1234"), `4 bytes do not fit shape [2]`},
		{"a header cut short", "x.npy", npy("<f4", "False", "2,", "")[:30], "cut short in its header"},
		{"a scalar", "x.npy", npy("<f4", "False", "", "1234"), "it has no rows"},
		{"arrays of other lengths", "a.npz", npz(t, map[string]string{"x.npy": npy("|u1", "False", "2,", "ab"), "z.npy": npy("|u1", "False", "1,", "a")}), `array "z" has 1 rows, "x" has 2`},
		{"an archive of nothing", "a.npz", npz(t, map[string]string{"x": ""}), "not an array as numpy stores it"},
		{"an archive cut short", "a.npz", npz(t, map[string]string{"x": ""})[:20], "zip"},
	} {
		s, err := Read(write(t, c.name, c.content), 0)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.name) {
			t.Errorf("%s: Read = %v, %v, want an error with %q", c.situation, s, err, c.want)
		}
	}
	if _, err := Read("/no/such/file", 0); err == nil || !strings.Contains(err.Error(), "/no/such/file") {
		t.Errorf("Read of nothing = %v", err)
	}
	large := write(t, "large.json")
	if err := os.Truncate(large, maxBytes+1); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(large, 0); err == nil || !strings.Contains(err.Error(), "take a part of it") {
		t.Errorf("Read of a huge file = %v", err)
	}
	if _, err := Read(t.TempDir(), 0); err == nil || !strings.Contains(err.Error(), "no golden set") {
		t.Errorf("Read of an empty folder = %v", err)
	}
}

func TestReadFindsTheGoldenSetOfTheHighestVersion(t *testing.T) {
	model := filepath.Join(t.TempDir(), "m[1]")
	for _, version := range []string{"2", "10"} {
		dir := filepath.Join(model, version)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, goldenFile), []byte(twoCases), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if s := read(t, model); s.Source != filepath.Join(model, "10", goldenFile) {
		t.Errorf("Read took %s", s.Source)
	}
	s := read(t, filepath.Join(model, "2"))
	if s.Source != filepath.Join(model, "2", goldenFile) || s.Tolerance.Abs != 0.5 || s.Cases[1].Name != "two" || len(s.Cases[1].Want) != 1 {
		t.Errorf("Read = %+v", s)
	}
}

func TestReadOfTheBundledModels(t *testing.T) {
	for _, model := range []string{"digits", "tumor", "yarnit"} {
		s := read(t, "../../examples/models/"+model)
		for _, c := range s.Cases {
			if len(c.Want) == 0 || c.Bytes() == 0 {
				t.Errorf("%s: case %q has no answer or no data", model, c.Name)
			}
		}
	}
}

// captured returns a file of captured requests, the n-th of which arrived after n of step.
func captured(began time.Time, step time.Duration, requests ...string) string {
	frame := func(content string) string {
		head := binary.LittleEndian.AppendUint32(nil, uint32(len(content)))
		head = binary.LittleEndian.AppendUint32(head, crc32.Checksum([]byte(content), crc32.MakeTable(crc32.Castagnoli)))
		return string(head) + content
	}
	text := captureMagic + frame(fmt.Sprintf(`{"schema":1,"model":"m","version":"1","began":%q,"rate":0.5}`, began.Format(time.RFC3339Nano)))
	for i, r := range requests {
		content := binary.LittleEndian.AppendUint64(nil, uint64(time.Duration(i+1)*step))
		content = binary.LittleEndian.AppendUint32(content, uint32(strings.LastIndex(r, "}")+1))
		text += frame(string(content) + r)
	}
	return text
}

var noon = time.Date(2026, 1, 2, 12, 0, 0, 5, time.UTC)

func TestCapturesOfAFolderAreOne(t *testing.T) {
	folder := t.TempDir()
	for name, text := range map[string]string{
		"1-b.capture": captured(noon.Add(time.Second), 250*time.Millisecond, binaryRequest("C"), binaryRequest("D")),
		"1-a.capture": captured(noon, time.Second, binaryRequest("A"), binaryRequest("E")),
		"2-c.capture": "THRUM",
		"notes.txt":   "x",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := read(t, folder)
	if got := xs(s); !slices.Equal(got, []string{"A", "C", "D", "E"}) || s.Captured != 0.5 || len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "2-c.capture") {
		t.Errorf("Read = %q, %v, captured %v", got, s.Warnings, s.Captured)
	}
	want := []time.Duration{0, 250 * time.Millisecond, 500 * time.Millisecond, time.Second}
	if got, err := s.Offsets(); err != nil || !slices.Equal(got, want) {
		t.Errorf("Offsets() = %v, %v, want %v", got, err, want)
	}
	if text := s.String(); text != folder+": 4 requests of 1 bytes, captured at a rate of 0.5" {
		t.Errorf("String = %q", text)
	}
	if _, err := Read(filepath.Dir(folder), 0); err == nil || !strings.Contains(err.Error(), "take one of them, such as "+folder) {
		t.Errorf("Read of the folder above = %v", err)
	}
	if _, err := read(t, write(t, "a.json", request("1"))).Offsets(); err == nil || !strings.Contains(err.Error(), "no arrival times") {
		t.Errorf("Offsets of what was not captured = %v", err)
	}
}

func TestADamagedCaptureIsReadUpToTheDamage(t *testing.T) {
	whole := captured(noon, time.Second, binaryRequest("A"), binaryRequest("B"), binaryRequest("C"))
	flipped := []byte(whole)
	flipped[len(flipped)-1] ^= 1
	for _, c := range []struct {
		situation, text string
		want            []string
		warning         string
	}{
		{"whole", whole, []string{"A", "B", "C"}, ""},
		{"cut in a request", whole[:len(whole)-1], []string{"A", "B"}, "request 3, at byte 336 of 450: cut short"},
		{"cut between requests", whole[:336], []string{"A", "B"}, ""},
		{"cut in a length", whole[:340], []string{"A", "B"}, "cut short"},
		{"a bit flipped", string(flipped), []string{"A", "B"}, "damaged"},
		{"zeros after it", whole + string(make([]byte, 99)), []string{"A", "B", "C"}, "damaged"},
	} {
		s := read(t, write(t, "x.capture", c.text))
		if got := xs(s); !slices.Equal(got, c.want) {
			t.Errorf("%s: Read = %q, want %q", c.situation, got, c.want)
		}
		if got := strings.Join(s.Warnings, "\n"); (got == "") != (c.warning == "") || !strings.Contains(got, c.warning) {
			t.Errorf("%s: warnings %q, want %q", c.situation, got, c.warning)
		}
	}
	for situation, text := range map[string]string{
		"header: cut short":             whole[:20],
		"header: damaged":               captureMagic + string(make([]byte, 99)),
		"its schema is 7":               relabelled(`"schema":7`),
		"there is no request":           captured(noon, 0),
		"there is no request in it\n":   whole[:150],
		"request 1, at byte 106 of 150": whole[:150],
	} {
		if _, err := Read(write(t, "x.capture", text), 0); err == nil || !strings.Contains(err.Error(), situation) {
			t.Errorf("Read = %v, want %q", err, situation)
		}
	}
}

// relabelled returns a capture with another header.
func relabelled(json string) string {
	content := "{" + json + "}"
	head := binary.LittleEndian.AppendUint32(nil, uint32(len(content)))
	head = binary.LittleEndian.AppendUint32(head, crc32.Checksum([]byte(content), crc32.MakeTable(crc32.Castagnoli)))
	return captureMagic + string(head) + content
}

func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		request("65"), binaryRequest("xyz") + binaryRequest(""), twoCases, npy("<f4", "False", "1, 2", "12345678"),
		captured(noon, time.Second, binaryRequest("A"), binaryRequest("B")), relabelled(`"schema":1,"rate":1`),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Read(path, 0)
		if err != nil {
			return
		}
		if _, err := s.Encode(oip.Model{}, oip.Form{BinaryInputs: true}); err != nil {
			t.Error(err)
		}
		if err := s.Select("bytes >= 0"); err != nil {
			t.Error(err)
		}
	})
}
