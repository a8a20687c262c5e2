/* Faults of files for as long as a window is open; loaded with LD_PRELOAD.

   The windows lie in a file that the variable FAULT_WINDOWS names and that all processes map, so
   that whoever writes it opens and closes them in all of them at once, children included.
   See fault_windows.py. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NUM_WINDOWS 16
#define PATH_BYTES 1024
#define WORD_BYTES 256
#define PAUSE_NS 5000000 /* between two looks whether the window is still open, in a call that hangs */

struct window {
    atomic_long id;       /* another one each time that it is opened; 0: it is closed */
    atomic_long struck;   /* calls */
    int64_t until_ns;     /* of CLOCK_MONOTONIC */
    int64_t number;       /* errno; 0: calls hang */
    char prefix[PATH_BYTES];
    char part[WORD_BYTES];
    char operations[WORD_BYTES]; /* with a space before and after each */
};

static struct window *windows;

struct moment {
    int number; /* errno; 0: nothing befalls the call */
};
static const struct moment untouched = {0};

__attribute__((constructor)) static void map_windows(void) {
    const char *path = getenv("FAULT_WINDOWS");
    long descriptor = path ? syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
    if (descriptor < 0) return;
    void *found = mmap(NULL, NUM_WINDOWS * sizeof *windows, PROT_READ | PROT_WRITE, MAP_SHARED,
                       (int)descriptor, 0);
    if (found != MAP_FAILED) windows = found;
    syscall(SYS_close, descriptor);
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return 1000000000 * (int64_t)now.tv_sec + now.tv_nsec;
}

/* The window's id as long as it is open. */
static long id_if_open(struct window *window) {
    long id = atomic_load(&window->id);
    return id && now_ns() < window->until_ns ? id : 0;
}

static int is_watching(void) {
    for (int index = 0; windows && index < NUM_WINDOWS; index++)
        if (id_if_open(&windows[index])) return 1;
    return 0;
}

static int is_in(struct window *window, const char *word, const char *path) {
    size_t length = strlen(window->prefix);
    return strncmp(path, window->prefix, length) == 0 && (path[length] == '/' || !path[length]) &&
           strstr(path + length, window->part) && strstr(window->operations, word);
}

static void hang(struct window *window, long id) {
    while (id_if_open(window) == id) nanosleep(&(struct timespec){0, PAUSE_NS}, NULL);
}

static struct moment begin_path(const char *operation, const char *path) {
    struct moment moment = untouched;
    char word[WORD_BYTES];
    int saved = errno;
    snprintf(word, sizeof word, " %s ", operation);
    for (int index = 0; windows && index < NUM_WINDOWS && !moment.number; index++) {
        struct window *window = &windows[index];
        long id = id_if_open(window);
        if (!id || !is_in(window, word, path)) continue;
        int number = (int)window->number;
        if (atomic_load(&window->id) != id) continue; /* what was read may be of two windows */
        atomic_fetch_add(&window->struck, 1);
        if (number) moment.number = number;
        else hang(window, id);
    }
    errno = saved;
    return moment;
}

static int fails(struct moment moment) { return moment.number != 0; }

static int end(struct moment moment) {
    if (fails(moment)) errno = moment.number;
    return fails(moment);
}

static int is_shortened(struct moment moment) { return (void)moment, 0; }

static size_t shortened(struct moment moment, int descriptor, size_t length) {
    (void)moment, (void)descriptor;
    return length;
}

#include "file_calls.h"
