/* Preloaded into a process under test: its wall clock and its disk do what a file says.
 *
 * SHIM_FILE names a file of three 64-bit integers, mapped and read anew at each call:
 *   offset_us   added to every reading of the wall clock; the monotonic clocks stay as they are
 *   stall_us    how long fsync and fdatasync wait before they do their work
 *   error       errno that fsync and fdatasync fail with, 0 for none
 * It must not know what it is loaded into. System calls are made directly: a lookup of the real functions could
 * itself ask for the time.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct orders {
    volatile int64_t offset_us, stall_us, error;
};

static struct orders none, *orders = &none;

__attribute__((constructor)) static void open_orders(void) {
    const char *path = getenv("SHIM_FILE");
    int descriptor = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (descriptor < 0) return;
    void *mapped = mmap(NULL, sizeof none, PROT_READ, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (mapped != MAP_FAILED) orders = mapped;
}

int clock_gettime(clockid_t id, struct timespec *out) {
    int result = syscall(SYS_clock_gettime, id, out);
    if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
        int64_t us = out->tv_sec * 1000000LL + out->tv_nsec / 1000 + orders->offset_us;
        out->tv_sec = us / 1000000;
        out->tv_nsec = us % 1000000 * 1000 + out->tv_nsec % 1000;
    }
    return result;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}

static int sync_as_ordered(long call, int descriptor) {
    int64_t stall_us = orders->stall_us;
    struct timespec left = {stall_us / 1000000, stall_us % 1000000 * 1000};
    while (stall_us && syscall(SYS_nanosleep, &left, &left) == -1 && errno == EINTR) {}
    if (orders->error) {
        errno = orders->error;
        return -1;
    }
    return syscall(call, descriptor);
}

int fsync(int descriptor) { return sync_as_ordered(SYS_fsync, descriptor); }
int fdatasync(int descriptor) { return sync_as_ordered(SYS_fdatasync, descriptor); }
