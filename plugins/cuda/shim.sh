#!/usr/bin/env bash
# Makes FOLDER/libcuda.a, which stands in for the driver's library at link time: every function
# that include/cuda.h declares, each of which jumps to the driver's own once the program runs. The
# program then needs no driver to be built or to start: without one its calls return
# CUDA_ERROR_STUB_LIBRARY, and CUDA_ERROR_NOT_FOUND where a driver lacks the function.
#
# cuInit never fails: package gorgonia.org/cu calls it before main, and ends the process with a
# message on standard output, which belongs to the plugin's handshake. What cuInit really says is
# learned by package backends/cuda/driver, which asks the driver itself.
set -eu -o pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?usage: shim.sh FOLDER}
cc=${CC:-gcc}
mkdir -p "$folder"
declared() { "$cc" -E -P "$here/include/cuda.h" | grep -o 'CUresult cu[A-Za-z0-9_]*(' | sed 's/CUresult //; s/($//' | grep -vx cuInit | LC_ALL=C sort -u; }
{
  cat <<'HEAD'
#include <dlfcn.h>
#include <stddef.h>

#ifndef __x86_64__
#error "the jumps are written for x86-64"
#endif

static int none(void) { return 34; }  /* CUDA_ERROR_STUB_LIBRARY */
static int lacks(void) { return 500; } /* CUDA_ERROR_NOT_FOUND */
static int no_number(int *n) { *n = 0; return 0; }

static int (*init)(unsigned int);

int cuInit(unsigned int flags) {
  if (init) init(flags);
  return 0;
}

HEAD
  declared | awk '
    { name[NR - 1] = $1 }
    END {
      printf "#define FUNCTIONS %d\n\nstatic const char *const names[FUNCTIONS] = {\n", NR
      for (i = 0; i < NR; i++) printf "  \"%s\",\n", name[i]
      printf "};\n\nvoid *thrum_cuda[FUNCTIONS] __attribute__((visibility(\"hidden\")));\n\n"
      for (i = 0; i < NR; i++)
        printf "__asm__(\".text\\n.globl %s\\n.type %s,@function\\n%s: jmp *thrum_cuda+%d(%%rip)\\n\");\n", name[i], name[i], name[i], 8 * i
    }'
  cat <<'TAIL'

__attribute__((constructor(101))) static void bind(void) {
  void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
  for (int i = 0; i < FUNCTIONS; i++) {
    void *function = driver ? dlsym(driver, names[i]) : NULL;
    thrum_cuda[i] = function ? function : driver ? (void *)lacks : (void *)none;
    if (!driver && (__builtin_strcmp(names[i], "cuDeviceGetCount") == 0 || __builtin_strcmp(names[i], "cuDriverGetVersion") == 0))
      thrum_cuda[i] = (void *)no_number;
  }
  if (driver) *(void **)&init = dlsym(driver, "cuInit");
}
TAIL
} >"$folder/shim.c"
"$cc" -O2 -Wall -Werror -fPIC -c -o "$folder/shim.o" "$folder/shim.c"
rm -f "$folder/libcuda.a"
ar rcsD "$folder/libcuda.a" "$folder/shim.o"
