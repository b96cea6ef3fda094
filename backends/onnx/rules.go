package onnx

// shapeRules infer the outputs of each operator: shapes, and datatypes where the schema alone
// does not tell them. Inputs have passed the schema; their shapes may be unknown.
var shapeRules = ruleTable()

func ruleTable() map[opID]func(*call) error {
	all := map[opID]func(*call) error{}
	add := func(domain string, rule func(*call) error, ops ...string) {
		for _, op := range ops {
			all[opID{domain, op}] = rule
		}
	}
	add("", sameShape, "Abs", "Ceil", "Celu", "Clip", "Cos", "CumSum", "Elu", "Erf", "Exp", "Floor", "Gelu",
		"HardSigmoid", "HardSwish", "InstanceNormalization", "IsInf", "IsNaN", "LRN", "LeakyRelu", "Log", "Mish",
		"PRelu", "Reciprocal", "Relu", "Round", "ScatterElements", "ScatterND", "Selu", "Sigmoid",
		"Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Swish", "Tanh", "ThresholdedRelu", "Trilu", "Dropout", "RMSNormalization")
	add("", normalized, "BatchNormalization", "GroupNormalization")
	add("", layerNorm, "LayerNormalization")
	add("", alongAxis, "Softmax", "LogSoftmax", "Hardmax")
	add("", elementwise, "Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual",
		"Max", "Mean", "Min", "Mod", "Mul", "Or", "Pow", "Sub", "Sum", "Where", "Xor", "Not", "Neg", "Identity")
	add("", cast, "Cast")
	add("", castLike, "CastLike")
	add("", reduce, "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
		"ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare")
	add("", argReduce, "ArgMax", "ArgMin")
	add("", topK, "TopK")
	add("", matMul, "MatMul", "MatMulInteger")
	add("", gemm, "Gemm")
	add("", einsum, "Einsum")
	add("", conv, "Conv", "ConvInteger")
	add("", convTranspose, "ConvTranspose")
	add("", pool, "MaxPool", "AveragePool", "LpPool")
	add("", globalPool, "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool")
	add("", resize, "Resize", "Upsample")
	add("", depthToSpace, "DepthToSpace")
	add("", spaceToDepth, "SpaceToDepth")
	add("", reshape, "Reshape")
	add("", flatten, "Flatten")
	add("", squeeze, "Squeeze")
	add("", unsqueeze, "Unsqueeze")
	add("", transpose, "Transpose")
	add("", concat, "Concat")
	add("", split, "Split")
	add("", slice, "Slice")
	add("", gather, "Gather")
	add("", gatherElements, "GatherElements")
	add("", gatherND, "GatherND")
	add("", expand, "Expand")
	add("", tile, "Tile")
	add("", pad, "Pad")
	add("", shapeOf, "Shape")
	add("", sizeOf, "Size")
	add("", constantNode, "Constant")
	add("", constantOfShape, "ConstantOfShape")
	add("", rangeOf, "Range")
	add("", oneHot, "OneHot")
	add("", nonZero, "NonZero")
	add("", eyeLike, "EyeLike")
	add("", quantize, "QuantizeLinear")
	add("", dequantize, "DequantizeLinear")
	add("", dynamicQuantize, "DynamicQuantizeLinear")

	add("", sameShape, "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Cosh", "CumProd", "LpNormalization",
		"MeanVarianceNormalization", "ReverseSequence", "RotaryEmbedding", "Scatter", "Shrink", "Sinh", "Tan", "TensorScatter")
	add("", elementwise, "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "SwiGLU")
	add("", bitCast, "BitCast")
	add("", affineGrid, "AffineGrid")
	add("", attention, "Attention")
	add("", linearAttention, "LinearAttention")
	add("", causalConv, "CausalConvWithState")
	add("", centerCropPad, "CenterCropPad")
	add("", chosenAxis, "Compress", "Unique")
	add("", col2im, "Col2Im")
	add("", deformConv, "DeformConv")
	add("", determinant, "Det")
	add("", gridSample, "GridSample")
	add("", loss, "NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss")
	add("", maxUnpool, "MaxUnpool")
	add("", melWeights, "MelWeightMatrix")
	add("", nonMaxSuppression, "NonMaxSuppression")
	add("", quantizedConv, "QLinearConv")
	add("", quantizedMatMul, "QLinearMatMul")
	add("", recurrent, "GRU", "LSTM", "RNN")
	add("", roiAlign, "RoiAlign")
	add("", spectrogram, "STFT")
	add("", spectrum, "DFT")
	add("", tfIdf, "TfIdfVectorizer")
	add("", windowFunction, "BlackmanWindow", "HammingWindow", "HannWindow")

	contribRules(add)

	const ml = "ai.onnx.ml"
	add(ml, sameShape, "Binarizer", "Imputer", "Normalizer", "Scaler")
	add(ml, labelEncoder, "LabelEncoder")
	add(ml, categoryMapper, "CategoryMapper")
	add(ml, arrayFeatureExtractor, "ArrayFeatureExtractor")
	add(ml, featureVectorizer, "FeatureVectorizer")
	add(ml, oneHotEncoder, "OneHotEncoder")
	add(ml, linearClassifier, "LinearClassifier")
	add(ml, svmClassifier, "SVMClassifier")
	add(ml, treeClassifier, "TreeEnsembleClassifier")
	add(ml, regressor, "LinearRegressor", "SVMRegressor", "TreeEnsembleRegressor", "TreeEnsemble")
	add(ml, zipMap, "ZipMap")
	return all
}

// sameShape is the rule of operators whose outputs are shaped as their first input.
func sameShape(c *call) error {
	dims, ok := c.shape(0)
	if !ok {
		return nil
	}
	for i := range c.Outputs {
		c.set(i, dims)
	}
	return nil
}
