/* Counts the calls of a program that change what is on the disk below FAULTS_ROOT, and lets one of them go wrong.
 *
 * FAULTS_AT=N        the N-th of these calls, from 1
 * FAULTS_KIND=kill   the program is killed before it, a write in its middle
 *            =ERRNO  it fails with this number, once
 * FAULTS_LOG=FILE    holds the call after it happened
 * FAULTS_EXDEV=1     folders cannot be renamed, as in the layers of a container
 * FAULTS_NO_LOCKS=1  the file system has no locks
 * FAULTS_NO_LINKS=1  the file system has no hard links
 * FAULTS_SLOW=MS     each fsync takes so long
 * FAULTS_HANG=NAME   opening a file whose path ends so takes for ever, wherever it is
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static long calls;

static int is_set(const char *name) { return getenv(name) != NULL; }

static int below_root(const char *path) {
    const char *root = getenv("FAULTS_ROOT");
    size_t length = root ? strlen(root) : 0;
    return length && !strncmp(path, root, length) && (path[length] == 0 || path[length] == '/');
}

/* The path of a name in an open folder, or of an open file if there is no name. */
static const char *whole(int fd, const char *name, char *buffer) {
    char link[64];
    ssize_t length;
    if (name && (name[0] == '/' || fd == AT_FDCWD)) return name;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, buffer, PATH_MAX - 1);
    buffer[length < 0 ? 0 : length] = 0;
    if (length > 0 && name && strlen(buffer) + strlen(name) + 2 < PATH_MAX) {
        strcat(buffer, "/");
        strcat(buffer, name);
    }
    return buffer;
}

static void report(const char *call, const char *path) {
    const char *log = getenv("FAULTS_LOG");
    char line[PATH_MAX + 64];
    int length = snprintf(line, sizeof line, "%s %s\n", call, path);
    int fd = log ? (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND, 0666) : -1;
    if (fd >= 0) {
        syscall(SYS_write, fd, line, (size_t)length);
        syscall(SYS_close, fd);
    }
}

/* 0: go on; -1: it is this call's turn to be killed; else the number of the error. */
static int fault(const char *call, int fd, const char *name) {
    char buffer[PATH_MAX];
    const char *path, *at = getenv("FAULTS_AT"), *kind = getenv("FAULTS_KIND");
    int before = errno;
    if (!at || !kind) return 0;
    path = whole(fd, name, buffer);
    errno = before;
    if (!below_root(path) || __sync_add_and_fetch(&calls, 1) != atol(at)) return 0;
    report(call, path);
    errno = before;
    return strcmp(kind, "kill") ? atoi(kind) : -1;
}

static void die(void) { syscall(SYS_kill, getpid(), SIGKILL); for (;;) pause(); }

#define REAL(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))
#define TURN(call, fd, name)                    \
    switch (fault(call, fd, name)) {            \
        case 0: break;                          \
        case -1: die();                         \
        default: errno = atoi(getenv("FAULTS_KIND")); return -1; \
    }

static void hang(const char *path) {
    const char *name = getenv("FAULTS_HANG");
    size_t length = strlen(path), end = name ? strlen(name) : 0;
    if (end && length >= end && !strcmp(path + length - end, name)) for (;;) pause();
}

static int writes(int flags) { return (flags & O_ACCMODE) != O_RDONLY || flags & O_CREAT; }

#define OPEN(name)                                                      \
    int name(const char *path, int flags, ...) {                        \
        va_list rest; mode_t mode;                                      \
        va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); \
        hang(path);                                                     \
        if (writes(flags)) TURN("open", AT_FDCWD, path)                 \
        return REAL(int, #name, const char *, int, ...)(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                    \
    int name(int fd, const char *path, int flags, ...) {                \
        va_list rest; mode_t mode;                                      \
        va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); \
        hang(path);                                                     \
        if (writes(flags)) TURN("open", fd, path)                       \
        return REAL(int, #name, int, const char *, int, ...)(fd, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

int mkdir(const char *path, mode_t mode) {
    if (access(path, F_OK)) TURN("mkdir", AT_FDCWD, path)
    return REAL(int, "mkdir", const char *, mode_t)(path, mode);
}
/* What is not there is not removed: these calls change nothing. */
int unlink(const char *path) {
    if (!access(path, F_OK)) TURN("unlink", AT_FDCWD, path)
    return REAL(int, "unlink", const char *)(path);
}
int rmdir(const char *path) {
    if (!access(path, F_OK)) TURN("rmdir", AT_FDCWD, path)
    return REAL(int, "rmdir", const char *)(path);
}
int unlinkat(int fd, const char *path, int flags) {
    if (!faccessat(fd, path, F_OK, AT_SYMLINK_NOFOLLOW)) TURN("unlink", fd, path)
    return REAL(int, "unlinkat", int, const char *, int)(fd, path, flags);
}
int rename(const char *from, const char *to) {
    struct stat found;
    TURN("rename", AT_FDCWD, to)
    if (is_set("FAULTS_EXDEV") && below_root(from) && !stat(from, &found) && S_ISDIR(found.st_mode)) {
        errno = EXDEV;
        return -1;
    }
    return REAL(int, "rename", const char *, const char *)(from, to);
}
int linkat(int a, const char *from, int b, const char *to, int flags) {
    TURN("link", b, to)
    if (is_set("FAULTS_NO_LINKS")) { errno = EPERM; return -1; }
    return REAL(int, "linkat", int, const char *, int, const char *, int)(a, from, b, to, flags);
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }
int fchmod(int fd, mode_t mode) {
    TURN("chmod", fd, NULL)
    return REAL(int, "fchmod", int, mode_t)(fd, mode);
}
int fsync(int fd) {
    if (is_set("FAULTS_SLOW")) usleep(1000 * atoi(getenv("FAULTS_SLOW")));
    TURN("fsync", fd, NULL)
    return REAL(int, "fsync", int)(fd);
}
int ftruncate64(int fd, off64_t size) {
    TURN("truncate", fd, NULL)
    return REAL(int, "ftruncate64", int, off64_t)(fd, size);
}

#define BYTES()                                                         \
    switch (fault("write", fd, NULL)) {                                 \
        case 0: break;                                                  \
        case -1: if (half) syscall(SYS_write, fd, start, half); die();  \
        default: errno = atoi(getenv("FAULTS_KIND")); return -1;        \
    }
ssize_t write(int fd, const void *start, size_t size) {
    size_t half = size / 2;
    BYTES()
    return REAL(ssize_t, "write", int, const void *, size_t)(fd, start, size);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    size_t half = count ? parts[0].iov_len / 2 : 0;
    const void *start = count ? parts[0].iov_base : NULL;
    BYTES()
    return REAL(ssize_t, "writev", int, const struct iovec *, int)(fd, parts, count);
}
ssize_t copy_file_range(int from, off64_t *a, int fd, off64_t *b, size_t size, unsigned flags) {
    size_t half = 0;
    const void *start = NULL;
    BYTES()
    return REAL(ssize_t, "copy_file_range", int, off64_t *, int, off64_t *, size_t, unsigned)(from, a, fd, b, size, flags);
}

int flock(int fd, int operation) {
    char buffer[PATH_MAX];
    if (is_set("FAULTS_NO_LOCKS") && below_root(whole(fd, NULL, buffer))) { errno = EOPNOTSUPP; return -1; }
    return REAL(int, "flock", int, int)(fd, operation);
}
