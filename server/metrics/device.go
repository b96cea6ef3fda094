package metrics

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Device is a device on which a version is loaded, as it was at a moment.
type Device struct {
	ID, Name, Driver string
	Number           int
	Held             uint64             // bytes of its memory that the version's instances hold
	Taken            uint64             // and that their processes take in all; 0 if that is not known
	Figures          map[string]float64 // by their kinds; what is not known is not there
	Read             time.Duration      // the moment, by the machine's monotonic clock
}

var deviceLabels = []string{"device", "uuid"}

func describeDevice(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, append(deviceLabels[:2:2], labels...), nil)
}

var (
	deviceInfo   = describeDevice("thrum_device_info", "1, labelled with the name of the device and the version of its driver.", "name", "driver")
	deviceClock  = describeDevice("thrum_device_clock_hertz", "Clock of the device by what it drives: sm, memory.", "clock")
	deviceErrors = describeDevice("thrum_device_ecc_errors_total", "Errors of the device's memory since its driver was loaded, by kind: corrected, uncorrected.", "kind")
	deviceXids   = describeDevice("thrum_device_xid_errors_total", "Faults of the device that its driver gives a number, the Xid, since they are counted.", "xid")
	throttled    = describeDevice("thrum_device_throttled", "1 while the device's clocks are held down, by reason: power_limit, heat, heat_chip, power_chip, chip, sync.", "reason")

	deviceHeld     = describe("thrum_device_held_bytes", "Memory of a device that the instances of a version hold, by their account.", deviceLabels...)
	deviceTaken    = describe("thrum_device_process_bytes", "Memory of a device that the processes of a version's instances take in all, as the driver counts.", deviceLabels...)
	deviceFailures = describe("thrum_device_failures_total", "Instances that ended because their device answered them no more.")
)

// deviceFigures are the metrics that a device gives, by the kinds of its figures.
var deviceFigures = map[string]struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	label string // the last one's value; empty where there is no other
}{
	"answers":            {describeDevice("thrum_device_up", "1 for a device that answers, 0 for one that is lost or has to be reset."), prometheus.GaugeValue, ""},
	"utilization":        {describeDevice("thrum_device_utilization_ratio", "Share of the time lately in which the device computed anything."), prometheus.GaugeValue, ""},
	"memory_utilization": {describeDevice("thrum_device_memory_utilization_ratio", "Share of the time lately in which the device's memory was read or written."), prometheus.GaugeValue, ""},
	"memory_total":       {describeDevice("thrum_device_memory_total_bytes", "Memory of the device."), prometheus.GaugeValue, ""},
	"memory_used":        {describeDevice("thrum_device_memory_used_bytes", "Memory of the device in use by all processes and by its driver."), prometheus.GaugeValue, ""},
	"memory_free":        {describeDevice("thrum_device_memory_free_bytes", "Memory of the device that is free."), prometheus.GaugeValue, ""},
	"power":              {describeDevice("thrum_device_power_watts", "Power that the device draws."), prometheus.GaugeValue, ""},
	"power_limit":        {describeDevice("thrum_device_power_limit_watts", "Power that the device may draw."), prometheus.GaugeValue, ""},
	"energy":             {describeDevice("thrum_device_energy_joules_total", "Energy that the device has drawn since its driver was loaded."), prometheus.CounterValue, ""},
	"temperature":        {describeDevice("thrum_device_temperature_celsius", "Temperature of the device."), prometheus.GaugeValue, ""},

	"clock":        {deviceClock, prometheus.GaugeValue, "sm"},
	"memory_clock": {deviceClock, prometheus.GaugeValue, "memory"},
	"corrected":    {deviceErrors, prometheus.CounterValue, "corrected"},
	"uncorrected":  {deviceErrors, prometheus.CounterValue, "uncorrected"},

	"throttled_power_limit": {throttled, prometheus.GaugeValue, "power_limit"},
	"throttled_heat":        {throttled, prometheus.GaugeValue, "heat"},
	"throttled_heat_chip":   {throttled, prometheus.GaugeValue, "heat_chip"},
	"throttled_power_chip":  {throttled, prometheus.GaugeValue, "power_chip"},
	"throttled_chip":        {throttled, prometheus.GaugeValue, "chip"},
	"throttled_sync":        {throttled, prometheus.GaugeValue, "sync"},
}

// deviceSampler reads the devices of all versions when Prometheus asks. A device that several versions
// are on is given once, as it was read last.
type deviceSampler struct {
	metrics *Metrics

	mu   sync.Mutex
	last map[string]time.Duration // when each device was read that was given the last time
}

func (s *deviceSampler) Describe(into chan<- *prometheus.Desc) {
	into <- deviceInfo
	into <- deviceHeld
	into <- deviceTaken
	into <- deviceXids
	seen := map[*prometheus.Desc]bool{}
	for _, m := range deviceFigures {
		if !seen[m.desc] {
			into <- m.desc
		}
		seen[m.desc] = true
	}
}

func (s *deviceSampler) Collect(into chan<- prometheus.Metric) {
	versions := s.metrics.metered()
	devices := make([][]Device, len(versions))
	var asked sync.WaitGroup
	for i, v := range versions {
		asked.Go(func() { devices[i] = v.devices() })
	}
	asked.Wait()
	newest := map[string]Device{}
	for i, v := range versions {
		for _, d := range devices[i] {
			into <- prometheus.MustNewConstMetric(deviceHeld, prometheus.GaugeValue, float64(d.Held), v.id.model, v.id.version, strconv.Itoa(d.Number), d.ID)
			if d.Taken > 0 {
				into <- prometheus.MustNewConstMetric(deviceTaken, prometheus.GaugeValue, float64(d.Taken), v.id.model, v.id.version, strconv.Itoa(d.Number), d.ID)
			}
			if known, ok := newest[d.ID]; !ok || d.Read > known.Read {
				newest[d.ID] = d
			}
		}
	}
	for _, d := range s.news(newest) {
		d.collect(into)
	}
}

// news leaves out devices that were read before they were given the last time: what they count would
// seem to have begun anew.
func (s *deviceSampler) news(newest map[string]Device) []Device {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.last
	s.last = map[string]time.Duration{}
	var news []Device
	for id, d := range newest {
		s.last[id] = max(d.Read, last[id])
		if d.Read >= last[id] {
			news = append(news, d)
		}
	}
	return news
}

func (d Device) collect(into chan<- prometheus.Metric) {
	send := func(desc *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		into <- prometheus.MustNewConstMetric(desc, kind, value, append([]string{strconv.Itoa(d.Number), d.ID}, labels...)...)
	}
	send(deviceInfo, prometheus.GaugeValue, 1, d.Name, d.Driver)
	for kind, value := range d.Figures {
		xid, isXid := xidOf(kind)
		switch m, ok := deviceFigures[kind]; {
		case isXid:
			send(deviceXids, prometheus.CounterValue, value, xid)
		case !ok: // a plugin from later knows more
		case m.label == "":
			send(m.desc, m.kind, value)
		default:
			send(m.desc, m.kind, value, m.label)
		}
	}
}

// xidOf returns the number of a fault whose count a figure is.
func xidOf(kind string) (number string, ok bool) {
	number, ok = strings.CutPrefix(kind, "xid_")
	_, err := strconv.ParseUint(number, 10, 16)
	return number, ok && err == nil
}

// metered returns the versions that are on devices which say something of themselves.
func (m *Metrics) metered() []*Version {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var all []*Version
	for _, v := range m.versions {
		if v.devices != nil {
			all = append(all, v)
		}
	}
	return all
}
