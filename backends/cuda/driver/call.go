package driver

// call is a function of the driver's library.
type call int

const (
	callInit call = iota
	callDriverGetVersion
	callGetErrorName
	callGetErrorString
	callDeviceGetUUID
	callMemHostAlloc
	callMemFreeHost
	callMemHostRegister
	callMemHostUnregister
	callStreamBeginCapture
	callStreamEndCapture
	callGraphInstantiate
	callGraphLaunch
	callGraphExecDestroy
	callGraphDestroy
	callFuncSetAttribute
	callDeviceGetDefaultMemPool
	callMemPoolTrimTo
	callMemAllocAsync
	callMemFreeAsync
	callMemGetGranularity
	callMemCreate
	callMemRelease
	callMemExport
	callMemImport
	callMemAddressReserve
	callMemAddressFree
	callMemMap
	callMemUnmap
	callMemSetAccess

	calls
)

// names are the symbols: where the library has several forms of a function, the one that CUDA 12
// describes.
var names = [calls]string{
	callInit:                    "cuInit",
	callDriverGetVersion:        "cuDriverGetVersion",
	callGetErrorName:            "cuGetErrorName",
	callGetErrorString:          "cuGetErrorString",
	callDeviceGetUUID:           "cuDeviceGetUuid_v2",
	callMemHostAlloc:            "cuMemHostAlloc",
	callMemFreeHost:             "cuMemFreeHost",
	callMemHostRegister:         "cuMemHostRegister_v2",
	callMemHostUnregister:       "cuMemHostUnregister",
	callStreamBeginCapture:      "cuStreamBeginCapture_v2",
	callStreamEndCapture:        "cuStreamEndCapture",
	callGraphInstantiate:        "cuGraphInstantiateWithFlags",
	callGraphLaunch:             "cuGraphLaunch",
	callGraphExecDestroy:        "cuGraphExecDestroy",
	callGraphDestroy:            "cuGraphDestroy",
	callFuncSetAttribute:        "cuFuncSetAttribute",
	callDeviceGetDefaultMemPool: "cuDeviceGetDefaultMemPool",
	callMemPoolTrimTo:           "cuMemPoolTrimTo",
	callMemAllocAsync:           "cuMemAllocAsync",
	callMemFreeAsync:            "cuMemFreeAsync",
	callMemGetGranularity:       "cuMemGetAllocationGranularity",
	callMemCreate:               "cuMemCreate",
	callMemRelease:              "cuMemRelease",
	callMemExport:               "cuMemExportToShareableHandle",
	callMemImport:               "cuMemImportFromShareableHandle",
	callMemAddressReserve:       "cuMemAddressReserve",
	callMemAddressFree:          "cuMemAddressFree",
	callMemMap:                  "cuMemMap",
	callMemUnmap:                "cuMemUnmap",
	callMemSetAccess:            "cuMemSetAccess",
}
