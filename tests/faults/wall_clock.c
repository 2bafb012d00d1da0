/* Moves the wall clock of a process by the seconds that the file named by WALL_CLOCK holds; the clock can jump at any time.
 *
 * Preloaded (LD_PRELOAD). Only the wall clock jumps: monotonic clocks do not, as on a machine whose clock is set.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long moved(void) {
    static int file = -2;
    char text[32] = {0};
    if (file == -2) {
        const char *name = getenv("WALL_CLOCK");
        file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    }
    return file >= 0 && pread(file, text, sizeof text - 1, 0) > 0 ? atol(text) : 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = REAL(clock_gettime)(clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += moved();
    return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
    int failed = REAL(gettimeofday)(now, zone);
    if (!failed) now->tv_sec += moved();
    return failed;
}

time_t time(time_t *place) {
    time_t now = REAL(time)(NULL) + moved();
    if (place) *place = now;
    return now;
}
