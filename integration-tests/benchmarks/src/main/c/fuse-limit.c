/*
 * What can be had of a file through FUSE at all: does for the file what a server must do and nothing else, and believes
 * the kernel everything. No server of that design can be faster.
 *
 *   fuse-limit device IMAGE MOUNTPOINT PIDFILE       two threads with cloned descriptors: read(2) of a request,
 *                                                    pread(2) or pwrite(2) of the image, write(2) of the reply
 *   fuse-limit passthrough IMAGE MOUNTPOINT PIDFILE  the kernel works on the image itself; only OPEN comes here
 *
 * As root; writes PIDFILE when the file is there, ends with SIGTERM.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of newer headers than the distribution's (linux/fuse.h 7.40) */
#define LIMIT_INIT_EXT (1u << 30)
#define LIMIT_PASSTHROUGH_HIGH (1u << 5)       /* FUSE_PASSTHROUGH is bit 37 */
#define LIMIT_ALLOW_MMAP_HIGH (1u << 4)        /* FUSE_DIRECT_IO_ALLOW_MMAP is bit 36 */
#define LIMIT_OPEN_PARALLEL (1 << 6)
#define LIMIT_OPEN_PASSTHROUGH (1 << 7)
#define LIMIT_BACKING_OPEN _IOW(229, 1, struct limit_backing)
struct limit_backing { int32_t fd; uint32_t flags; uint64_t padding; };
struct limit_init_out {
    struct { uint32_t major, minor, max_readahead, flags; uint16_t max_background, congestion_threshold; } a;
    uint32_t max_write, time_gran;
    uint16_t max_pages, map_alignment;
    uint32_t flags2, max_stack_depth;
    uint32_t unused[6];
};

enum { PAGE = 4096, MAX_TRANSFER = 1 << 20, THREADS = 2 };

static int image;
static bool passthrough;
static int backing;                            /* the image as the kernel calls it */
static pthread_mutex_t backing_lock = PTHREAD_MUTEX_INITIALIZER;

static void fail(const char *what)
{
    fprintf(stderr, "fuse-limit: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Fills in the body of the reply; returns its size or a negated error number, or 1 if there is none to be sent. */
static int serve(int device, const struct fuse_in_header *in, void *body)
{
    const void *argument = in + 1;
    switch (in->opcode) {
    case FUSE_READ: {
        const struct fuse_read_in *read = argument;
        ssize_t n = pread(image, body, read->size, read->offset);
        return n < 0 ? -errno : n;
    }
    case FUSE_WRITE: {
        const struct fuse_write_in *write = argument;
        ssize_t n = pwrite(image, write + 1, write->size, write->offset);
        *(struct fuse_write_out *)body = (struct fuse_write_out){.size = n < 0 ? 0 : n};
        return n < 0 ? -errno : (int)sizeof(struct fuse_write_out);
    }
    case FUSE_GETATTR: {
        struct fuse_attr_out *out = body;
        struct stat status;
        if (fstat(image, &status) < 0) {
            return -errno;
        }
        memset(out, 0, sizeof(*out));
        out->attr_valid = 1;
        out->attr.ino = 1;
        out->attr.size = status.st_size;
        out->attr.mode = S_IFREG | 0600;
        out->attr.nlink = 1;
        out->attr.blksize = PAGE;
        return sizeof(*out);
    }
    case FUSE_OPEN: {
        struct fuse_open_out *out = body;
        memset(out, 0, sizeof(*out));
        out->open_flags = passthrough ? LIMIT_OPEN_PASSTHROUGH : FOPEN_DIRECT_IO | LIMIT_OPEN_PARALLEL;
        if (passthrough) {
            pthread_mutex_lock(&backing_lock);
            if (backing == 0) {
                struct limit_backing map = {.fd = image};
                backing = ioctl(device, LIMIT_BACKING_OPEN, &map);
                if (backing < 0) {
                    fail("FUSE_DEV_IOC_BACKING_OPEN");
                }
            }
            pthread_mutex_unlock(&backing_lock);
        }
        memcpy((char *)out + 12, &backing, 4); /* backing_id of newer headers */
        return sizeof(*out);
    }
    case FUSE_RELEASE:
    case FUSE_FLUSH:
    case FUSE_FSYNC:
        return 0;
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:
        return 1;
    default:
        return -ENOSYS;
    }
}

static void reply(int device, uint64_t unique, char *data, int answer)
{
    struct fuse_out_header *out = (struct fuse_out_header *)data - 1;
    *out = (struct fuse_out_header){
        .len = sizeof(*out) + (answer < 0 ? 0 : answer), .error = answer < 0 ? answer : 0, .unique = unique};
    if (write(device, out, out->len) < 0 && errno != ENOENT) {
        perror("fuse-limit: write");
    }
}

static void *run(void *argument)
{
    int device = *(int *)argument;
    char *memory = mmap(NULL, PAGE + MAX_TRANSFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        fail("mmap");
    }
    char *data = memory + PAGE;                 /* what is written begins on a page */
    struct fuse_in_header *in = (void *)(data - sizeof(struct fuse_in_header) - sizeof(struct fuse_write_in));
    for (;;) {
        ssize_t n = read(device, in, data - (char *)in + MAX_TRANSFER);
        if (n < 0 && errno == ENOENT) {
            continue;
        }
        if (n < 0) {
            return NULL;                        /* unmounted */
        }
        uint64_t unique = in->unique;
        int answer = serve(device, in, data);
        if (answer != 1) {
            reply(device, unique, data, answer);
        }
    }
}

static void begin(int device)
{
    static _Alignas(8) char buffer[PAGE + MAX_TRANSFER];
    struct fuse_in_header *in = (void *)buffer;
    if (read(device, buffer, sizeof(buffer)) < 0 || in->opcode != FUSE_INIT) {
        fail("INIT");
    }
    struct fuse_init_in *offer = (void *)(in + 1);
    struct { struct fuse_out_header header; struct limit_init_out out; } message = {
        .header = {.len = sizeof(message), .unique = in->unique},
        .out = {.a = {FUSE_KERNEL_VERSION, offer->minor < 40 ? offer->minor : 40, MAX_TRANSFER,
                      FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_ASYNC_DIO | FUSE_MAX_PAGES | LIMIT_INIT_EXT, 256, 192},
                .max_write = MAX_TRANSFER, .time_gran = 1, .max_pages = MAX_TRANSFER / PAGE,
                .flags2 = LIMIT_ALLOW_MMAP_HIGH | (passthrough ? LIMIT_PASSTHROUGH_HIGH : 0),
                .max_stack_depth = passthrough ? 2 : 0}};
    if (write(device, &message, sizeof(message)) < 0) {
        fail("INIT's reply");
    }
}

int main(int count, char **arguments)
{
    if (count != 5 || (strcmp(arguments[1], "device") && strcmp(arguments[1], "passthrough"))) {
        fprintf(stderr, "usage: fuse-limit device|passthrough IMAGE MOUNTPOINT PIDFILE\n");
        return 2;
    }
    passthrough = !strcmp(arguments[1], "passthrough");
    image = open(arguments[2], O_RDWR);
    static int devices[THREADS];
    devices[0] = open("/dev/fuse", O_RDWR);
    if (image < 0 || devices[0] < 0) {
        fail("open");
    }
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    char options[128];
    snprintf(options, sizeof(options), "fd=%d,rootmode=100000,user_id=0,group_id=0,default_permissions,max_read=%d",
             devices[0], MAX_TRANSFER);
    if (mount("fuse-limit", arguments[3], "fuse.fuse-limit", MS_NOSUID | MS_NODEV | MS_NOATIME, options) < 0) {
        fail("mount");
    }
    begin(devices[0]);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        if (i > 0) {
            uint32_t original = devices[0];
            devices[i] = open("/dev/fuse", O_RDWR);
            if (devices[i] < 0 || ioctl(devices[i], FUSE_DEV_IOC_CLONE, &original) < 0) {
                fail("FUSE_DEV_IOC_CLONE");
            }
        }
        errno = pthread_create(&threads[i], NULL, run, &devices[i]);
        if (errno) {
            fail("pthread_create");
        }
    }
    FILE *pidfile = fopen(arguments[4], "w");
    if (!pidfile || fprintf(pidfile, "%d\n", getpid()) < 0 || fclose(pidfile)) {
        fail(arguments[4]);
    }
    int signal;
    sigwait(&ends, &signal);
    umount2(arguments[3], MNT_FORCE);
    umount2(arguments[3], MNT_DETACH);
    return 0;
}
