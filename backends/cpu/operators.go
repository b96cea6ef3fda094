package cpu

import (
	"errors"
	"fmt"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx"
)

// operator says how nodes of one operator are built.
type operator struct {
	build builder
	since int64 // the oldest opset whose meaning of the operator build knows
}

// domain is a set of operators by name.
type domain map[string]operator

//go:generate go test -run ^TestOperatorTable$ . -write

// domains lists what this engine runs.
var domains = map[string]domain{
	"":           standard,
	"ai.onnx.ml": pipelines,
	onnx.Contrib: contrib,
	fusions:      fused,
}

// standard is the domain ai.onnx.
var standard = domain{
	"Abs":                       {buildUnary, 6},
	"Acos":                      {buildUnary, 7},
	"Acosh":                     {buildUnary, 9},
	"Add":                       {buildArithmetic, 7},
	"AffineGrid":                {buildAffineGrid, 20},
	"And":                       {buildCompare, 7},
	"ArgMax":                    {buildArg, 1},
	"ArgMin":                    {buildArg, 1},
	"Asin":                      {buildUnary, 7},
	"Asinh":                     {buildUnary, 9},
	"Atan":                      {buildUnary, 7},
	"Atanh":                     {buildUnary, 9},
	"Attention":                 {buildAttention, 23},
	"AveragePool":               {buildPool, 1},
	"BatchNormalization":        {buildBatchNormalization, 7},
	"BitCast":                   {buildBitCast, 26},
	"BitShift":                  {buildBitwise, 11},
	"BitwiseAnd":                {buildBitwise, 18},
	"BitwiseNot":                {buildBitwise, 18},
	"BitwiseOr":                 {buildBitwise, 18},
	"BitwiseXor":                {buildBitwise, 18},
	"BlackmanWindow":            {buildWindowFunction, 17},
	"Cast":                      {buildCast, 6},
	"CastLike":                  {buildCast, 15},
	"CausalConvWithState":       {buildCausalConv, 27},
	"Ceil":                      {buildUnary, 6},
	"Celu":                      {buildUnary, 12},
	"CenterCropPad":             {buildCenterCropPad, 18},
	"Clip":                      {buildClip, 6},
	"Col2Im":                    {buildCol2Im, 18},
	"Compress":                  {buildCompress, 9},
	"Concat":                    {buildConcat, 1},
	"Constant":                  {buildConstant, 1},
	"ConstantOfShape":           {buildConstantOfShape, 9},
	"Conv":                      {buildConv, 1},
	"ConvInteger":               {buildConvInteger, 10},
	"ConvTranspose":             {buildConvTranspose, 1},
	"Cos":                       {buildUnary, 7},
	"Cosh":                      {buildUnary, 9},
	"CumProd":                   {buildCumulative, 26},
	"CumSum":                    {buildCumulative, 11},
	"DFT":                       {buildDFT, 17},
	"DeformConv":                {buildDeformConv, 19},
	"DepthToSpace":              {buildDepthToSpace, 1},
	"DequantizeLinear":          {buildDequantizeLinear, 10},
	"Det":                       {buildDet, 11},
	"Div":                       {buildArithmetic, 7},
	"Dropout":                   {buildDropout, 7},
	"DynamicQuantizeLinear":     {buildDynamicQuantizeLinear, 11},
	"Einsum":                    {buildEinsum, 12},
	"Elu":                       {buildUnary, 6},
	"Equal":                     {buildCompare, 7},
	"Erf":                       {buildUnary, 9},
	"Exp":                       {buildUnary, 6},
	"Expand":                    {buildExpand, 8},
	"EyeLike":                   {buildEyeLike, 9},
	"Flatten":                   {buildFlatten, 1},
	"Floor":                     {buildUnary, 6},
	"GRU":                       {buildRecurrent, 7},
	"Gather":                    {buildGather, 1},
	"GatherElements":            {buildGatherElements, 11},
	"GatherND":                  {buildGatherND, 11},
	"Gelu":                      {buildUnary, 20},
	"Gemm":                      {buildGemm, 7},
	"GlobalAveragePool":         {buildGlobalPool, 1},
	"GlobalLpPool":              {buildGlobalPool, 2},
	"GlobalMaxPool":             {buildGlobalPool, 1},
	"Greater":                   {buildCompare, 7},
	"GreaterOrEqual":            {buildCompare, 12},
	"GridSample":                {buildGridSample, 16},
	"GroupNormalization":        {buildGroupNormalization, 18},
	"HammingWindow":             {buildWindowFunction, 17},
	"HannWindow":                {buildWindowFunction, 17},
	"HardSigmoid":               {buildUnary, 6},
	"HardSwish":                 {buildUnary, 14},
	"Hardmax":                   {buildSoftmax, 1},
	"Identity":                  {buildIdentity, 1},
	"If":                        {buildIf, 1},
	"InstanceNormalization":     {buildInstanceNormalization, 6},
	"IsInf":                     {buildFloatTest, 10},
	"IsNaN":                     {buildFloatTest, 9},
	"LRN":                       {buildLRN, 1},
	"LSTM":                      {buildRecurrent, 7},
	"LayerNormalization":        {buildLayerNormalization, 17},
	"LeakyRelu":                 {buildUnary, 6},
	"Less":                      {buildCompare, 7},
	"LessOrEqual":               {buildCompare, 12},
	"LinearAttention":           {buildLinearAttention, 27},
	"Log":                       {buildUnary, 6},
	"LogSoftmax":                {buildSoftmax, 1},
	"Loop":                      {buildLoop, 11},
	"LpNormalization":           {buildLpNormalization, 1},
	"LpPool":                    {buildLpPool, 2},
	"MatMul":                    {buildMatMul, 1},
	"MatMulInteger":             {buildMatMulInteger, 10},
	"Max":                       {buildArithmetic, 8},
	"MaxPool":                   {buildPool, 1},
	"MaxUnpool":                 {buildMaxUnpool, 9},
	"Mean":                      {buildArithmetic, 8},
	"MeanVarianceNormalization": {buildMeanVarianceNormalization, 9},
	"MelWeightMatrix":           {buildMelWeightMatrix, 17},
	"Min":                       {buildArithmetic, 8},
	"Mish":                      {buildUnary, 18},
	"Mod":                       {buildArithmetic, 10},
	"Mul":                       {buildArithmetic, 7},
	"Neg":                       {buildUnary, 6},
	"NegativeLogLikelihoodLoss": {buildLoss, 12},
	"NonMaxSuppression":         {buildNonMaxSuppression, 10},
	"NonZero":                   {buildNonZero, 9},
	"Not":                       {buildNot, 1},
	"OneHot":                    {buildOneHot, 9},
	"Or":                        {buildCompare, 7},
	"PRelu":                     {buildArithmetic, 9},
	"Pad":                       {buildPad, 2},
	"Pow":                       {buildArithmetic, 7},
	"QLinearConv":               {buildQLinearConv, 10},
	"QLinearMatMul":             {buildQLinearMatMul, 10},
	"QuantizeLinear":            {buildQuantizeLinear, 10},
	"RMSNormalization":          {buildLayerNormalization, 23},
	"RNN":                       {buildRecurrent, 7},
	"Range":                     {buildRange, 11},
	"Reciprocal":                {buildUnary, 6},
	"ReduceL1":                  {buildReduce, 1},
	"ReduceL2":                  {buildReduce, 1},
	"ReduceLogSum":              {buildReduce, 1},
	"ReduceLogSumExp":           {buildReduce, 1},
	"ReduceMax":                 {buildReduce, 1},
	"ReduceMean":                {buildReduce, 1},
	"ReduceMin":                 {buildReduce, 1},
	"ReduceProd":                {buildReduce, 1},
	"ReduceSum":                 {buildReduce, 1},
	"ReduceSumSquare":           {buildReduce, 1},
	"Relu":                      {buildUnary, 6},
	"Reshape":                   {buildReshape, 5},
	"Resize":                    {buildResize, 10},
	"ReverseSequence":           {buildReverseSequence, 10},
	"RoiAlign":                  {buildRoiAlign, 10},
	"RotaryEmbedding":           {buildRotaryEmbedding, 23},
	"Round":                     {buildUnary, 11},
	"STFT":                      {buildSTFT, 17},
	"Scan":                      {buildScan, 9},
	"Scatter":                   {buildScatterElements, 9},
	"ScatterElements":           {buildScatterElements, 11},
	"ScatterND":                 {buildScatterND, 11},
	"Selu":                      {buildUnary, 6},
	"Shape":                     {buildShape, 1},
	"Shrink":                    {buildUnary, 9},
	"Sigmoid":                   {buildUnary, 6},
	"Sign":                      {buildUnary, 9},
	"Sin":                       {buildUnary, 7},
	"Sinh":                      {buildUnary, 9},
	"Size":                      {buildSize, 1},
	"Slice":                     {buildSlice, 1},
	"Softmax":                   {buildSoftmax, 1},
	"SoftmaxCrossEntropyLoss":   {buildLoss, 12},
	"Softplus":                  {buildUnary, 1},
	"Softsign":                  {buildUnary, 1},
	"SpaceToDepth":              {buildDepthToSpace, 1},
	"Split":                     {buildSplit, 2},
	"Sqrt":                      {buildUnary, 6},
	"Squeeze":                   {buildSqueeze, 1},
	"Sub":                       {buildArithmetic, 7},
	"Sum":                       {buildArithmetic, 8},
	"SwiGLU":                    {buildSwiGLU, 28},
	"Swish":                     {buildUnary, 24},
	"Tan":                       {buildUnary, 7},
	"Tanh":                      {buildUnary, 6},
	"TensorScatter":             {buildTensorScatter, 24},
	"TfIdfVectorizer":           {buildTfIdfVectorizer, 9},
	"ThresholdedRelu":           {buildUnary, 10},
	"Tile":                      {buildTile, 6},
	"TopK":                      {buildTopK, 1},
	"Transpose":                 {buildTranspose, 1},
	"Trilu":                     {buildTrilu, 14},
	"Unique":                    {buildUnique, 11},
	"Unsqueeze":                 {buildUnsqueeze, 1},
	"Upsample":                  {buildResize, 7},
	"Where":                     {buildWhere, 9},
	"Xor":                       {buildCompare, 7},
}

// build returns n as a step.
func build(n *onnx.Node, e *engine) (step, error) {
	op, ok := domains[n.Domain][n.Op]
	if !ok {
		return step{}, onnx.Unsupported(n, "there is no such operator in the cpu backend")
	}
	if n.Opset < op.since {
		return step{}, onnx.Unsupported(n, "the cpu backend knows it from opset %d on", op.since)
	}
	b := &node{Node: n, engine: e, build: build}
	k, err := op.kernel(b)
	if errors.Is(err, backends.ErrUnsupported) {
		return step{}, err
	}
	if err != nil {
		return step{}, fmt.Errorf("node %q (%s): %w", n.Name, n.Op, err)
	}
	s := step{name: n.Name, op: n.Op, kernel: k, in: slots(n.Inputs), out: slots(n.Outputs), bodies: b.bodies}
	for _, i := range b.taken {
		s.in[i] = -1
	}
	return s, nil
}

// kernel builds n, by way of FP32 where that is the only one. A builder that panics refuses
// the node: a damaged file must not end the process.
func (o operator) kernel(n *node) (k kernel, err error) {
	defer func() {
		if p := recover(); p != nil {
			k, err = nil, backends.Errorf(backends.ErrInvalid, "it cannot be built: %v", p)
		}
	}()
	k, err = o.build(n)
	if n.err != nil {
		err = n.err
	}
	if errors.Is(err, backends.ErrUnsupported) && !n.hasBody() && n.hasHalves() {
		return buildWidened(n, o.build)
	}
	return k, err
}
