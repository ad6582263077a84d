/* Preloaded, lets chosen calls on chosen files fail, as a disk does: see failing_disk.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static char call_to_fail[16], pattern[256];
static int error_to_give, hits;

/* From now on `call` fails with `error` for files whose path matches `glob`; an empty call stops it. */
void failing_disk(const char *call, int error, const char *glob) {
  snprintf(call_to_fail, sizeof call_to_fail, "%s", call);
  snprintf(pattern, sizeof pattern, "%s", glob);
  error_to_give = error;
  hits = 0;
}

int failing_disk_hits(void) { return hits; }

static int fails(const char *call, const char *path) {
  if (!path || strcmp(call, call_to_fail) || fnmatch(pattern, path, 0)) return 0;
  hits++;
  errno = error_to_give;
  return 1;
}

static int fails_at(const char *call, int descriptor) {
  if (strcmp(call, call_to_fail)) return 0;
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return fails(call, path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define MODE(flags, last) \
  mode_t mode = 0; \
  if ((flags) & (O_CREAT | __O_TMPFILE)) { \
    va_list arguments; \
    va_start(arguments, last); \
    mode = va_arg(arguments, mode_t); \
    va_end(arguments); \
  }

int open(const char *path, int flags, ...) {
  MODE(flags, flags)
  return fails("open", path) ? -1 : REAL(open)(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
  MODE(flags, flags)
  return fails("open", path) ? -1 : REAL(open64)(path, flags, mode);
}
int openat(int folder, const char *path, int flags, ...) {
  MODE(flags, flags)
  return fails("open", path) ? -1 : REAL(openat)(folder, path, flags, mode);
}
int openat64(int folder, const char *path, int flags, ...) {
  MODE(flags, flags)
  return fails("open", path) ? -1 : REAL(openat64)(folder, path, flags, mode);
}
ssize_t read(int descriptor, void *data, size_t size) {
  return fails_at("read", descriptor) ? -1 : REAL(read)(descriptor, data, size);
}
ssize_t write(int descriptor, const void *data, size_t size) {
  return fails_at("write", descriptor) ? -1 : REAL(write)(descriptor, data, size);
}
int fsync(int descriptor) { return fails_at("fsync", descriptor) ? -1 : REAL(fsync)(descriptor); }
int rename(const char *from, const char *to) { return fails("rename", to) ? -1 : REAL(rename)(from, to); }
int renameat(int one, const char *from, int other, const char *to) {
  return fails("rename", to) ? -1 : REAL(renameat)(one, from, other, to);
}
