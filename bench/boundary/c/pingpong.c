/* Two processes pass a number to and fro through shared memory, and wait for it as package shm
   does: adaptively, or as the argument says with a spin or with a sleep alone. It is the least
   that any protocol with that wake-up can cost. Reads a number of nanoseconds a line, and answers
   each with how many exchanges it made in that time and how many nanoseconds they took. */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct line { _Alignas(128) _Atomic uint64_t n; };
struct word { _Alignas(128) _Atomic uint32_t n; };
struct end { struct line message; struct word asleep; };

static enum { ADAPTIVE, SPIN, SLEEP } way;

/* In nanoseconds, but for the last two, which are waits. */
enum { MAX_SPIN = 10000, MIN_SPIN = 500, WAKE_SPIN = 60000, ONLY_SPIN = 1000000, INTERRUPTION = 20000, MIN_OFF = 4, MAX_OFF = 128 };

struct spin { int64_t budget; int off, pause; };

static int64_t now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void pause_(void) {
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("isb");
#endif
}

static int64_t next(struct spin *s, int roused) {
	if (way != ADAPTIVE) return way == SPIN ? ONLY_SPIN : 0;
	if (s->off > 0) {
		s->off--;
		return 0;
	}
	return roused ? WAKE_SPIN : s->budget;
}

static int spun(struct spin *s, struct end *e, uint64_t want, int roused) {
	int64_t budget = next(s, roused), begin = now(), spent = 0;
	int interrupted = 0;
	while (spent < budget) {
		for (int i = 0; i < 8; i++) {
			pause_();
			if (atomic_load(&e->message.n) == want) {
				s->budget = 2 * s->budget < MAX_SPIN ? 2 * s->budget : MAX_SPIN;
				s->pause = s->pause / 2 > MIN_OFF ? s->pause / 2 : MIN_OFF;
				return 1;
			}
		}
		int64_t t = now() - begin;
		interrupted |= t - spent > INTERRUPTION;
		spent = t;
	}
	s->budget /= 2;
	if (budget > 0 && (s->budget < MIN_SPIN || roused || interrupted)) {
		s->budget = MAX_SPIN;
		s->off = s->pause;
		s->pause = 2 * s->pause < MAX_OFF ? 2 * s->pause : MAX_OFF;
	}
	return 0;
}

static void receive(struct spin *s, struct end *e, uint64_t want, int roused) {
	struct timespec most = {0, 100000000};
	while (atomic_load(&e->message.n) != want) {
		if (spun(s, e, want, roused)) return;
		roused = 0;
		atomic_store(&e->asleep.n, 1);
		if (atomic_load(&e->message.n) != want)
			syscall(SYS_futex, &e->asleep.n, FUTEX_WAIT, 1, &most, 0, 0);
		atomic_store(&e->asleep.n, 0);
	}
}

/* Returns whether it had to wake who receives. */
static int send(struct end *e, uint64_t n) {
	atomic_store(&e->message.n, n);
	if (!atomic_load(&e->asleep.n) || !atomic_exchange(&e->asleep.n, 0)) return 0;
	syscall(SYS_futex, &e->asleep.n, FUTEX_WAKE, 1, 0, 0, 0);
	return 1;
}

int main(int argc, char **argv) {
	if (argc > 1) way = !strcmp(argv[1], "spin") ? SPIN : !strcmp(argv[1], "sleep") ? SLEEP : ADAPTIVE;
	struct end *ends = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (ends == MAP_FAILED) return 1;
	struct spin s = {MAX_SPIN, 0, MIN_OFF};
	pid_t parent = getpid(), child = fork();
	if (child < 0) return 1;
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent) return 1;
		int roused = 0;
		for (uint64_t n = 1;; n++) {
			receive(&s, &ends[0], n, roused);
			roused = send(&ends[1], n);
		}
	}
	printf("%d\n", child);
	fflush(stdout);
	uint64_t n = 0;
	for (long long ns; scanf("%lld", &ns) == 1;) {
		int64_t begin = now(), took;
		uint64_t first = n;
		do {
			for (int i = 0; i < 16; i++) {
				int roused = send(&ends[0], ++n);
				receive(&s, &ends[1], n, roused);
			}
		} while ((took = now() - begin) < ns);
		printf("%llu %lld\n", (unsigned long long)(n - first), (long long)took);
		fflush(stdout);
	}
	kill(child, SIGKILL);
	return 0;
}
