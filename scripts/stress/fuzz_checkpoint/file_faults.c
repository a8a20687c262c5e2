/* Faults in the calls of libc that reach files below one folder; loaded with LD_PRELOAD.

   Calls are counted from the moment that a fault is armed. The fault strikes from the first to the
   last of the given numbers: it fails, shortens or delays the call, moves a folder away, or kills
   the process. What has been counted is kept in memory that a process shares with those it forks,
   so that a parent sees how far a child has come that was killed. See file_faults.py. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
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

struct moment {
    long index; /* -1: it is none of ours */
    int is_struck;
};
static const struct moment untouched = {-1, 0};

static int is(const char *action) { return strcmp(shared->action, action) == 0; }

static void die(void) {
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

static int is_below(const char *path) {
    size_t length = strlen(shared->folder);
    return strncmp(path, shared->folder, length) == 0 && (path[length] == '/' || !path[length]);
}

static int is_watching(void) { return shared && atomic_load(&shared->is_armed); }

static struct moment begin_path(const char *operation, const char *path) {
    struct moment moment = untouched;
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

static int is_shortened(struct moment moment) { return moment.is_struck && is("shorten"); }

static size_t shortened(struct moment moment, int descriptor, size_t length) {
    if (!is_shortened(moment) || length < 2) return length;
    if (length >= 2 * BLOCK_BYTES) return length / 2 / BLOCK_BYTES * BLOCK_BYTES;
    return fcntl(descriptor, F_GETFL) & O_DIRECT ? length : length / 2;
}

#include "../../workloads/file_calls.h"

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
