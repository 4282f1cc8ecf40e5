/*
 * A virtio-blk driver in user space, as load generator for vhost-user-blk servers: no guest, so that emulation does not
 * blur what is measured. Split rings, indirect descriptors, event indices (VIRTIO 1.3 sections 2.7 and 5.2).
 *
 *   virtio-load SOCKET QUEUES          drives the server behind the socket
 *   virtio-load --limit FILE QUEUES [CPU]
 *                                      drives a child, on another CPU if one is named, that does what a server must do and
 *                                      nothing else: it takes what is in the rings, reads or writes the file, gives back,
 *                                      and notifies once for all. It believes everything. On a CPU of its own it sleeps
 *                                      only after 10 ms without a request, and gives back every eighth request at once.
 *
 * Reads commands "read|write DEPTH MILLIS [spin]" from standard input, keeps DEPTH requests of 4 KiB at random places in
 * flight on each queue for that time, and answers each with a line
 *   REQUESTS NANOSECONDS CLIENT-CPU-NANOSECONDS SERVER-CPU-NANOSECONDS P50-NANOSECONDS P99-NANOSECONDS LONGEST-NANOSECONDS
 * All queues are driven by one thread and share one call descriptor: with one system call it waits for all of them. With
 * "spin" it never waits in the kernel. Each reply is checked against the pattern of DataFile.java.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 256, BLOCK = 4096, MAX_QUEUES = 16, MAX_DEPTH = SIZE };
enum { INDIRECT = 4, NEXT = 1, WRITE = 2 };

struct descriptor { uint64_t address; uint32_t length; uint16_t flags, next; };
struct available { uint16_t flags; _Atomic uint16_t idx; uint16_t ring[SIZE]; _Atomic uint16_t used_event; };
struct used { uint16_t flags; _Atomic uint16_t idx; struct { uint32_t id, length; } ring[SIZE]; _Atomic uint16_t avail_event; };
struct slot {
    struct descriptor table[3];
    struct { uint32_t type, reserved; uint64_t sector; } header;
    uint8_t status;
};
struct shared {                                /* what driver and device of a queue share */
    struct descriptor descriptors[SIZE];
    struct available available;
    _Alignas(64) struct used used;
    struct slot slots[SIZE];
    _Alignas(BLOCK) uint8_t data[SIZE][BLOCK];
};
struct queue {
    struct shared *shared;
    int kick;
    uint16_t next_available, published, next_used;
    uint64_t offsets[SIZE], sent[SIZE];
};

static struct shared *memory;
static struct queue queues[MAX_QUEUES];
static int queue_count, call, called, memory_fd;
static uint64_t blocks, random_state = 0x9e3779b97f4a7c15;
static clockid_t server_clock;

static void fail(const char *what)
{
    fprintf(stderr, "virtio-load: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(1);
}

static uint64_t now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static uint64_t random_block(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % blocks;
}

static bool need_event(uint16_t event, uint16_t new, uint16_t old)        /* section 2.7.10 */
{
    return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

static void signal_fd(int fd)
{
    uint64_t one = 1;
    if (write(fd, &one, sizeof one) != sizeof one) fail("eventfd");
}

/* Servers make the descriptors that they get non-blocking. Edge-triggered waiting needs no read besides. */
static int watch_fd(int fd)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = { .events = EPOLLIN | EPOLLET };
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll");
    return epoll;
}

static void wait_fd(int epoll)
{
    struct epoll_event event;
    if (epoll_wait(epoll, &event, 1, -1) < 0 && errno != EINTR) fail("epoll_wait");
}

/* --- Latencies: 64 buckets for each power of two, as in Latencies.java --------------------------------------------- */

static uint64_t histogram[58 * 64 + 64];

static void record(uint64_t nanos)
{
    int magnitude = 57 - __builtin_clzll(nanos | 1);
    if (magnitude < 0) magnitude = 0;
    histogram[(magnitude << 6) + (nanos >> magnitude)]++;
}

static uint64_t percentile(double fraction, uint64_t total)
{
    uint64_t seen = 0;
    for (int i = 0; i < (int)(sizeof histogram / sizeof *histogram); i++) {
        seen += histogram[i];
        if (seen >= fraction * total) {
            int magnitude = (i >> 6) > 0 ? (i >> 6) - 1 : 0;
            return (uint64_t)(i - (magnitude << 6)) << magnitude;
        }
    }
    return 0;
}

/* --- The driver ---------------------------------------------------------------------------------------------------- */

static uint64_t first_mark(uint64_t offset) { return __builtin_bswap64(0x426c6f636b776861ull ^ offset); }
static uint64_t last_mark(uint64_t offset) { return __builtin_bswap64(0x72662062656e6368ull ^ offset); }

static uint64_t guest_address(const void *at) { return (const uint8_t *)at - (const uint8_t *)memory; }

static void submit(struct queue *q, int i, bool writing)
{
    struct slot *slot = &q->shared->slots[i];
    uint64_t offset = random_block() * BLOCK;
    q->offsets[i] = offset;
    slot->header.type = writing;
    slot->header.sector = offset / 512;
    slot->status = 0xff;
    slot->table[1].flags = NEXT | (writing ? 0 : WRITE);
    if (writing) {
        *(uint64_t *)q->shared->data[i] = first_mark(offset);
        *(uint64_t *)(q->shared->data[i] + BLOCK - 8) = last_mark(offset);
    }
    q->shared->available.ring[q->next_available++ % SIZE] = i;
}

static void publish(struct queue *q, uint64_t time)
{
    uint16_t old = q->published, new = q->next_available;
    if (old == new) return;
    for (uint16_t i = old; i != new; i++) q->sent[q->shared->available.ring[i % SIZE]] = time;
    q->published = new;
    atomic_store_explicit(&q->shared->available.idx, new, memory_order_release);
    atomic_thread_fence(memory_order_seq_cst);
    if (need_event(atomic_load_explicit(&q->shared->used.avail_event, memory_order_relaxed), new, old)) signal_fd(q->kick);
}

static int reap(struct queue *q, bool writing, bool more)
{
    uint16_t idx = atomic_load_explicit(&q->shared->used.idx, memory_order_acquire);
    int reaped = (uint16_t)(idx - q->next_used);
    if (reaped == 0) return 0;
    uint64_t time = now(CLOCK_MONOTONIC);
    while (q->next_used != idx) {
        int i = q->shared->used.ring[q->next_used++ % SIZE].id;
        uint64_t offset = q->offsets[i];
        if (q->shared->slots[i].status != 0
                || *(uint64_t *)q->shared->data[i] != first_mark(offset)
                || *(uint64_t *)(q->shared->data[i] + BLOCK - 8) != last_mark(offset)) {
            errno = 0;
            fail("a request failed, or brought other data than the file has");
        }
        record(time - q->sent[i]);
        if (more) submit(q, i, writing);
    }
    publish(q, time);
    return reaped;
}

static bool completed(void)
{
    for (int i = 0; i < queue_count; i++) {
        struct used *used = &queues[i].shared->used;
        if (atomic_load_explicit(&used->idx, memory_order_acquire) != queues[i].next_used) return true;
    }
    return false;
}

static void run(bool writing, int depth, uint64_t nanos, bool spin)
{
    memset(histogram, 0, sizeof histogram);
    uint64_t cpu = now(CLOCK_PROCESS_CPUTIME_ID), server_cpu = now(server_clock);
    uint64_t start = now(CLOCK_MONOTONIC), total = 0;
    int in_flight = queue_count * depth;
    bool more = true;
    for (int i = 0; i < queue_count; i++) {
        for (int slot = 0; slot < depth; slot++) submit(&queues[i], slot, writing);
        publish(&queues[i], now(CLOCK_MONOTONIC));
    }
    while (in_flight > 0) {
        int reaped = 0;
        for (int i = 0; i < queue_count; i++) reaped += reap(&queues[i], writing, more);
        total += reaped;
        if (!more) in_flight -= reaped;
        if (reaped > 0) {
            more = more && now(CLOCK_MONOTONIC) - start < nanos;
        } else if (!spin) {
            for (int i = 0; i < queue_count; i++)
                atomic_store_explicit(&queues[i].shared->available.used_event, queues[i].next_used, memory_order_relaxed);
            atomic_thread_fence(memory_order_seq_cst);
            if (!completed()) wait_fd(called);
        }
    }
    printf("%lu %lu %lu %lu %lu %lu %lu\n", total, now(CLOCK_MONOTONIC) - start, now(CLOCK_PROCESS_CPUTIME_ID) - cpu,
           now(server_clock) - server_cpu, percentile(0.5, total), percentile(0.99, total),
           percentile(1, total));
    fflush(stdout);
}

static void make_queues(void)
{
    size_t bytes = sizeof(struct shared) * queue_count;
    memory_fd = memfd_create("guest", MFD_CLOEXEC);
    if (memory_fd < 0 || ftruncate(memory_fd, bytes) < 0) fail("memfd");
    memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, memory_fd, 0);
    call = eventfd(0, EFD_CLOEXEC);
    if (memory == MAP_FAILED || call < 0) fail("memory");
    called = watch_fd(call);
    for (int i = 0; i < queue_count; i++) {
        struct shared *s = queues[i].shared = &memory[i];
        queues[i].kick = eventfd(0, EFD_CLOEXEC);
        memset(s->data, 0xa5, sizeof s->data);
        for (int n = 0; n < SIZE; n++) {
            struct slot *slot = &s->slots[n];
            s->descriptors[n] = (struct descriptor) { guest_address(slot->table), sizeof slot->table, INDIRECT, 0 };
            slot->table[0] = (struct descriptor) { guest_address(&slot->header), 16, NEXT, 1 };
            slot->table[1] = (struct descriptor) { guest_address(s->data[n]), BLOCK, NEXT | WRITE, 2 };
            slot->table[2] = (struct descriptor) { guest_address(&slot->status), 1, WRITE, 0 };
        }
    }
}

/* --- vhost-user, front end ----------------------------------------------------------------------------------------- */

enum { GET_FEATURES = 1, SET_FEATURES, SET_OWNER, SET_MEM_TABLE = 5, SET_VRING_NUM = 8, SET_VRING_ADDR, SET_VRING_BASE,
       SET_VRING_KICK = 12, SET_VRING_CALL, GET_PROTOCOL_FEATURES = 15, SET_PROTOCOL_FEATURES, SET_VRING_ENABLE = 18,
       GET_CONFIG = 24 };
enum { NEED_REPLY = 8, F_REPLY_ACK = 1 << 3, F_CONFIG = 1 << 9 };

static int server;

static void send_message(uint32_t number, uint32_t flags, const void *payload, uint32_t size, int fd)
{
    uint8_t bytes[512];
    uint32_t header[3] = { number, 1 | flags, size };
    memcpy(bytes, header, sizeof header);
    memcpy(bytes + sizeof header, payload, size);
    struct iovec iov = { bytes, sizeof header + size };
    union { struct cmsghdr header; char space[CMSG_SPACE(sizeof(int))]; } control = { 0 };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
    if (fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    }
    if (sendmsg(server, &message, 0) != (ssize_t)iov.iov_len) fail("send");
}

static void receive_reply(void *payload, uint32_t size)
{
    uint32_t header[3];
    errno = 0;
    if (recv(server, header, sizeof header, MSG_WAITALL) != sizeof header || header[2] != size
            || recv(server, payload, size, MSG_WAITALL) != size) fail("the server's reply");
}

static uint64_t get(uint32_t number)
{
    uint64_t value;
    send_message(number, 0, NULL, 0, -1);
    receive_reply(&value, sizeof value);
    return value;
}

static void set(uint32_t number, const void *payload, uint32_t size, int fd)
{
    uint64_t status;
    send_message(number, NEED_REPLY, payload, size, fd);
    receive_reply(&status, sizeof status);
    errno = 0;
    if (status != 0) fail("the server refused a message");
}

static void set_number(uint32_t number, uint64_t value, int fd) { set(number, &value, sizeof value, fd); }

static void set_state(uint32_t number, uint32_t index, uint32_t value)
{
    uint32_t state[2] = { index, value };
    set(number, state, sizeof state, -1);
}

static void connect_to(const char *path)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    strncpy(name.sun_path, path, sizeof name.sun_path - 1);
    server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(server, (struct sockaddr *)&name, sizeof name) < 0) fail(path);
    struct ucred peer;
    socklen_t length = sizeof peer;
    if (getsockopt(server, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0
            || clock_getcpuclockid(peer.pid, &server_clock) != 0) fail("the server's CPU time");

    /* FLUSH (without it a device is to write through), INDIRECT_DESC, EVENT_IDX, PROTOCOL_FEATURES, VERSION_1 */
    uint64_t features = 1ull << 9 | 1ull << 28 | 1ull << 29 | 1ull << 30 | 1ull << 32;
    if ((get(GET_FEATURES) & features) != features) fail("a feature is missing");
    if ((get(GET_PROTOCOL_FEATURES) & (F_REPLY_ACK | F_CONFIG)) != (F_REPLY_ACK | F_CONFIG)) fail("a feature is missing");
    uint64_t protocol = F_REPLY_ACK | F_CONFIG | 1;
    send_message(SET_PROTOCOL_FEATURES, 0, &protocol, sizeof protocol, -1);
    set(SET_OWNER, NULL, 0, -1);
    set_number(SET_FEATURES, features, -1);

    struct { uint32_t offset, size, flags; uint64_t capacity; } __attribute__((packed)) config = { 0, 8, 0, 0 };
    send_message(GET_CONFIG, 0, &config, sizeof config, -1);
    receive_reply(&config, sizeof config);
    blocks = config.capacity / 8;

    struct { uint32_t count, padding; uint64_t guest, size, user, offset; } table =
        { 1, 0, 0, sizeof(struct shared) * queue_count, (uintptr_t)memory, 0 };
    set(SET_MEM_TABLE, &table, sizeof table, memory_fd);
    for (int i = 0; i < queue_count; i++) {
        struct shared *s = queues[i].shared;
        struct { uint32_t index, flags; uint64_t descriptors, used, available, log; } address =
            { i, 0, (uintptr_t)s->descriptors, (uintptr_t)&s->used, (uintptr_t)&s->available, 0 };
        set_state(SET_VRING_NUM, i, SIZE);
        set_state(SET_VRING_BASE, i, 0);
        set(SET_VRING_ADDR, &address, sizeof address, -1);
        set_number(SET_VRING_CALL, i, call);
        set_number(SET_VRING_KICK, i, queues[i].kick);
        set_state(SET_VRING_ENABLE, i, 1);
    }
}

/* --- The limit: a device that does nothing beyond its work --------------------------------------------------------- */

enum { ANY_CPU = -1, EARLY = 8, PATIENCE = 10 * 1000 * 1000 };

static bool take_all(struct shared *s, int file, uint16_t *taken, uint16_t most)
{
    uint16_t available = atomic_load_explicit(&s->available.idx, memory_order_acquire), old = *taken;
    if (available == old) return false;
    if ((uint16_t)(available - old) > most) available = old + most;
    for (; *taken != available; ++*taken) {
        int head = s->available.ring[*taken % SIZE];
        struct slot *slot = (struct slot *)((uint8_t *)memory + s->descriptors[head].address);
        void *data = (uint8_t *)memory + slot->table[1].address;
        off_t offset = slot->header.sector * 512;
        ssize_t n = slot->header.type == 0 ? pread(file, data, BLOCK, offset) : pwrite(file, data, BLOCK, offset);
        slot->status = n != BLOCK;
        s->used.ring[*taken % SIZE].id = head;
        s->used.ring[*taken % SIZE].length = slot->header.type == 0 ? BLOCK + 1 : 1;
    }
    atomic_store_explicit(&s->used.idx, *taken, memory_order_release);
    atomic_thread_fence(memory_order_seq_cst);
    if (need_event(atomic_load_explicit(&s->available.used_event, memory_order_relaxed), *taken, old)) signal_fd(call);
    return true;
}

static void serve(int file, int cpu)
{
    uint16_t taken[MAX_QUEUES] = { 0 };
    int kicked = watch_fd(queues[0].kick);
    uint64_t busy = now(CLOCK_MONOTONIC);
    for (;;) {
        bool any = false;
        for (int i = 0; i < queue_count; i++)
            any |= take_all(queues[i].shared, file, &taken[i], cpu == ANY_CPU ? SIZE : EARLY);
        if (any && cpu == ANY_CPU) continue;
        if (cpu != ANY_CPU) {                   /* polls, but not while others are measured */
            uint64_t time = now(CLOCK_MONOTONIC);
            if (any) busy = time;
            if (time - busy < PATIENCE) continue;
        }
        for (int i = 0; i < queue_count; i++)
            atomic_store_explicit(&queues[i].shared->used.avail_event, taken[i], memory_order_relaxed);
        atomic_thread_fence(memory_order_seq_cst);
        for (int i = 0; i < queue_count; i++)
            any |= atomic_load_explicit(&queues[i].shared->available.idx, memory_order_acquire) != taken[i];
        if (!any) wait_fd(kicked);
    }
}

static void start_limit(const char *path, int cpu)
{
    int file = open(path, O_RDWR | O_CLOEXEC);
    struct stat status;
    if (file < 0 || fstat(file, &status) < 0) fail(path);
    blocks = status.st_size / BLOCK;
    for (int i = 1; i < queue_count; i++) queues[i].kick = queues[0].kick;      /* the child waits for one */
    pid_t child = fork();
    if (child < 0) fail("fork");
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (cpu != ANY_CPU) {
            cpu_set_t set;
            CPU_ZERO(&set);
            CPU_SET(cpu, &set);
            if (sched_setaffinity(0, sizeof set, &set) < 0) fail("the server's CPU");
        }
        serve(file, cpu);
    }
    if (clock_getcpuclockid(child, &server_clock) != 0) fail("the child's CPU time");
}

int main(int argc, char **argv)
{
    bool limit = (argc == 4 || argc == 5) && strcmp(argv[1], "--limit") == 0;
    if (argc != 3 && !limit) {
        fprintf(stderr, "usage: virtio-load SOCKET QUEUES | --limit FILE QUEUES [CPU]\n");
        return 2;
    }
    queue_count = atoi(argv[limit ? 3 : 2]);
    if (queue_count < 1 || queue_count > MAX_QUEUES) fail("queues");
    make_queues();
    if (limit) start_limit(argv[2], argc == 5 ? atoi(argv[4]) : ANY_CPU); else connect_to(argv[1]);
    if (blocks == 0) fail("no size");

    char operation[8], spin[8];
    int depth;
    unsigned millis;
    char line[64];
    while (fgets(line, sizeof line, stdin) != NULL) {
        int words = sscanf(line, "%7s %d %u %7s", operation, &depth, &millis, spin);
        if (words < 3 || depth < 1 || depth > MAX_DEPTH) fail("command");
        run(strcmp(operation, "write") == 0, depth, millis * 1000000ull, words == 4);
    }
    return 0;
}
