/* Faults in the calls of libc that reach files below one folder; loaded with LD_PRELOAD.

   Calls are counted from the moment that a fault is armed. The fault strikes from the first to the
   last of the given numbers: it fails, shortens or delays the call, moves a folder away, or kills
   the process. What has been counted is kept in memory that a process shares with those it forks,
   so that a parent sees how far a child has come that was killed. See file_faults.py. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_CALLS 8192
#define NAME_BYTES 160
#define BLOCK_BYTES 4096 /* what O_DIRECT writes are multiples of */

struct call {
    char text[NAME_BYTES]; /* operation and path, below the folder */
    atomic_int thread;
    atomic_int is_done;
};

static struct {
    atomic_int is_armed;
    char folder[PATH_MAX];
    char part[NAME_BYTES];
    char operations[NAME_BYTES];
    char action[NAME_BYTES];
    char target[PATH_MAX];
    long first, last;
    int number;
    atomic_long calls, struck;
    struct call history[MAX_CALLS];
} *shared;

/* One call that is under way. */
struct moment {
    long index; /* -1: it is none of ours */
    int is_struck;
};

static int is(const char *action) { return strcmp(shared->action, action) == 0; }

static void die(void) {
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

static int is_below(const char *path) {
    size_t length = strlen(shared->folder);
    return strncmp(path, shared->folder, length) == 0 && (path[length] == '/' || !path[length]);
}

static void path_of_descriptor(int descriptor, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = syscall(SYS_readlink, link, path, PATH_MAX - 1);
    path[length > 0 ? length : 0] = '\0';
}

static void path_at(int folder, const char *name, char *path) {
    char base[PATH_MAX];
    if (name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
    } else if (folder == AT_FDCWD) {
        if (!getcwd(base, sizeof base)) base[0] = '\0';
        if (snprintf(path, PATH_MAX, "%s/%s", base, name) >= PATH_MAX) path[0] = '\0';
    } else {
        path_of_descriptor(folder, base);
        if (snprintf(path, PATH_MAX, "%s/%s", base, name) >= PATH_MAX) path[0] = '\0';
    }
}

static struct moment begin_path(const char *operation, const char *path) {
    struct moment moment = {-1, 0};
    char word[NAME_BYTES];
    snprintf(word, sizeof word, " %s ", operation);
    if (!is_below(path) || !strstr(shared->operations, word)) return moment;
    path += strlen(shared->folder);
    if (!strstr(path, shared->part)) return moment;
    moment.index = atomic_fetch_add(&shared->calls, 1);
    struct call *call = &shared->history[moment.index % MAX_CALLS];
    atomic_store(&call->is_done, 0);
    atomic_store(&call->thread, (int)syscall(SYS_gettid));
    snprintf(call->text, sizeof call->text, "%s %s", operation, path);
    long count = moment.index + 1;
    if (count < shared->first || count > shared->last) return moment;
    moment.is_struck = 1;
    atomic_fetch_add(&shared->struck, 1);
    if (is("kill")) die();
    if (is("sleep")) usleep(1000 * shared->number);
    if (is("vanish")) {
        char gone[PATH_MAX];
        if (snprintf(gone, sizeof gone, "%s.gone", shared->target) < PATH_MAX)
            syscall(SYS_rename, shared->target, gone);
    }
    return moment;
}

static struct moment begin_at(const char *operation, int folder, const char *name) {
    char path[PATH_MAX];
    if (!shared || !atomic_load(&shared->is_armed)) return (struct moment){-1, 0};
    path_at(folder, name, path);
    return begin_path(operation, path);
}

static struct moment begin_descriptor(const char *operation, int descriptor) {
    char path[PATH_MAX];
    if (!shared || !atomic_load(&shared->is_armed)) return (struct moment){-1, 0};
    path_of_descriptor(descriptor, path);
    return begin_path(operation, path);
}

static int fails(struct moment moment) { return moment.is_struck && is("fail"); }

/* Set errno and say whether the call, though done, is to be reported as failed. */
static int end(struct moment moment) {
    int saved = errno;
    if (moment.index >= 0) atomic_store(&shared->history[moment.index % MAX_CALLS].is_done, 1);
    if (moment.is_struck && is("kill_after")) die();
    errno = saved;
    if (!fails(moment) && !(moment.is_struck && is("fail_after"))) return 0;
    errno = shared->number;
    return 1;
}

static size_t shortened(struct moment moment, int descriptor, size_t length) {
    if (!moment.is_struck || !is("shorten") || length < 2) return length;
    if (length >= 2 * BLOCK_BYTES) return length / 2 / BLOCK_BYTES * BLOCK_BYTES;
    return fcntl(descriptor, F_GETFL) & O_DIRECT ? length : length / 2;
}

/* Define `name` as libc's function of that name between `begin_…` and `end`. */
#define WRAP(type, failure, name, parameters, arguments, begin)                     \
    type name parameters {                                                          \
        static type(*real) parameters;                                              \
        if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name);                       \
        struct moment moment = begin;                                               \
        type result = fails(moment) ? failure : real arguments;                     \
        return end(moment) ? failure : result;                                      \
    }

#define WRAP_OPEN(name, parameters, folder, arguments)                              \
    int name parameters {                                                           \
        static int(*real) parameters;                                               \
        if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name);                       \
        mode_t mode = 0;                                                            \
        if (flags & (O_CREAT | __O_TMPFILE)) {                                      \
            va_list rest;                                                           \
            va_start(rest, flags);                                                  \
            mode = va_arg(rest, mode_t);                                            \
            va_end(rest);                                                           \
        }                                                                           \
        int is_reading = (flags & O_ACCMODE) == O_RDONLY && !(flags & O_CREAT);     \
        struct moment moment = begin_at(is_reading ? "open" : "create", folder, path); \
        int result = fails(moment) ? -1 : real arguments;                           \
        return end(moment) ? -1 : result;                                           \
    }

#define WRAP_TRANSFER(name, operation, parameters, arguments)                       \
    ssize_t name parameters {                                                       \
        static ssize_t(*real) parameters;                                           \
        if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name);                       \
        struct moment moment = begin_descriptor(operation, descriptor);             \
        length = shortened(moment, descriptor, length);                             \
        ssize_t result = fails(moment) ? -1 : real arguments;                       \
        return end(moment) ? -1 : result;                                           \
    }

/* Of several pieces a shortened call takes the first half of the first one. */
#define WRAP_VECTOR(name, operation, parameters, arguments)                         \
    ssize_t name parameters {                                                       \
        static ssize_t(*real) parameters;                                           \
        if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name);                       \
        struct moment moment = begin_descriptor(operation, descriptor);             \
        struct iovec piece;                                                         \
        if (moment.is_struck && is("shorten") && count > 0) {                       \
            piece = pieces[0];                                                      \
            piece.iov_len = shortened(moment, descriptor, piece.iov_len);           \
            pieces = &piece;                                                        \
            count = 1;                                                              \
        }                                                                           \
        ssize_t result = fails(moment) ? -1 : real arguments;                       \
        return end(moment) ? -1 : result;                                           \
    }

WRAP_OPEN(open, (const char *path, int flags, ...), AT_FDCWD, (path, flags, mode))
WRAP_OPEN(open64, (const char *path, int flags, ...), AT_FDCWD, (path, flags, mode))
WRAP_OPEN(openat, (int folder, const char *path, int flags, ...), folder,
          (folder, path, flags, mode))
WRAP_OPEN(openat64, (int folder, const char *path, int flags, ...), folder,
          (folder, path, flags, mode))

WRAP_TRANSFER(read, "read", (int descriptor, void *data, size_t length),
              (descriptor, data, length))
WRAP_TRANSFER(pread64, "read", (int descriptor, void *data, size_t length, off64_t offset),
              (descriptor, data, length, offset))
WRAP_VECTOR(readv, "read", (int descriptor, const struct iovec *pieces, int count),
            (descriptor, pieces, count))
WRAP_VECTOR(preadv64v2, "read",
            (int descriptor, const struct iovec *pieces, int count, off64_t offset, int flags),
            (descriptor, pieces, count, offset, flags))
WRAP_TRANSFER(write, "write", (int descriptor, const void *data, size_t length),
              (descriptor, data, length))
WRAP_TRANSFER(pwrite64, "write",
              (int descriptor, const void *data, size_t length, off64_t offset),
              (descriptor, data, length, offset))
WRAP_VECTOR(writev, "write", (int descriptor, const struct iovec *pieces, int count),
            (descriptor, pieces, count))
WRAP_VECTOR(pwritev64v2, "write",
            (int descriptor, const struct iovec *pieces, int count, off64_t offset, int flags),
            (descriptor, pieces, count, offset, flags))

WRAP(int, -1, fsync, (int descriptor), (descriptor), begin_descriptor("fsync", descriptor))
WRAP(int, -1, fdatasync, (int descriptor), (descriptor), begin_descriptor("fsync", descriptor))
WRAP(int, -1, ftruncate64, (int descriptor, off64_t length), (descriptor, length),
     begin_descriptor("truncate", descriptor))

WRAP(int, -1, rename, (const char *from, const char *to), (from, to),
     begin_at("rename", AT_FDCWD, from))
WRAP(int, -1, renameat, (int from_folder, const char *from, int to_folder, const char *to),
     (from_folder, from, to_folder, to), begin_at("rename", from_folder, from))
WRAP(int, -1, mkdir, (const char *path, mode_t mode), (path, mode),
     begin_at("mkdir", AT_FDCWD, path))
WRAP(int, -1, mkdirat, (int folder, const char *path, mode_t mode), (folder, path, mode),
     begin_at("mkdir", folder, path))
WRAP(int, -1, unlink, (const char *path), (path), begin_at("unlink", AT_FDCWD, path))
WRAP(int, -1, unlinkat, (int folder, const char *path, int flags), (folder, path, flags),
     begin_at("unlink", folder, path))
WRAP(int, -1, rmdir, (const char *path), (path), begin_at("unlink", AT_FDCWD, path))

WRAP(int, -1, stat64, (const char *path, struct stat64 *found), (path, found),
     begin_at("stat", AT_FDCWD, path))
WRAP(int, -1, lstat64, (const char *path, struct stat64 *found), (path, found),
     begin_at("stat", AT_FDCWD, path))
WRAP(int, -1, fstatat64, (int folder, const char *path, struct stat64 *found, int flags),
     (folder, path, found, flags), begin_at("stat", folder, path))
WRAP(int, -1, fstat64, (int descriptor, struct stat64 *found), (descriptor, found),
     begin_descriptor("stat", descriptor))
WRAP(int, -1, statvfs64, (const char *path, struct statvfs64 *found), (path, found),
     begin_at("stat", AT_FDCWD, path))
WRAP(DIR *, NULL, opendir, (const char *path), (path), begin_at("list", AT_FDCWD, path))
WRAP(DIR *, NULL, fdopendir, (int descriptor), (descriptor), begin_descriptor("list", descriptor))
WRAP(struct dirent64 *, NULL, readdir64, (DIR *folder), (folder),
     begin_descriptor("list", dirfd(folder)))

/* As Linux has it, the descriptor is gone when close reports an error. */
int close(int descriptor) {
    static int (*real)(int);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "close");
    struct moment moment = begin_descriptor("close", descriptor);
    int result = real(descriptor);
    return end(moment) ? -1 : result;
}

/* Forget what was counted, in memory that this process shares with those it forks from now on. */
void faults_begin(void) {
    if (shared) munmap(shared, sizeof *shared);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) abort();
}

void faults_arm(const char *folder, const char *part, const char *operations, const char *action,
                const char *target, long first, long last, int number) {
    atomic_store(&shared->is_armed, 0);
    snprintf(shared->folder, sizeof shared->folder, "%s", folder);
    snprintf(shared->part, sizeof shared->part, "%s", part);
    snprintf(shared->operations, sizeof shared->operations, " %s ", operations);
    snprintf(shared->action, sizeof shared->action, "%s", action);
    snprintf(shared->target, sizeof shared->target, "%s", target);
    shared->first = first;
    shared->last = last;
    shared->number = number;
    atomic_store(&shared->calls, 0);
    atomic_store(&shared->struck, 0);
    atomic_store(&shared->is_armed, 1);
}

void faults_disarm(void) { atomic_store(&shared->is_armed, 0); }

long faults_calls(void) { return atomic_load(&shared->calls); }

long faults_struck(void) { return atomic_load(&shared->struck); }

const char *faults_call(long index) { return shared->history[index % MAX_CALLS].text; }

int faults_thread(long index) { return atomic_load(&shared->history[index % MAX_CALLS].thread); }

int faults_is_done(long index) { return atomic_load(&shared->history[index % MAX_CALLS].is_done); }
