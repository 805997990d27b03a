/* Preloaded into a process under test: its wall clock, its disk and its scheduler do what a file says.
 *
 * SHIM_FILE names a file of four 64-bit integers, mapped and read anew at each call:
 *   offset_us   added to every reading of the wall clock; the monotonic clocks stay as they are
 *   stall_us    how long fsync and fdatasync wait before they do their work
 *   error       errno that fsync and fdatasync fail with, 0 for none
 *   task_error  errno that fork, vfork and pthread_create fail with, 0 for none
 * It must not know what it is loaded into. System calls are made directly: a lookup of the real functions could
 * itself ask for the time.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct orders {
    volatile int64_t offset_us, stall_us, error, task_error;
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

pid_t fork(void) {
    if (orders->task_error) {
        errno = orders->task_error;
        return -1;
    }
    return ((pid_t(*)(void))dlsym(RTLD_NEXT, "fork"))();
}

/* The real vfork cannot be called from a function that returns. */
pid_t vfork(void) { return fork(); }

int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attributes, void *(*run)(void *),
                   void *restrict argument) {
    if (orders->task_error) return orders->task_error;
    return ((int (*)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *))dlsym(
        RTLD_NEXT, "pthread_create"))(thread, attributes, run, argument);
}
