package rest

import (
	"strings"
	"testing"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/server/catalog"
)

// statistics is the document for these versions of m before anything was counted.
func statistics(versions ...string) string {
	var all []string
	for _, v := range versions {
		none := `{"count":0,"ns":0}`
		all = append(all, `{"name":"m","version":"`+v+`","inference_count":0,"execution_count":0,"inference_stats":{`+
			`"success":`+none+`,"fail":`+none+`,"queue":`+none+`,"compute_input":`+none+`,"compute_infer":`+none+`,"compute_output":`+none+
			`,"cache_hit":`+none+`,"cache_miss":`+none+`},"batch_stats":[],"memory_usage":[]}`)
	}
	return `{"model_stats":[` + strings.Join(all, ",") + `]}`
}

func TestStatisticsSayWhatWasCounted(t *testing.T) {
	f := newFake()
	f.statistics = catalog.Statistics{
		Rows: 10, Batches: 4,
		Success: catalog.Time{Count: 1, Took: 2}, Failure: catalog.Time{Count: 3, Took: 4},
		Parse: catalog.Time{Count: 5, Took: 6}, Queue: catalog.Time{Count: 7, Took: 8},
		Compute: catalog.Time{Count: 9, Took: 10}, Reply: catalog.Time{Count: 11, Took: time.Second},
		Hit: catalog.Time{Count: 13, Took: 14}, Miss: catalog.Time{Count: 15, Took: 16},
		Sizes: []catalog.Size{{Rows: 1, Compute: catalog.Time{Count: 2, Took: 17}}, {Rows: 4, Compute: catalog.Time{Count: 2, Took: 18}}},
	}
	_, addr := start(t, f, Options{})
	const want = `{"model_stats":[{"name":"m","version":"2","inference_count":10,"execution_count":4,"inference_stats":{` +
		`"success":{"count":1,"ns":2},"fail":{"count":3,"ns":4},"queue":{"count":7,"ns":8},"compute_input":{"count":5,"ns":6},` +
		`"compute_infer":{"count":9,"ns":10},"compute_output":{"count":11,"ns":1000000000},"cache_hit":{"count":13,"ns":14},"cache_miss":{"count":15,"ns":16}},` +
		`"batch_stats":[{"batch_size":1,"compute_input":{"count":2,"ns":0},"compute_infer":{"count":2,"ns":17},"compute_output":{"count":2,"ns":0}},` +
		`{"batch_size":4,"compute_input":{"count":2,"ns":0},"compute_infer":{"count":2,"ns":18},"compute_output":{"count":2,"ns":0}}],"memory_usage":[]}]}`
	if a := send(t, "GET", addr, "/v2/models/m/versions/2/stats", nil, nil); a.status != 200 || string(a.body) != want {
		t.Errorf("stats = %d %s, want %s", a.status, a.body, want)
	}
}

func TestConfigurationOfAModelThatIsNotBatched(t *testing.T) {
	f := newFake()
	f.serving = catalog.Serving{Backend: "cpu", Instances: 1, Cached: true}
	f.sig = backends.Signature{
		Inputs:  []backends.TensorSpec{{Name: "text", Datatype: backends.Bytes, Shape: []int64{-1}}, {Name: "k", Datatype: backends.Int64, Optional: true}},
		Outputs: []backends.TensorSpec{{Name: "y", Datatype: backends.BF16, Shape: []int64{2, 3}}},
	}
	_, addr := start(t, f, Options{})
	const want = `{"name":"m","platform":"","backend":"cpu","max_batch_size":0,` +
		`"input":[{"name":"text","data_type":"TYPE_STRING","dims":[-1],"is_shape_tensor":false},{"name":"k","data_type":"TYPE_INT64","dims":[],"is_shape_tensor":false,"optional":true}],` +
		`"output":[{"name":"y","data_type":"TYPE_BF16","dims":[2,3],"is_shape_tensor":false}],"instance_group":[{"name":"m","kind":"KIND_AUTO","count":1}],` +
		`"model_transaction_policy":{"decoupled":false},"response_cache":{"enable":true}}`
	if a := send(t, "GET", addr, "/v2/models/m/config", nil, nil); a.status != 200 || string(a.body) != want {
		t.Errorf("config = %d %s, want %s", a.status, a.body, want)
	}
}
