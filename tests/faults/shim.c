/*
 * A layer between the server and the C library, loaded with LD_PRELOAD, that makes a disk fail as
 * disks do. It acts only on files below the paths in TREERING_SHIM_ROOTS (separated by colons: the
 * data directory and the anchor) and needs no privileges.
 *
 *   TREERING_SHIM_SHADOW=DIR   Power cut. DIR/objects/INODE and DIR/names/ROOT/... hold what would
 *                              be on the disk if the power went now: bytes that were synced, under
 *                              names that were synced. The harness kills the process and puts the
 *                              shadow in the place of the files.
 *   TREERING_SHIM_FAIL=KIND:N:ERROR:SPAN:EFFECT
 *                              KIND sync or write; N counted from 1; ERROR EIO or ENOSPC; SPAN
 *                              once, pair (N and N+1) or on (from N on); EFFECT undone or done.
 *   TREERING_SHIM_COUNTS=FILE  two 64-bit counters, of syncs and of writes, that outlive the
 *                              process.
 *   TREERING_SHIM_CLOCK=FILE   a signed 64-bit number of milliseconds that is added to the wall
 *                              clock; the clocks that count from boot stay true.
 *
 * What is durable follows ext4: the sync of a file makes its bytes, its length and its name
 * durable; the sync of a directory makes durable what was made, renamed and removed in it. A sync
 * that fails drops what it was to write, as Linux does: a later sync does not bring it back.
 * sync_file_range promises nothing and counts for nothing.
 *
 * RocksDB's own report (LOG) is neither counted nor made to fail: nothing depends on it. The
 * ballast is only room and is left out.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* --- settings ------------------------------------------------------------------------------- */

enum { ROOTS_MAX = 4, FDS_MAX = 65536, OBJECTS_MAX = 16384 };
enum kind { SYNC, WRITE };
enum span { ONCE, PAIR, ON };

static char *roots[ROOTS_MAX];
static int root_count;
static const char *shadow;
static struct {
  int armed, error, done;
  enum kind kind;
  enum span span;
  uint64_t at;
} plan;
static _Atomic uint64_t own_counts[2];
static _Atomic uint64_t *counts = own_counts;
static volatile int64_t *clock_offset_ms;

/* What is known of an open file: nothing, tracked, or tracked and never made to fail. */
enum { UNTRACKED, TRACKED, REPORT, SYNCED_WRITES = 4 };
static _Atomic unsigned char tracked[FDS_MAX];

/* A file with bytes that were written and not synced, known by its inode. */
struct object {
  ino_t inode;
  off_t from, to;
  char *old_name; /* its path before it was renamed, until that is durable */
};
static struct object objects[OBJECTS_MAX];
static int object_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* --- the real functions ---------------------------------------------------------------------- */

static int (*real_openat)(int, const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static ssize_t (*real_pwritev)(int, const struct iovec *, int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_ftruncate)(int, off_t);
static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);

static void die(const char *why) {
  dprintf(2, "shim: %s\n", why);
  _exit(99);
}

static void *map_file(const char *path, size_t length) {
  int fd = real_openat(AT_FDCWD, path, O_RDWR | O_CLOEXEC);
  if (fd < 0) die("a file named in the environment is missing");
  void *at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) die("a file named in the environment cannot be mapped");
  real_close(fd);
  return at;
}

static void read_plan(char *text) {
  char *part[5];
  for (int i = 0; i < 5; i++)
    if (!(part[i] = strsep(&text, ":"))) die("TREERING_SHIM_FAIL needs five parts");
  plan.kind = strcmp(part[0], "sync") ? WRITE : SYNC;
  plan.at = strtoull(part[1], NULL, 10);
  plan.error = strcmp(part[2], "EIO") ? ENOSPC : EIO;
  plan.span = !strcmp(part[3], "once") ? ONCE : !strcmp(part[3], "pair") ? PAIR : ON;
  plan.done = !strcmp(part[4], "done");
  plan.armed = 1;
}

__attribute__((constructor)) static void start(void) {
  real_openat = dlsym(RTLD_NEXT, "openat");
  real_close = dlsym(RTLD_NEXT, "close");
  real_write = dlsym(RTLD_NEXT, "write");
  real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
  real_writev = dlsym(RTLD_NEXT, "writev");
  real_pwritev = dlsym(RTLD_NEXT, "pwritev64");
  real_fsync = dlsym(RTLD_NEXT, "fsync");
  real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
  real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
  real_rename = dlsym(RTLD_NEXT, "rename");
  real_unlink = dlsym(RTLD_NEXT, "unlink");
  char *text = getenv("TREERING_SHIM_ROOTS");
  if (text) {
    text = strdup(text);
    for (char *root; (root = strsep(&text, ":")) && root_count < ROOTS_MAX;)
      roots[root_count++] = root;
  }
  shadow = getenv("TREERING_SHIM_SHADOW");
  if ((text = getenv("TREERING_SHIM_FAIL"))) read_plan(strdup(text));
  if ((text = getenv("TREERING_SHIM_COUNTS"))) counts = map_file(text, 16);
  if ((text = getenv("TREERING_SHIM_CLOCK"))) clock_offset_ms = map_file(text, 8);
}

/* --- which files ----------------------------------------------------------------------------- */

/* The number of the root that holds `path`, or -1; `rest` is what follows the root. */
static int root_of(const char *path, const char **rest) {
  for (int i = 0; i < root_count; i++) {
    size_t length = strlen(roots[i]);
    if (!strncmp(path, roots[i], length) && (path[length] == '/' || !path[length])) {
      *rest = path + length;
      return i;
    }
  }
  return -1;
}

static const char *base(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

static int is_ballast(const char *path) { return !strcmp(base(path), "ballast"); }

/* Makes `path` absolute, in `buffer`. */
static const char *absolute(int directory, const char *path, char *buffer) {
  if (path[0] == '/') return path;
  char top[PATH_MAX], link[64];
  snprintf(link, sizeof link, directory == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d",
           directory);
  ssize_t length = readlink(link, top, sizeof top - 1);
  if (length < 0) return path;
  top[length] = 0;
  if (snprintf(buffer, PATH_MAX, "%s/%s", top, path) >= PATH_MAX) return path;
  return buffer;
}

/* The path of an open file now, whatever it was when it was opened; 0 if it was removed. */
static int path_of(int fd, char *buffer) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, buffer, PATH_MAX - 1);
  if (length < 0) return 0;
  buffer[length] = 0;
  static const char gone[] = " (deleted)";
  size_t tail = sizeof gone - 1;
  return !((size_t)length > tail && !strcmp(buffer + length - tail, gone));
}

static int state_of(int fd) { return fd >= 0 && fd < FDS_MAX ? tracked[fd] : UNTRACKED; }

/* --- errors ---------------------------------------------------------------------------------- */

/* Counts one call, and returns the error that it must give, or 0. */
static int fault(enum kind kind, int fd) {
  if (state_of(fd) & REPORT) return 0;
  uint64_t number = atomic_fetch_add(&counts[kind], 1) + 1;
  if (!plan.armed || plan.kind != kind || number < plan.at) return 0;
  if (number > plan.at + (plan.span == PAIR) && plan.span != ON) return 0;
  char path[PATH_MAX] = "";
  path_of(fd, path);
  dprintf(2, "shim: %s %llu of %s: %s, %s\n", kind == SYNC ? "sync" : "write",
          (unsigned long long)number, path, plan.error == EIO ? "EIO" : "ENOSPC",
          plan.done ? "done" : "not done");
  return plan.error;
}

/* --- the shadow ------------------------------------------------------------------------------ */

/* With `lock` held, as everything below that takes or gives objects. */
static struct object *object_of(ino_t inode) {
  for (int i = 0; i < object_count; i++)
    if (objects[i].inode == inode) return &objects[i];
  if (object_count == OBJECTS_MAX) die("too many files");
  objects[object_count] = (struct object){.inode = inode};
  return &objects[object_count++];
}

static void forget(ino_t inode) {
  struct object *object = object_of(inode);
  free(object->old_name);
  *object = objects[--object_count];
}

static void mark(ino_t inode, off_t from, off_t to) {
  struct object *object = object_of(inode);
  if (object->from == object->to) object->from = from, object->to = to;
  if (from < object->from) object->from = from;
  if (to > object->to) object->to = to;
}

static void object_path(ino_t inode, char *buffer) {
  snprintf(buffer, PATH_MAX, "%s/objects/%llu", shadow, (unsigned long long)inode);
}

/* Where `path` is in the shadow; 0 if it is not below a root. */
static int shadow_path(const char *path, char *buffer) {
  const char *rest;
  int root = root_of(path, &rest);
  if (root < 0) return 0;
  return snprintf(buffer, PATH_MAX, "%s/names/%d%s", shadow, root, rest) < PATH_MAX;
}

static int is_same_file(const char *a, const char *b) {
  struct stat first, second;
  return !stat(a, &first) && !stat(b, &second) && first.st_ino == second.st_ino;
}

/* Makes the name `path` of the file `inode` durable. */
static void keep_name(const char *path, ino_t inode) {
  char object[PATH_MAX], name[PATH_MAX], temporary[PATH_MAX];
  if (!shadow_path(path, name)) return;
  object_path(inode, object);
  int fd = real_openat(AT_FDCWD, object, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) die("the shadow cannot be written");
  real_close(fd);
  if (!is_same_file(object, name)) {
    for (char *slash = name + strlen(shadow) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
      *slash = 0;
      mkdir(name, 0700);
    }
    snprintf(temporary, sizeof temporary, "%s/linked", shadow);
    real_unlink(temporary);
    if (link(object, temporary) || real_rename(temporary, name)) die("the shadow has no such name");
  }
  struct object *known = object_of(inode);
  if (known->old_name) {
    if (shadow_path(known->old_name, name) && strcmp(known->old_name, path) &&
        is_same_file(object, name))
      real_unlink(name);
    free(known->old_name);
    known->old_name = NULL;
  }
}

/* Makes the bytes, the length and the name of a file durable. */
static void keep_file(int fd, const struct stat *now) {
  char path[PATH_MAX], self[64], buffer[65536];
  struct object *object = object_of(now->st_ino);
  int has_name = path_of(fd, path);
  snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
  int from = real_openat(AT_FDCWD, self, O_RDONLY | O_CLOEXEC);
  object_path(now->st_ino, path);
  int to = real_openat(AT_FDCWD, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (from < 0 || to < 0) die("a synced file cannot be copied");
  for (off_t at = object->from; at < object->to;) {
    size_t wanted = object->to - at;
    if (wanted > sizeof buffer) wanted = sizeof buffer;
    ssize_t got = pread(from, buffer, wanted, at);
    if (got <= 0) break;
    if (real_pwrite(to, buffer, got, at) != got) die("the shadow is full");
    at += got;
  }
  if (real_ftruncate(to, now->st_size)) die("the shadow cannot be cut");
  object->from = object->to = 0;
  real_close(from);
  real_close(to);
  if (has_name && path_of(fd, path)) keep_name(path, now->st_ino);
}

static void remove_shadow(const char *path) {
  DIR *directory = opendir(path);
  if (!directory) {
    real_unlink(path);
    return;
  }
  for (struct dirent *entry; (entry = readdir(directory));) {
    char inside[PATH_MAX];
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
    if (snprintf(inside, sizeof inside, "%s/%s", path, entry->d_name) < PATH_MAX)
      remove_shadow(inside);
  }
  closedir(directory);
  rmdir(path);
}

/* Makes what was made, renamed and removed in a directory durable. */
static void keep_directory(int fd) {
  char path[PATH_MAX], kept[PATH_MAX], live[PATH_MAX], name[PATH_MAX];
  if (!path_of(fd, path) || !shadow_path(path, kept)) return;
  mkdir(kept, 0700);
  struct stat found;
  DIR *directory = opendir(path);
  for (struct dirent *entry; directory && (entry = readdir(directory));) {
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
    if (is_ballast(entry->d_name)) continue;
    if (snprintf(live, sizeof live, "%s/%s", path, entry->d_name) >= PATH_MAX) continue;
    if (stat(live, &found)) continue;
    if (S_ISREG(found.st_mode)) keep_name(live, found.st_ino);
    if (S_ISDIR(found.st_mode) && shadow_path(live, name)) mkdir(name, 0700);
  }
  if (directory) closedir(directory);
  directory = opendir(kept);
  for (struct dirent *entry; directory && (entry = readdir(directory));) {
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
    if (snprintf(live, sizeof live, "%s/%s", path, entry->d_name) >= PATH_MAX) continue;
    if (snprintf(name, sizeof name, "%s/%s", kept, entry->d_name) >= PATH_MAX) continue;
    if (stat(live, &found)) remove_shadow(name);
  }
  if (directory) closedir(directory);
}

/* What a sync of `fd` makes durable, or drops. */
static void keep(int fd, int dropped) {
  struct stat now;
  if (!shadow || fstat(fd, &now)) return;
  pthread_mutex_lock(&lock);
  if (dropped && S_ISREG(now.st_mode)) {
    struct object *object = object_of(now.st_ino);
    object->from = object->to = 0;
  } else if (!dropped && S_ISREG(now.st_mode)) {
    keep_file(fd, &now);
  } else if (!dropped && S_ISDIR(now.st_mode)) {
    keep_directory(fd);
  }
  pthread_mutex_unlock(&lock);
}

/* --- opening and closing --------------------------------------------------------------------- */

static int open_at(int directory, const char *path, int flags, mode_t mode) {
  char buffer[PATH_MAX];
  const char *rest, *full = absolute(directory, path, buffer);
  int is_ours = root_of(full, &rest) >= 0 && !is_ballast(full);
  struct stat before;
  int existed = is_ours && !stat(full, &before);
  int fd = real_openat(directory, path, flags, mode);
  if (fd < 0 || fd >= FDS_MAX) return fd;
  tracked[fd] = UNTRACKED;
  if (!is_ours) return fd;
  int report = !strncmp(base(full), "LOG", 3) ? REPORT : TRACKED;
  tracked[fd] = report | (flags & O_DSYNC ? SYNCED_WRITES : 0);
  struct stat now;
  if (!shadow || fstat(fd, &now) || !S_ISREG(now.st_mode)) return fd;
  pthread_mutex_lock(&lock);
  if (!existed && (flags & O_CREAT)) {
    /* The inode may have been another file's, which the shadow still knows by its name. */
    forget(now.st_ino);
    object_path(now.st_ino, buffer);
    real_unlink(buffer);
  } else if (flags & O_TRUNC) {
    mark(now.st_ino, 0, before.st_size);
  }
  pthread_mutex_unlock(&lock);
  return fd;
}

#define MODE_OF(flags)                             \
  mode_t mode = 0;                                 \
  if ((flags) & (O_CREAT | O_TMPFILE)) {           \
    va_list more;                                  \
    va_start(more, flags);                         \
    mode = va_arg(more, mode_t);                   \
    va_end(more);                                  \
  }

int open(const char *path, int flags, ...) {
  MODE_OF(flags)
  return open_at(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
  MODE_OF(flags)
  return open_at(AT_FDCWD, path, flags, mode);
}
int openat(int directory, const char *path, int flags, ...) {
  MODE_OF(flags)
  return open_at(directory, path, flags, mode);
}
int openat64(int directory, const char *path, int flags, ...) {
  MODE_OF(flags)
  return open_at(directory, path, flags, mode);
}
int creat(const char *path, mode_t mode) {
  return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

int close(int fd) {
  if (fd >= 0 && fd < FDS_MAX) tracked[fd] = UNTRACKED;
  return real_close(fd);
}

/* --- writing --------------------------------------------------------------------------------- */

static size_t length_of(const struct iovec *parts, int count) {
  size_t length = 0;
  for (int i = 0; i < count; i++) length += parts[i].iov_len;
  return length;
}

/* Writes at `at`, or where the file stands if that is negative. */
static ssize_t write_parts(int fd, const struct iovec *parts, int count, off_t at) {
  if (!state_of(fd)) return at < 0 ? real_writev(fd, parts, count) : real_pwritev(fd, parts, count, at);
  int error = length_of(parts, count) ? fault(WRITE, fd) : 0;
  if (error && !plan.done) {
    errno = error;
    return -1;
  }
  pthread_mutex_lock(&lock);
  struct stat now;
  off_t from = at;
  if (at < 0) from = lseek(fd, 0, SEEK_CUR);
  if (at < 0 && fcntl(fd, F_GETFL) & O_APPEND) from = fstat(fd, &now) ? 0 : now.st_size;
  ssize_t written =
      at < 0 ? real_writev(fd, parts, count) : real_pwritev(fd, parts, count, at);
  if (shadow && written > 0 && !fstat(fd, &now)) mark(now.st_ino, from, from + written);
  pthread_mutex_unlock(&lock);
  if (state_of(fd) & SYNCED_WRITES) keep(fd, 0);
  if (!error) return written;
  errno = error;
  return -1;
}

ssize_t write(int fd, const void *bytes, size_t length) {
  if (!state_of(fd)) return real_write(fd, bytes, length);
  struct iovec part = {(void *)bytes, length};
  return write_parts(fd, &part, 1, -1);
}
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) {
  if (!state_of(fd)) return real_pwrite(fd, bytes, length, at);
  struct iovec part = {(void *)bytes, length};
  return write_parts(fd, &part, 1, at);
}
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
  return pwrite(fd, bytes, length, at);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
  return write_parts(fd, parts, count, -1);
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
  return write_parts(fd, parts, count, at);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
  return write_parts(fd, parts, count, at);
}

int ftruncate(int fd, off_t length) {
  struct stat before;
  int known = shadow && state_of(fd) && !fstat(fd, &before);
  int result = real_ftruncate(fd, length);
  if (known && !result && before.st_size != length) {
    pthread_mutex_lock(&lock);
    off_t from = before.st_size < length ? before.st_size : length;
    mark(before.st_ino, from, before.st_size < length ? length : before.st_size);
    pthread_mutex_unlock(&lock);
  }
  return result;
}
int ftruncate64(int fd, off64_t length) { return ftruncate(fd, length); }

/* --- syncing --------------------------------------------------------------------------------- */

static int sync_with(int (*real)(int), int fd) {
  if (!state_of(fd)) return real(fd);
  int error = fault(SYNC, fd);
  if (error && !plan.done) {
    keep(fd, 1);
    errno = error;
    return -1;
  }
  int result = real(fd);
  if (!result) keep(fd, 0);
  if (!error) return result;
  errno = error;
  return -1;
}

int fsync(int fd) { return sync_with(real_fsync, fd); }
int fdatasync(int fd) { return sync_with(real_fdatasync, fd); }

/* --- names ----------------------------------------------------------------------------------- */

int rename(const char *from, const char *to) {
  char buffer[PATH_MAX];
  struct stat moved;
  const char *rest, *full = absolute(AT_FDCWD, from, buffer);
  int known = shadow && root_of(full, &rest) >= 0 && !stat(full, &moved);
  int result = real_rename(from, to);
  if (known && !result && S_ISREG(moved.st_mode)) {
    pthread_mutex_lock(&lock);
    struct object *object = object_of(moved.st_ino);
    if (!object->old_name) object->old_name = strdup(full);
    pthread_mutex_unlock(&lock);
  }
  return result;
}

/* --- the wall clock -------------------------------------------------------------------------- */

int clock_gettime(clockid_t clock, struct timespec *now) {
  int result = syscall(SYS_clock_gettime, clock, now);
  if (result || !clock_offset_ms || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE))
    return result;
  int64_t offset = *clock_offset_ms;
  now->tv_sec += offset / 1000;
  now->tv_nsec += offset % 1000 * 1000000;
  if (now->tv_nsec < 0) now->tv_nsec += 1000000000, now->tv_sec--;
  if (now->tv_nsec >= 1000000000) now->tv_nsec -= 1000000000, now->tv_sec++;
  return 0;
}
