/* Makes one system call of the C library fail, or all from one on: loaded with LD_PRELOAD, armed by the process itself.
 *
 * A failed fdatasync or fsync also loses what was written to the file since its last sync, as the kernel may: it marks the
 * pages as clean and says so once. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { RANGES = 4096 };
static struct { int descriptor; off_t begin; size_t length; } unsynced[RANGES];
static int ranges;
static char armed[16];
static int from, to, error, calls;

void fail_calls(const char *name, int first, int last, int number) {
    strncpy(armed, name, sizeof armed - 1);
    from = first, to = last, error = number, calls = 0, ranges = 0;
}

int calls_made(void) { return calls; }

static int fails(const char *name) {
    if (strcmp(name, armed) != 0) return 0;
    calls++;
    return calls >= from && calls <= to;
}

static ssize_t write_at(int descriptor, const void *data, size_t length, off_t offset) {
    static ssize_t (*real)(int, const void *, size_t, off_t);
    if (!real) real = (ssize_t (*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite64");
    return real(descriptor, data, length, offset);
}

/* Error 0: half of it is written. */
static ssize_t writes(int descriptor, const void *data, size_t length, off_t offset) {
    if (fails("pwrite")) {
        if (error || length < 2) { errno = error ? error : ENOSPC; return -1; }
        length /= 2;
    }
    ssize_t written = write_at(descriptor, data, length, offset);
    if (written > 0 && ranges < RANGES) {
        unsynced[ranges].descriptor = descriptor;
        unsynced[ranges].begin = offset;
        unsynced[ranges++].length = written;
    }
    return written;
}

static int syncs(int descriptor, const char *name, const char *symbol) {
    static const char zeros[1 << 20];
    int failing = fails(name), kept = 0;
    for (int n = 0; n < ranges; n++) {
        if (unsynced[n].descriptor != descriptor)
            unsynced[kept++] = unsynced[n];
        else if (failing && unsynced[n].length <= sizeof zeros)
            write_at(descriptor, zeros, unsynced[n].length, unsynced[n].begin);
    }
    ranges = kept;
    if (failing) { errno = error; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, symbol))(descriptor);
}

ssize_t pwrite(int d, const void *b, size_t n, off_t o) { return writes(d, b, n, o); }
ssize_t pwrite64(int d, const void *b, size_t n, off64_t o) { return writes(d, b, n, o); }
int fdatasync(int d) { return syncs(d, "fdatasync", "fdatasync"); }
int fsync(int d) { return syncs(d, "fsync", "fsync"); }

int rename(const char *from_path, const char *to_path) {
    if (fails("rename")) { errno = error; return -1; }
    return ((int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename"))(from_path, to_path);
}

static int truncates(int descriptor, off_t length) {
    if (fails("ftruncate")) { errno = error; return -1; }
    return ((int (*)(int, off_t))dlsym(RTLD_NEXT, "ftruncate64"))(descriptor, length);
}

int ftruncate(int d, off_t n) { return truncates(d, n); }
int ftruncate64(int d, off64_t n) { return truncates(d, n); }
