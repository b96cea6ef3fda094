package oip

// Statistics is the document of what has been counted; clients take differences of two of them.
type Statistics struct {
	Models []ModelStatistics `json:"model_stats"`
}

// ModelStatistics is what has been counted of a version.
type ModelStatistics struct {
	Name       string              `json:"name"`
	Version    string              `json:"version"`
	Inferences uint64              `json:"inference_count"` // rows executed
	Executions uint64              `json:"execution_count"` // batches executed
	Requests   InferenceStatistics `json:"inference_stats"`
	Batches    []BatchStatistics   `json:"batch_stats"`
	Memory     []struct{}          `json:"memory_usage"` // nothing is said of it
}

// Duration is how often something happened and how long it took altogether. Clients read both
// numbers without asking whether they are there.
type Duration struct {
	Count uint64 `json:"count"`
	NS    int64  `json:"ns"`
}

// InferenceStatistics is what requests took.
type InferenceStatistics struct {
	Success       Duration `json:"success"`
	Fail          Duration `json:"fail"`
	Queue         Duration `json:"queue"`
	ComputeInput  Duration `json:"compute_input"` // reading a body into tensors
	ComputeInfer  Duration `json:"compute_infer"`
	ComputeOutput Duration `json:"compute_output"` // writing tensors into a body
	CacheHit      Duration `json:"cache_hit"`
	CacheMiss     Duration `json:"cache_miss"`
}

// BatchStatistics is what batches of a size took. Input and output are read and written by
// request, not by batch: no time is given.
type BatchStatistics struct {
	Size          int      `json:"batch_size"`
	ComputeInput  Duration `json:"compute_input"`
	ComputeInfer  Duration `json:"compute_infer"`
	ComputeOutput Duration `json:"compute_output"`
}
