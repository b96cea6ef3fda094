package nvml

// call is a function of the library.
type call int

const (
	callInit call = iota
	callErrorString
	callDriverVersion
	callHandleByUUID
	callUtilization
	callMemory
	callPower
	callPowerLimit
	callEnergy
	callTemperatureV
	callTemperature
	callClock
	callECC
	callEventReasons
	callThrottleReasons
	callEventSetCreate
	callRegisterEvents
	callEventSetWait
	callEventSetFree
	callProcesses

	calls
)

// names are the symbols. The library lacks those that it is too old for, or too new.
var names = [calls]string{
	callInit:            "nvmlInit_v2",
	callErrorString:     "nvmlErrorString",
	callDriverVersion:   "nvmlSystemGetDriverVersion",
	callHandleByUUID:    "nvmlDeviceGetHandleByUUID",
	callUtilization:     "nvmlDeviceGetUtilizationRates",
	callMemory:          "nvmlDeviceGetMemoryInfo",
	callPower:           "nvmlDeviceGetPowerUsage",
	callPowerLimit:      "nvmlDeviceGetEnforcedPowerLimit",
	callEnergy:          "nvmlDeviceGetTotalEnergyConsumption",
	callTemperatureV:    "nvmlDeviceGetTemperatureV",
	callTemperature:     "nvmlDeviceGetTemperature", // going since 13.0
	callClock:           "nvmlDeviceGetClockInfo",
	callECC:             "nvmlDeviceGetTotalEccErrors",
	callEventReasons:    "nvmlDeviceGetCurrentClocksEventReasons",
	callThrottleReasons: "nvmlDeviceGetCurrentClocksThrottleReasons", // going since 13.0
	callEventSetCreate:  "nvmlEventSetCreate",
	callRegisterEvents:  "nvmlDeviceRegisterEvents",
	callEventSetWait:    "nvmlEventSetWait_v2",
	callEventSetFree:    "nvmlEventSetFree",
	callProcesses:       "nvmlDeviceGetComputeRunningProcesses_v3",
}

// result is what a function returns, an nvmlReturn_t.
type result int32

const (
	success          result = 0
	notFound         result = 6
	timedOut         result = 10
	functionNotFound result = 13
	isLost           result = 15
	resetRequired    result = 16
)
