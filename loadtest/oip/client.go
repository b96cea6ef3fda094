package oip

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Client asks a server. Its methods may be called concurrently.
type Client struct {
	base string
	http *http.Client
}

// maxReply bounds an answer, which is read whole.
const maxReply = 1 << 30

// NewClient returns a client of the server at address, such as http://127.0.0.1:8000; without a
// scheme it is http. No proxy stands between, as none does in an attack.
func NewClient(address string) (*Client, error) {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is no server's address: write it like http://127.0.0.1:8000", address)
	}
	return &Client{base: strings.TrimSuffix(u.Scheme+"://"+u.Host+u.EscapedPath(), "/"), http: &http.Client{Transport: &http.Transport{}}}, nil
}

// Via returns a client of the same server that asks by h.
func (c *Client) Via(h *http.Client) *Client { return &Client{c.base, h} }

// Address returns the server's address with its scheme and no slash at its end.
func (c *Client) Address() string { return c.base }

// ModelPath returns the path of a model, or of its version if that is not empty.
func ModelPath(model, version string) string {
	path := "/v2/models/" + url.PathEscape(model)
	if version != "" {
		path += "/versions/" + url.PathEscape(version)
	}
	return path
}

// Model returns what the server tells of a model. An unknown one is an error that lists those
// that there are, if the server does.
func (c *Client) Model(ctx context.Context, model, version string) (Model, error) {
	status, body, err := c.do(ctx, http.MethodGet, ModelPath(model, version), nil)
	if err != nil {
		return Model{}, err
	}
	if status != http.StatusOK {
		return Model{}, c.explain(ctx, model, version, refusal(status, body))
	}
	var m Model
	if err := json.Unmarshal(body, &m); err != nil {
		return Model{}, fmt.Errorf("%s answers no metadata of model %s: %w: does it speak the Open Inference Protocol v2?", c.base, model, err)
	}
	return m, nil
}

// Ready returns nil if the server has the model ready.
func (c *Client) Ready(ctx context.Context, model, version string) error {
	status, body, err := c.do(ctx, http.MethodGet, ModelPath(model, version)+"/ready", nil)
	if err == nil && status != http.StatusOK {
		err = c.explain(ctx, model, version, refusal(status, body))
	}
	return err
}

// Infer sends the body of a request, past any cache, and returns that of the answer with the length
// of the JSON at its start, 0 if all of it is. A status other than 200 is an error.
func (c *Client) Infer(ctx context.Context, path string, body []byte, head int) ([]byte, int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path+"/infer", bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Cache-Control", "no-store")
	if head > 0 {
		request.Header.Set("Content-Type", "application/octet-stream")
		request.Header.Set(HeadHeader, strconv.Itoa(head))
	}
	reply, answer, err := c.send(request)
	if err != nil {
		return nil, 0, err
	}
	if reply.StatusCode != http.StatusOK {
		return nil, 0, refusal(reply.StatusCode, answer)
	}
	head = 0
	if given := reply.Header.Get(HeadHeader); given != "" {
		if head, err = strconv.Atoi(given); err != nil {
			return nil, 0, fmt.Errorf("header %s of the answer is %q, a number of bytes is expected", HeadHeader, given)
		}
	}
	return answer, head, nil
}

func (c *Client) do(ctx context.Context, method, path string, body io.Reader) (int, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return 0, nil, err
	}
	reply, answer, err := c.send(request)
	if err != nil {
		return 0, nil, err
	}
	return reply.StatusCode, answer, nil
}

func (c *Client) send(request *http.Request) (*http.Response, []byte, error) {
	reply, err := c.http.Do(request)
	if err != nil {
		return nil, nil, c.unreachable(err)
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(io.LimitReader(reply.Body, maxReply+1))
	if err != nil {
		return nil, nil, c.unreachable(err)
	}
	if len(body) > maxReply {
		return nil, nil, fmt.Errorf("%s answers with more than %d bytes", c.base, maxReply)
	}
	return reply, body, nil
}

func (c *Client) unreachable(err error) error {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	return fmt.Errorf("no answer from %s: %w: is the server there? try: curl %s/v2/health/ready", c.base, err, c.base)
}

// refusal is an answer that is not 200, as an error.
func refusal(status int, body []byte) error {
	var said struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &said) != nil || said.Error == "" {
		said.Error = strings.ToValidUTF8(string(body[:min(len(body), 200)]), "?")
	}
	return fmt.Errorf("%d %s: %s", status, http.StatusText(status), said.Error)
}

// explain adds what models there are to the refusal of one.
func (c *Client) explain(ctx context.Context, model, version string, refused error) error {
	name := model
	if version != "" {
		name += " version " + version
	}
	err := fmt.Errorf("%s refuses model %s: %w", c.base, name, refused)
	if models := c.index(ctx); len(models) > 0 {
		err = fmt.Errorf("%w: it has %s", err, strings.Join(models, ", "))
	}
	return err
}

// index returns the models that the server lists, with their versions, if it lists them.
func (c *Client) index(ctx context.Context) []string {
	status, body, err := c.do(ctx, http.MethodPost, "/v2/repository/index", strings.NewReader("{}"))
	if err != nil || status != http.StatusOK {
		return nil
	}
	var entries []struct{ Name, Version, State string }
	if json.Unmarshal(body, &entries) != nil {
		return nil
	}
	var models []string
	for _, e := range entries {
		text := e.Name
		if e.Version != "" {
			text += " version " + e.Version
		}
		if e.State != "" && e.State != "READY" {
			text += " (" + strings.ToLower(e.State) + ")"
		}
		models = append(models, text)
	}
	return models
}
