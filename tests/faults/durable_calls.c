/* Counts the system calls by which a process changes files, and lets the N-th of them kill the process or fail.
 *
 * Preloaded into a process (LD_PRELOAD). `arm(n, error, persistent)` begins to count: at the n-th call the process is
 * killed by SIGKILL (error 0), or the call fails with the error (once, or from then on). `counted()` returns the calls
 * since `arm`. Reads and closes are not counted: they change nothing.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static long at = -1, calls = 0;
static int error_number = 0, goes_on = 0;

void arm(long n, int error, int persistent) { at = n; error_number = error; goes_on = persistent; calls = 0; }
long counted(void) { return calls; }

/* Return whether this call shall fail. */
static int strikes(void) {
    if (at < 0) return 0;
    calls++;
    if (calls != at && !(goes_on && calls > at)) return 0;
    if (error_number == 0) kill(getpid(), SIGKILL);
    errno = error_number;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fsync(int fd) { return strikes() ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return strikes() ? -1 : REAL(fdatasync)(fd); }
int rename(const char *from, const char *to) { return strikes() ? -1 : REAL(rename)(from, to); }
int renameat(int a, const char *from, int b, const char *to) { return strikes() ? -1 : REAL(renameat)(a, from, b, to); }
int link(const char *from, const char *to) { return strikes() ? -1 : REAL(link)(from, to); }
int linkat(int a, const char *from, int b, const char *to, int f) { return strikes() ? -1 : REAL(linkat)(a, from, b, to, f); }
int symlink(const char *to, const char *name) { return strikes() ? -1 : REAL(symlink)(to, name); }
int unlink(const char *path) { return strikes() ? -1 : REAL(unlink)(path); }
int unlinkat(int fd, const char *path, int flags) { return strikes() ? -1 : REAL(unlinkat)(fd, path, flags); }
int rmdir(const char *path) { return strikes() ? -1 : REAL(rmdir)(path); }
int mkdir(const char *path, mode_t mode) { return strikes() ? -1 : REAL(mkdir)(path, mode); }
int ftruncate(int fd, off_t size) { return strikes() ? -1 : REAL(ftruncate)(fd, size); }
int ftruncate64(int fd, off64_t size) { return strikes() ? -1 : REAL(ftruncate64)(fd, size); }

/* Only files count: a pipe or a terminal is no durable thing. */
ssize_t write(int fd, const void *data, size_t size) {
    struct stat about;
    if (at >= 0 && fstat(fd, &about) == 0 && S_ISREG(about.st_mode) && strikes()) {
        if (error_number == 0) _exit(1);
        return -1;
    }
    return REAL(write)(fd, data, size);
}

static int opens(const char *path, int flags, mode_t mode, int fd, int wide, int at_folder) {
    if ((flags & O_CREAT) && strikes()) return -1;
    if (at_folder) return wide ? REAL(openat64)(fd, path, flags, mode) : REAL(openat)(fd, path, flags, mode);
    return wide ? REAL(open64)(path, flags, mode) : REAL(open)(path, flags, mode);
}

#define MODE(flags, last) mode_t mode = 0; if ((flags) & O_CREAT) { va_list more; va_start(more, last); mode = va_arg(more, mode_t); va_end(more); }
int open(const char *path, int flags, ...) { MODE(flags, flags) return opens(path, flags, mode, 0, 0, 0); }
int open64(const char *path, int flags, ...) { MODE(flags, flags) return opens(path, flags, mode, 0, 1, 0); }
int openat(int fd, const char *path, int flags, ...) { MODE(flags, flags) return opens(path, flags, mode, fd, 0, 1); }
int openat64(int fd, const char *path, int flags, ...) { MODE(flags, flags) return opens(path, flags, mode, fd, 1, 1); }
