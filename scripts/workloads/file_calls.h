/* libc's calls that reach files, each defined anew; for a library that LD_PRELOAD loads.

   The library includes this file when it has said what befalls a call:
     struct moment               a call that is under way; `untouched` is one that is left alone
     is_watching()               whether it is worth while to find out a call's path
     begin_path(operation, path) before the call
     fails(moment)               whether the call is not made, and reported as failed
     is_shortened(moment)        whether less is read or written than the call asks for,
     shortened(moment, descriptor, length)   and how much
     end(moment)                 after the call; whether it is reported as failed, with errno
   The operations are those of file_calls.py. */

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static void path_of_descriptor(int descriptor, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = syscall(SYS_readlink, link, path, PATH_MAX - 1);
    path[length > 0 ? length : 0] = '\0';
}

/* Without a name it is the folder itself, as some calls have it. */
static void path_at(int folder, const char *name, char *path) {
    char base[PATH_MAX];
    if (!name || !name[0]) {
        path_of_descriptor(folder, path);
    } else if (name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
    } else if (folder == AT_FDCWD) {
        if (!getcwd(base, sizeof base)) base[0] = '\0';
        if (snprintf(path, PATH_MAX, "%s/%s", base, name) >= PATH_MAX) path[0] = '\0';
    } else {
        path_of_descriptor(folder, base);
        if (snprintf(path, PATH_MAX, "%s/%s", base, name) >= PATH_MAX) path[0] = '\0';
    }
}

static struct moment begin_at(const char *operation, int folder, const char *name) {
    char path[PATH_MAX];
    if (!is_watching()) return untouched;
    path_at(folder, name, path);
    return begin_path(operation, path);
}

static struct moment begin_descriptor(const char *operation, int descriptor) {
    char path[PATH_MAX];
    if (!is_watching()) return untouched;
    path_of_descriptor(descriptor, path);
    return begin_path(operation, path);
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
        if (is_shortened(moment) && count > 0) {                                    \
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
WRAP(int, -1, __openat_2, (int folder, const char *path, int flags), (folder, path, flags),
     begin_at("open", folder, path))
WRAP(int, -1, creat, (const char *path, mode_t mode), (path, mode),
     begin_at("create", AT_FDCWD, path))
WRAP(FILE *, NULL, fopen, (const char *path, const char *mode), (path, mode),
     begin_at(strcmp(mode, "r") && strcmp(mode, "rb") ? "create" : "open", AT_FDCWD, path))
WRAP(FILE *, NULL, fopen64, (const char *path, const char *mode), (path, mode),
     begin_at(strcmp(mode, "r") && strcmp(mode, "rb") ? "create" : "open", AT_FDCWD, path))

WRAP_TRANSFER(read, "read", (int descriptor, void *data, size_t length),
              (descriptor, data, length))
WRAP_TRANSFER(pread, "read", (int descriptor, void *data, size_t length, off_t offset),
              (descriptor, data, length, offset))
WRAP_TRANSFER(pread64, "read", (int descriptor, void *data, size_t length, off64_t offset),
              (descriptor, data, length, offset))
WRAP_VECTOR(readv, "read", (int descriptor, const struct iovec *pieces, int count),
            (descriptor, pieces, count))
WRAP_VECTOR(preadv64v2, "read",
            (int descriptor, const struct iovec *pieces, int count, off64_t offset, int flags),
            (descriptor, pieces, count, offset, flags))
WRAP_TRANSFER(write, "write", (int descriptor, const void *data, size_t length),
              (descriptor, data, length))
WRAP_TRANSFER(pwrite, "write", (int descriptor, const void *data, size_t length, off_t offset),
              (descriptor, data, length, offset))
WRAP_TRANSFER(pwrite64, "write",
              (int descriptor, const void *data, size_t length, off64_t offset),
              (descriptor, data, length, offset))
WRAP_VECTOR(writev, "write", (int descriptor, const struct iovec *pieces, int count),
            (descriptor, pieces, count))
WRAP_VECTOR(pwritev64v2, "write",
            (int descriptor, const struct iovec *pieces, int count, off64_t offset, int flags),
            (descriptor, pieces, count, offset, flags))

WRAP(ssize_t, -1, sendfile, (int to, int from, off_t *offset, size_t length),
     (to, from, offset, length), begin_descriptor("write", to))

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

WRAP(int, -1, link, (const char *from, const char *to), (from, to),
     begin_at("create", AT_FDCWD, to))
WRAP(int, -1, symlink, (const char *target, const char *path), (target, path),
     begin_at("create", AT_FDCWD, path))
WRAP(int, -1, utimensat, (int folder, const char *path, const struct timespec times[2], int flags),
     (folder, path, times, flags), begin_at("touch", folder, path))
WRAP(int, -1, futimens, (int descriptor, const struct timespec times[2]), (descriptor, times),
     begin_descriptor("touch", descriptor))

WRAP(int, -1, stat, (const char *path, struct stat *found), (path, found),
     begin_at("stat", AT_FDCWD, path))
WRAP(int, -1, lstat, (const char *path, struct stat *found), (path, found),
     begin_at("stat", AT_FDCWD, path))
WRAP(int, -1, fstat, (int descriptor, struct stat *found), (descriptor, found),
     begin_descriptor("stat", descriptor))
WRAP(int, -1, fstatat, (int folder, const char *path, struct stat *found, int flags),
     (folder, path, found, flags), begin_at("stat", folder, path))
WRAP(int, -1, statx,
     (int folder, const char *path, int flags, unsigned mask, struct statx *found),
     (folder, path, flags, mask, found), begin_at("stat", folder, path))
WRAP(int, -1, __xstat, (int version, const char *path, struct stat *found),
     (version, path, found), begin_at("stat", AT_FDCWD, path))
WRAP(int, -1, __lxstat, (int version, const char *path, struct stat *found),
     (version, path, found), begin_at("stat", AT_FDCWD, path))
WRAP(int, -1, __fxstat, (int version, int descriptor, struct stat *found),
     (version, descriptor, found), begin_descriptor("stat", descriptor))
WRAP(int, -1, __fxstatat,
     (int version, int folder, const char *path, struct stat *found, int flags),
     (version, folder, path, found, flags), begin_at("stat", folder, path))
WRAP(int, -1, access, (const char *path, int mode), (path, mode),
     begin_at("stat", AT_FDCWD, path))
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
WRAP(struct dirent *, NULL, readdir, (DIR *folder), (folder),
     begin_descriptor("list", dirfd(folder)))
WRAP(struct dirent64 *, NULL, readdir64, (DIR *folder), (folder),
     begin_descriptor("list", dirfd(folder)))

WRAP(int, -1, flock, (int descriptor, int how), (descriptor, how),
     begin_descriptor("lock", descriptor))

#define WRAP_CONTROL(name)                                                          \
    int name(int descriptor, int command, ...) {                                    \
        static int (*real)(int, int, ...);                                          \
        if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name);                       \
        va_list rest;                                                               \
        va_start(rest, command);                                                    \
        void *argument = va_arg(rest, void *);                                      \
        va_end(rest);                                                               \
        int is_lock = command == F_SETLK || command == F_SETLKW ||                  \
                      command == F_OFD_SETLK || command == F_OFD_SETLKW;            \
        struct moment moment = is_lock ? begin_descriptor("lock", descriptor) : untouched; \
        int result = fails(moment) ? -1 : real(descriptor, command, argument);      \
        return end(moment) ? -1 : result;                                           \
    }

WRAP_CONTROL(fcntl)
WRAP_CONTROL(fcntl64)

/* As Linux has it, the descriptor is gone when close reports an error. */
int close(int descriptor) {
    static int (*real)(int);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "close");
    struct moment moment = begin_descriptor("close", descriptor);
    int result = real(descriptor);
    return end(moment) ? -1 : result;
}
