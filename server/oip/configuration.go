package oip

import "github.com/thrumserve/thrum/backends"

// Configuration is a model's configuration document: of what that of another server says, what
// clients ask for and what holds here.
type Configuration struct {
	Name         string             `json:"name"`
	Platform     string             `json:"platform"`
	Backend      string             `json:"backend"`
	MaxBatchSize int                `json:"max_batch_size"` // 0 for a model whose first dimension is no batch
	Input        []ConfiguredTensor `json:"input"`
	Output       []ConfiguredTensor `json:"output"`
	Instances    []Instances        `json:"instance_group"`
	Batching     *Batching          `json:"dynamic_batching,omitempty"`
	Transactions Transactions       `json:"model_transaction_policy"`
	Cache        ResponseCache      `json:"response_cache"`
}

// ConfiguredTensor is an input or output in a configuration.
type ConfiguredTensor struct {
	Name     string  `json:"name"`
	DataType string  `json:"data_type"` // such as "TYPE_FP32"
	Dims     []int64 `json:"dims"`      // of a row where requests are batched, else of the tensor
	Shape    bool    `json:"is_shape_tensor"`
	Optional bool    `json:"optional,omitempty"` // of an input
}

// Instances says how often a model is loaded.
type Instances struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"`
	Count int    `json:"count"`
}

// Batching is there for a model whose requests are batched.
type Batching struct {
	MaxQueueDelay int `json:"max_queue_delay_microseconds"`
}

// Transactions says whether a request has any number of answers but one.
type Transactions struct {
	Decoupled bool `json:"decoupled"`
}

// ResponseCache says whether answers are kept for equal requests.
type ResponseCache struct {
	Enable bool `json:"enable"`
}

// Configure returns the tensors of one side of a signature, without their first dimension where it
// is the batch.
func Configure(specs []backends.TensorSpec, batched bool) []ConfiguredTensor {
	all := make([]ConfiguredTensor, len(specs))
	for i, s := range specs {
		dims := append([]int64{}, s.Shape...) // never null
		if batched && len(dims) > 0 {
			dims = dims[1:]
		}
		all[i] = ConfiguredTensor{Name: s.Name, DataType: configType(s.Datatype), Dims: dims, Optional: s.Optional}
	}
	return all
}

func configType(d backends.Datatype) string {
	if d == backends.Bytes {
		return "TYPE_STRING"
	}
	return "TYPE_" + d.String()
}
