package engine

import (
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/thrumserve/thrum/backends"
)

// Model is a folder that models.py has made.
type Model struct {
	Dir        string
	Note       string // what it is, for people
	Parameters int64  // how many numbers its weights are
}

// OpenModel returns the model of that name in the folder that models.py was given.
func OpenModel(folder, name string) (Model, error) {
	m := Model{Dir: filepath.Join(folder, name)}
	text, err := os.ReadFile(filepath.Join(m.Dir, "about.json"))
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(text, &m)
}

// File returns the path of the ONNX file.
func (m Model) File() string { return filepath.Join(m.Dir, "model.onnx") }

// Inputs returns the inputs of that name.
func (m Model) Inputs(name string) ([]backends.Tensor, error) {
	text, err := os.ReadFile(filepath.Join(m.Dir, name+".json"))
	if err != nil {
		return nil, err
	}
	var files []tensorFile
	if err := json.Unmarshal(text, &files); err != nil {
		return nil, err
	}
	for i := range files {
		files[i].File = filepath.Join(m.Dir, files[i].File)
	}
	return read(files)
}
