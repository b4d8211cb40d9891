/* load: sends prebuilt Accounting-Requests over several sockets and times the replies.
 *
 *   load PACKETS CONTROL PORT IN_FLIGHT RATE SECONDS WARM_UP GUARD SOURCES
 *     PACKETS     descriptor of a file: RADIUS packets end to end; each says its own length (RFC 2865 section 3)
 *     CONTROL     descriptor of a file of four int64, shared with the program that started this one:
 *                 how many packets may be sent so far; 1 to stop; sent; acknowledged
 *     IN_FLIGHT   most packets without a reply at once
 *     RATE        packets a second, sent on schedule whatever the replies do; 0: as fast as replies come
 *     WARM_UP     seconds at the beginning that are not counted
 *     GUARD       a packet is not sent until the packet GUARD places before it was acknowledged, so that two packets
 *                 of one session never overtake each other
 *     SOURCES     addresses that it sends from, 127.0.1.1 and on, so many RADIUS clients; 1: only 127.0.0.1
 *   load echo     answers each packet on a free port, which it prints: measures this program itself
 *
 * Packet i has the identifier (i / (32 * SOCKETS) * 32 + i % 32) % 256 and goes out on socket i / 32 % SOCKETS.
 * A packet without a reply is sent again every RETRY_SECONDS. Prints one JSON object.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#define SOCKETS 16
#define BLOCK 32
#define RETRY_SECONDS 2.0
#define DRAIN_SECONDS 60.0
#define MOST_SECONDS 7200

enum { ALLOWED, STOP, SENT, ACKNOWLEDGED };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int open_socket(void) {
    int size = 8 << 20, s = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    if (s < 0) fail("socket");
    if (setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size))
        setsockopt(s, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    return s;
}

static struct sockaddr_in loopback(int port) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static _Noreturn void echo(void) {
    static unsigned char data[BLOCK][4096];
    struct sockaddr_in from[BLOCK], at = loopback(0);
    struct mmsghdr messages[BLOCK];
    struct iovec parts[BLOCK];
    socklen_t length = sizeof at;
    int s = open_socket();
    if (bind(s, (struct sockaddr *)&at, sizeof at) || getsockname(s, (struct sockaddr *)&at, &length)) fail("bind");
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    for (;;) {
        struct pollfd wait = {.fd = s, .events = POLLIN};
        poll(&wait, 1, -1);
        for (int i = 0; i < BLOCK; i++) {
            parts[i] = (struct iovec){data[i], sizeof data[i]};
            messages[i].msg_hdr = (struct msghdr){&from[i], sizeof from[i], &parts[i], 1, NULL, 0, 0};
        }
        int got = recvmmsg(s, messages, BLOCK, 0, NULL);
        for (int i = 0; i < got; i++) {
            data[i][0] = 5;
            parts[i].iov_len = 20;
        }
        if (got > 0) sendmmsg(s, messages, got, 0);
    }
}

static int by_size(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    prctl(PR_SET_TIMERSLACK, 1);
    if (argc == 2 && !strcmp(argv[1], "echo")) echo();
    if (argc != 10) return 2;
    int port = atoi(argv[3]);
    int64_t in_flight = atoll(argv[4]), guard = atoll(argv[8]);
    int sources = atoi(argv[9]);
    double rate = atof(argv[5]), seconds = atof(argv[6]), warm_up = atof(argv[7]);

    /* Real-time, because a delay in sending or in reading replies would count as the server's time. Not at full speed,
       where this program would keep the systems under test from the processor. */
    struct sched_param first = {.sched_priority = 2};
    int real_time = rate > 0 && !sched_setscheduler(0, SCHED_FIFO, &first);

    struct stat about;
    fstat(atoi(argv[1]), &about);
    unsigned char *packets = mmap(NULL, about.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, atoi(argv[1]), 0);
    volatile int64_t *control = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, atoi(argv[2]), 0);
    if (packets == MAP_FAILED || control == MAP_FAILED) fail("mmap");
    int64_t total = 0;
    for (int64_t at = 0; at < about.st_size; at += packets[at + 2] << 8 | packets[at + 3]) total++;
    unsigned char **packet = malloc((total + 1) * sizeof *packet);
    float *latency = malloc(total * sizeof *latency); /* -1: not acknowledged; -2: acknowledged, not counted */
    double *due = malloc(total * sizeof *due), *sent_at = malloc(total * sizeof *sent_at);
    packet[0] = packets;
    for (int64_t i = 0; i < total; i++) {
        packet[i + 1] = packet[i] + (packet[i][2] << 8 | packet[i][3]);
        latency[i] = -1;
    }

    int sockets[SOCKETS];
    struct pollfd waits[SOCKETS];
    struct sockaddr_in to = loopback(port);
    int64_t slots[SOCKETS][256];
    for (int s = 0; s < SOCKETS; s++) {
        sockets[s] = open_socket();
        if (sources > 1) {
            struct sockaddr_in from = loopback(0);
            from.sin_addr.s_addr = htonl(0x7f000101 + s % sources);
            if (bind(sockets[s], (struct sockaddr *)&from, sizeof from)) fail("bind");
        }
        if (connect(sockets[s], (struct sockaddr *)&to, sizeof to)) fail("connect");
        waits[s] = (struct pollfd){.fd = sockets[s], .events = POLLIN};
        for (int id = 0; id < 256; id++) slots[s][id] = -1;
    }

    int64_t next = 0, oldest = 0, acknowledged = 0, counted = 0, again = 0, refused = 0;
    static int64_t each_second[MOST_SECONDS];
    const struct timespec pause = {0, 250 * 1000};
    double start = now(), retried = start, last_ack = start, end = start + seconds;
    while (1) {
        double t = now();
        int sending = t < end && next < total && !control[STOP];
        if (!sending && (acknowledged == next || t > end + DRAIN_SECONDS)) break;

        int blocked = 0;
        while (sending) {
            int s = next / BLOCK % SOCKETS, n = 0;
            struct mmsghdr messages[BLOCK];
            struct iovec parts[BLOCK];
            for (; n < BLOCK; n++) {
                int64_t i = next + n;
                if (i >= total || (int)(i / BLOCK % SOCKETS) != s || i - acknowledged >= in_flight
                    || i - oldest >= guard || i >= control[ALLOWED] || slots[s][packet[i][1]] >= 0
                    || (rate > 0 && start + i / rate > t)) break;
                parts[n] = (struct iovec){packet[i], packet[i + 1] - packet[i]};
                messages[n].msg_hdr = (struct msghdr){NULL, 0, &parts[n], 1, NULL, 0, 0};
            }
            blocked = n == 0;
            if (blocked) break;
            int done = sendmmsg(sockets[s], messages, n, 0);
            if (done < 0 && errno != EAGAIN && errno != ECONNREFUSED && errno != EINTR) fail("sendmmsg");
            if (done < 0) {
                refused += errno == ECONNREFUSED;
                blocked = 1;
                break;
            }
            for (int k = 0; k < done; k++, next++) {
                slots[s][packet[next][1]] = next;
                due[next] = rate > 0 ? start + next / rate : t;
                sent_at[next] = t;
            }
            control[SENT] = next;
        }

        double wait = RETRY_SECONDS / 4;
        if (sending && rate > 0 && start + next / rate - now() < wait) wait = start + next / rate - now();
        if (sending && next >= control[ALLOWED]) wait = 0.001;
        if (sending && end - t < wait) wait = end - t;
        if (wait < 0) wait = blocked ? 0.0005 : 0;
        struct timespec timeout = {(time_t)wait, (long)((wait - (time_t)wait) * 1e9)};
        /* With many packets in flight, reading each reply at once would take CPU from the systems under test. */
        if (!rate && in_flight >= 4 * BLOCK) nanosleep(&pause, NULL);
        int ready = ppoll(waits, SOCKETS, &timeout, NULL);

        t = now();
        for (int s = 0; ready > 0 && s < SOCKETS; s++) {
            if (!waits[s].revents) continue;
            unsigned char replies[BLOCK][4096];
            struct mmsghdr messages[BLOCK];
            struct iovec parts[BLOCK];
            for (int k = 0; k < BLOCK; k++) {
                parts[k] = (struct iovec){replies[k], sizeof replies[k]};
                messages[k].msg_hdr = (struct msghdr){NULL, 0, &parts[k], 1, NULL, 0, 0};
            }
            int got = recvmmsg(sockets[s], messages, BLOCK, 0, NULL);
            for (int k = 0; k < got; k++) {
                int64_t i = slots[s][replies[k][1]];
                if (messages[k].msg_len < 20 || (replies[k][0] != 5 && replies[k][0] != 2) || i < 0) continue;
                slots[s][replies[k][1]] = -1;
                latency[i] = -2;
                acknowledged++;
                last_ack = t;
                if (t < start + MOST_SECONDS) each_second[(int)(t - start)]++;
                if (t >= start + warm_up && t < end) counted++;
                if (due[i] >= start + warm_up) latency[i] = t - due[i];
            }
            while (oldest < next && latency[oldest] != -1) oldest++;
        }
        control[ACKNOWLEDGED] = acknowledged;

        if (t - retried > RETRY_SECONDS / 4) {
            retried = t;
            for (int s = 0; s < SOCKETS; s++)
                for (int id = 0; id < 256; id++) {
                    int64_t i = slots[s][id];
                    if (i < 0 || t - sent_at[i] < RETRY_SECONDS) continue;
                    sent_at[i] = t;
                    again++;
                    send(sockets[s], packet[i], packet[i + 1] - packet[i], 0);
                }
        }
    }

    int64_t timed = 0;
    for (int64_t i = 0; i < next; i++)
        if (latency[i] >= 0) latency[timed++] = latency[i];
    qsort(latency, timed, sizeof *latency, by_size);
    double counted_until = last_ack < end ? last_ack : end; /* the packets ran out */
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    printf("{\"sent\": %ld, \"acknowledged\": %ld, \"sent_again\": %ld, \"refused\": %ld, \"counted\": %ld, "
           "\"counted_seconds\": %.6f, \"cpu_seconds\": %.6f, \"real_time\": %s, \"latency_seconds\": {",
           (long)next, (long)acknowledged, (long)again, (long)refused, (long)counted,
           counted_until - start - warm_up,
           used.ru_utime.tv_sec + used.ru_stime.tv_sec + 1e-6 * (used.ru_utime.tv_usec + used.ru_stime.tv_usec),
           real_time ? "true" : "false");
    static const double quantiles[] = {0.5, 0.95, 0.99, 1.0};
    static const char *names[] = {"p50", "p95", "p99", "max"};
    for (int k = 0; k < 4; k++) {
        int64_t at = quantiles[k] * timed;
        if (at >= timed) at = timed - 1;
        printf("%s\"%s\": %.7f", k ? ", " : "", names[k], timed ? latency[at] : -1.0);
    }
    printf("}, \"each_second\": [");
    for (int k = 0; k <= (int)(last_ack - start) && k < MOST_SECONDS; k++)
        printf("%s%ld", k ? ", " : "", (long)each_second[k]);
    printf("]}\n");
    return 0;
}
