// NVIDIA's management library without a device, for tests: libnvidia-ml.so.1 with the functions that are
// called. FAKE_NVML in the environment, or fake_nvml_configure, holds settings such as "init=9 ecc=3": what
// functions return. With OLD it is a library of before some of them.
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { INVALID = 2, UNSUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, TIMEOUT = 10, VERSION = 25 };
static struct { long init, driver, result, utilization, power, ecc, mig, hang, events, process; } set;
static char faults[256]; // a file
static long asked;

void fake_nvml_configure(const char *text) {
  struct { const char *name; long *value; } keys[] = {{"init", &set.init}, {"driver", &set.driver}, {"result", &set.result}, {"utilization", &set.utilization}, {"power", &set.power}, {"ecc", &set.ecc}, {"mig", &set.mig}, {"hang", &set.hang}, {"events", &set.events}, {"process", &set.process}};
  for (unsigned i = 0; text && i < sizeof keys / sizeof *keys; i++) {
    const char *at = strstr(text, keys[i].name);
    if (at && at[strlen(keys[i].name)] == '=') *keys[i].value = atol(at + strlen(keys[i].name) + 1);
  }
  const char *file = text ? strstr(text, "faults=") : NULL;
  if (file) sscanf(file, "faults=%255s", faults);
}
__attribute__((constructor)) static void from_environment(void) { fake_nvml_configure(getenv("FAKE_NVML")); }
long fake_nvml_asked(void) { return asked; } // how often for utilisation

int nvmlInit_v2(void) { return set.init; }
const char *nvmlErrorString(int r) {
  return r == 9 ? "Driver Not Loaded" : r == NOT_FOUND ? "Not Found" : NULL;
}
int nvmlSystemGetDriverVersion(char *text, unsigned n) {
  if (n < 10) return TOO_SMALL;
  strcpy(text, "580.65.06");
  return set.driver;
}
// Devices have a UUID that ends in their number, of eight.
static int devices[8];
int nvmlDeviceGetHandleByUUID(const char *uuid, int **device) {
  char known[64];
  for (int i = 0; i < 8; i++) {
    snprintf(known, sizeof known, "%s-ab010203-0405-0607-0809-0a0b0c0d0e%02x", set.mig ? "MIG" : "GPU", i);
    if (strcmp(uuid, known) == 0) { *device = &devices[i]; return 0; }
  }
  return NOT_FOUND;
}
#define OF(device) if ((device) < devices || (device) >= devices + 8) return INVALID; if (set.result) return set.result
#define PART(setting) if (setting) return setting

int nvmlDeviceGetUtilizationRates(int *device, unsigned *percent) {
  asked++;
  while (set.hang) sleep(1000);
  OF(device);
  PART(set.utilization);
  percent[0] = 87, percent[1] = 41;
  return 0;
}
int nvmlDeviceGetMemoryInfo(int *device, unsigned long long *bytes) {
  OF(device);
  bytes[0] = 85ull << 30, bytes[1] = 60ull << 30, bytes[2] = 25ull << 30;
  return 0;
}
int nvmlDeviceGetPowerUsage(int *device, unsigned *milliwatts) { OF(device); PART(set.power); *milliwatts = 312500; return 0; }
int nvmlDeviceGetEnforcedPowerLimit(int *device, unsigned *milliwatts) { OF(device); *milliwatts = 700000; return 0; }
int nvmlDeviceGetTemperature(int *device, int sensor, unsigned *celsius) { OF(device); *celsius = 66; return sensor ? INVALID : 0; }
int nvmlDeviceGetClockInfo(int *device, int clock, unsigned *mhz) {
  OF(device);
  *mhz = clock == 1 ? 1980 : 2619;
  return clock == 1 || clock == 2 ? 0 : INVALID;
}
int nvmlDeviceGetTotalEccErrors(int *device, int kind, int counter, unsigned long long *n) {
  OF(device);
  PART(set.ecc);
  *n = kind ? 1ull << 33 : 7;
  return counter ? INVALID : 0;
}

// Processes: another, and this one, which takes so many bytes.
struct process { unsigned pid; unsigned long long bytes; unsigned instance, compute; };
int nvmlDeviceGetComputeRunningProcesses_v3(int *device, unsigned *n, struct process *all) {
  OF(device);
  if (!set.process || sizeof *all != 24) return UNSUPPORTED;
  if (*n < 2) return TOO_SMALL;
  *n = 2;
  all[0] = (struct process){1, 1, ~0u, ~0u};
  all[1] = (struct process){getpid(), set.process, ~0u, ~0u};
  return 0;
}

// A set of events has those of one device: the numbers that are written into the file since it was registered.
struct set { int *device; long at; };
static long size(void) {
  FILE *f = faults[0] ? fopen(faults, "r") : NULL;
  if (!f) return 0;
  fseek(f, 0, SEEK_END);
  long n = ftell(f);
  fclose(f);
  return n;
}
int nvmlEventSetCreate(struct set **s) { *s = calloc(1, sizeof **s); return 0; }
int nvmlEventSetFree(struct set *s) { free(s); return 0; }
int nvmlDeviceRegisterEvents(int *device, unsigned long long kinds, struct set *s) {
  OF(device);
  PART(set.events);
  if (set.mig || !faults[0]) return UNSUPPORTED;
  if (kinds != 8 || s->device) return INVALID;
  s->device = device, s->at = size();
  return 0;
}
struct event { int *device; unsigned long long kind, data; unsigned instance, compute; };
int nvmlEventSetWait_v2(struct set *s, struct event *e, unsigned patience) {
  if (!s || !s->device || sizeof *e != 32) return INVALID;
  for (unsigned i = 0; i <= patience; i++) {
    FILE *f = size() > s->at ? fopen(faults, "r") : NULL;
    if (f) {
      unsigned long long xid = 0;
      fseek(f, s->at, SEEK_SET);
      int known = fscanf(f, "%llu\n", &xid);
      s->at = ftell(f);
      fclose(f);
      *e = (struct event){s->device, known == 1 ? 8 : 4, xid, ~0u, ~0u}; // a word is an event of another kind
      if (known != 1) s->at = size();
      return 0;
    }
    usleep(1000);
  }
  return TIMEOUT;
}
static int reasons(int *device, unsigned long long *bits) { OF(device); *bits = 1 | 4 | 0x40; return 0; }
int nvmlDeviceGetCurrentClocksThrottleReasons(int *device, unsigned long long *bits) { return reasons(device, bits); }
#ifndef OLD
int nvmlDeviceGetCurrentClocksEventReasons(int *device, unsigned long long *bits) { return reasons(device, bits); }
int nvmlDeviceGetTotalEnergyConsumption(int *device, unsigned long long *millijoules) { OF(device); *millijoules = 5000000123456ull; return 0; }
struct temperature { unsigned version; int sensor, celsius; };
int nvmlDeviceGetTemperatureV(int *device, struct temperature *t) {
  OF(device);
  if (t->version != (12 | 1 << 24)) return VERSION;
  t->celsius = -3;
  return t->sensor ? INVALID : 0;
}
#endif
