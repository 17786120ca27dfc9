/* The front of the HTTP server: sockets read and written by a thread of its own, without Python's lock.
 *
 * It knows one kind of request, the one that every AWS SDK sends: POST / HTTP/1.1 with a Content-Length, one at a time
 * on its connection. A connection that sends anything else is handed over, with every byte that was not consumed: what
 * HTTP allows beyond this, and every refusal, is the business of afterwrite/server/http.py.
 *
 *     socket -> [connection] -> inbox -> front_take (Python) ... front_answer (Python) -> outbox -> socket
 *
 * Connections belong to this thread, but for one whose request is with Python (`ASKED`): on its socket front_answer may
 * send. `lock` guards what both see: the inbox, the outbox, what Python has asked for, and such a connection's end.
 */
#define _GNU_SOURCE
#include "front.h"

#include "plain_request.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_BYTES_FIRST 4096
#define BUFFER_BYTES_KEPT 65536
#define EVENTS_MAX 256
#define ACCEPTED_A_ROUND 64
#define DESCRIPTORS_LEFT 16

enum { WAKE = 1, LISTENER = 2, FIRST_SLOT = 3 }; /* what an event is of: its number, slots from FIRST_SLOT */
enum state { FREE, READING, ASKED, SENDING };

struct buffer {
    char *bytes;
    size_t used, room;
};

struct answer { /* in the outbox, before its bytes; `closes`: the connection ends with it */
    uint32_t slot, generation;
    uint16_t closes, is_sent;
    uint32_t bytes;
};

struct connection {
    int socket;
    _Atomic uint32_t generation; /* which of the slot's connections it is */
    enum state state;
    bool readable; /* something came that was not read, or the client's end */
    bool is_ending; /* the client sends nothing more */
    bool closes;   /* with the answer that is being sent */
    struct buffer in, out;
    size_t sent;
    struct plain_request request; /* without a head until it has come */
    int64_t since_ms; /* of the present state */
};

struct front {
    pthread_t thread;
    pthread_mutex_t lock;
    int poll, wake, listener, ready; /* `ready` is Python's: it counts up when the inbox is no longer empty */
    bool stopping, ended; /* as Python has asked */
    bool is_stopping, listens; /* as the thread knows */
    bool is_woken; /* `wake` was counted up since the outbox was looked at */
    size_t head_bytes_max, body_bytes_max;
    int64_t idle_ms_max, sending_ms_max, partial_ms_max;
    int sweep_ms; /* how often it looks whose time is up */
    struct connection **connections;
    uint32_t slots, slots_free;
    uint32_t *free_slots;
    _Atomic uint32_t open; /* connections */
    _Atomic uint32_t asked; /* of them those whose request Python has not answered yet */
    struct buffer inbox, taken, outbox, sending;
    int64_t now_ms;
};

static int64_t clock_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool reserve(struct buffer *buffer, size_t more) {
    if (buffer->used + more <= buffer->room) return true;
    size_t room = buffer->room ? buffer->room : BUFFER_BYTES_FIRST;
    while (room < buffer->used + more) room *= 2;
    char *bytes = realloc(buffer->bytes, room);
    if (bytes == NULL) return false;
    buffer->bytes = bytes;
    buffer->room = room;
    return true;
}

static void append(struct buffer *buffer, const void *bytes, size_t count) { /* what was reserved before */
    memcpy(buffer->bytes + buffer->used, bytes, count);
    buffer->used += count;
}

static void shrink(struct buffer *buffer) {
    buffer->used = 0;
    if (buffer->room > BUFFER_BYTES_KEPT) {
        free(buffer->bytes);
        memset(buffer, 0, sizeof *buffer);
    }
}

static void signal_fd(int descriptor) {
    uint64_t one = 1;
    while (write(descriptor, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

/* --- connections */

static struct connection *open_slot(struct front *front, uint32_t *slot) {
    if (front->slots_free == 0) {
        uint32_t slots = front->slots ? front->slots * 2 : 64;
        pthread_mutex_lock(&front->lock);
        struct connection **connections = realloc(front->connections, slots * sizeof *connections);
        if (connections != NULL) front->connections = connections;
        pthread_mutex_unlock(&front->lock);
        if (connections == NULL) return NULL;
        uint32_t *free_slots = realloc(front->free_slots, slots * sizeof *free_slots);
        if (free_slots == NULL) return NULL;
        front->free_slots = free_slots;
        for (uint32_t new_slot = front->slots; new_slot < slots; new_slot++) {
            connections[new_slot] = calloc(1, sizeof **connections);
            if (connections[new_slot] == NULL) return NULL;
            front->slots = new_slot + 1;
            free_slots[front->slots_free++] = new_slot;
        }
    }
    *slot = front->free_slots[--front->slots_free];
    front->open++;
    return front->connections[*slot];
}

static void release(struct front *front, uint32_t slot) {
    struct connection *connection = front->connections[slot];
    if (connection->state == ASKED) front->asked--;
    connection->generation++;
    connection->state = FREE;
    shrink(&connection->in);
    shrink(&connection->out);
    front->free_slots[front->slots_free++] = slot;
    front->open--;
}

static void end(struct front *front, uint32_t slot) {
    close(front->connections[slot]->socket);
    release(front, slot);
}

static void begin_reading(struct front *front, struct connection *connection) {
    connection->state = READING;
    connection->request.head_bytes = 0;
    connection->since_ms = front->now_ms;
}

/* --- requests */

static void put_into_inbox(struct front *front, const struct request *request, const char *bytes, size_t count) {
    bool was_empty = front->inbox.used == 0;
    append(&front->inbox, request, sizeof *request);
    append(&front->inbox, bytes, count);
    /* What follows begins where a number may stand. */
    size_t rest = front->inbox.used % REQUEST_ALIGNMENT;
    if (rest) {
        static const char zeros[REQUEST_ALIGNMENT];
        append(&front->inbox, zeros, REQUEST_ALIGNMENT - rest);
    }
    if (was_empty) signal_fd(front->ready);
}

static void hand_over(struct front *front, uint32_t slot) {
    struct connection *connection = front->connections[slot];
    struct request request = {.slot = slot, .flags = HANDED_OVER, .target_bytes = (uint32_t)connection->socket};
    request.body_bytes = connection->in.used;
    pthread_mutex_lock(&front->lock);
    bool has_room = reserve(&front->inbox, sizeof request + connection->in.used + REQUEST_ALIGNMENT);
    epoll_ctl(front->poll, EPOLL_CTL_DEL, connection->socket, NULL);
    if (has_room) put_into_inbox(front, &request, connection->in.bytes, connection->in.used);
    pthread_mutex_unlock(&front->lock);
    if (has_room) release(front, slot);
    else end(front, slot);
}

static void ask(struct front *front, uint32_t slot) {
    struct connection *connection = front->connections[slot];
    const struct plain_request *plain = &connection->request;
    struct request request = {slot, connection->generation, plain->keeps_alive ? KEEP_ALIVE : 0, plain->target_at,
                              plain->target_bytes, plain->head_bytes, plain->body_bytes};
    size_t count = plain->head_bytes + plain->body_bytes;
    pthread_mutex_lock(&front->lock);
    bool has_room = reserve(&front->inbox, sizeof request + count + REQUEST_ALIGNMENT);
    if (has_room) {
        connection->state = ASKED;
        front->asked++;
        put_into_inbox(front, &request, connection->in.bytes, count);
    }
    pthread_mutex_unlock(&front->lock);
    if (!has_room) end(front, slot);
    connection->since_ms = front->now_ms;
}

/* Take what was read as far as it goes; false once the connection is not to be read from. */
static bool advance(struct front *front, uint32_t slot) {
    struct connection *connection = front->connections[slot];
    struct plain_request *request = &connection->request;
    if (request->head_bytes == 0) {
        enum parsed parsed =
            parse_plain_request(connection->in.bytes, connection->in.used, front->head_bytes_max, request);
        if (parsed == INCOMPLETE) return true;
        if (parsed == OTHER || request->body_bytes > front->body_bytes_max) {
            hand_over(front, slot);
            return false;
        }
    }
    size_t whole = request->head_bytes + request->body_bytes;
    if (connection->in.used < whole) return true;
    if (connection->in.used > whole) hand_over(front, slot); /* it sends requests without waiting for answers */
    else ask(front, slot);
    return false;
}

static void read_from(struct front *front, uint32_t slot) {
    struct connection *connection = front->connections[slot];
    struct buffer *in = &connection->in;
    while (true) {
        const struct plain_request *request = &connection->request;
        size_t whole = request->head_bytes ? request->head_bytes + request->body_bytes : 0;
        if (!reserve(in, whole > in->used ? whole - in->used + 1 : BUFFER_BYTES_FIRST)) {
            end(front, slot);
            return;
        }
        size_t room = in->room - in->used;
        if (in->used == 0) connection->since_ms = front->now_ms;
        ssize_t got = recv(connection->socket, in->bytes + in->used, room, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            connection->readable = false;
            return;
        }
        if (got <= 0) {
            end(front, slot);
            return;
        }
        in->used += (size_t)got;
        connection->readable = (size_t)got == room || connection->is_ending;
        if (!advance(front, slot) || !connection->readable) return; /* what comes later is another event */
    }
}

/* --- answers */

static void answered(struct front *front, uint32_t slot) {
    struct connection *connection = front->connections[slot];
    if (connection->closes || front->is_stopping) {
        shutdown(connection->socket, SHUT_WR);
        end(front, slot);
        return;
    }
    shrink(&connection->in);
    shrink(&connection->out);
    begin_reading(front, connection);
    if (connection->readable) read_from(front, slot);
}

/* Send what is left of a connection's answer, as much as goes. */
static void send_rest(struct front *front, uint32_t slot) {
    struct connection *connection = front->connections[slot];
    while (connection->sent < connection->out.used) {
        ssize_t sent = send(connection->socket, connection->out.bytes + connection->sent,
                            connection->out.used - connection->sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return; /* EPOLLOUT comes */
        if (sent < 0) {
            end(front, slot);
            return;
        }
        connection->sent += (size_t)sent;
        connection->since_ms = front->now_ms;
    }
    answered(front, slot);
}

static void send_answer(struct front *front, const struct answer *answer, const char *bytes) {
    struct connection *connection = front->connections[answer->slot];
    if (connection->generation != answer->generation || connection->state != ASKED) return; /* it went away */
    connection->closes = answer->closes;
    connection->state = SENDING;
    front->asked--;
    if (answer->is_sent) {
        answered(front, answer->slot);
        return;
    }
    ssize_t sent;
    do sent = send(connection->socket, bytes, answer->bytes, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent == (ssize_t)answer->bytes) {
        answered(front, answer->slot);
        return;
    }
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
        end(front, answer->slot);
        return;
    }
    size_t begun = sent < 0 ? 0 : (size_t)sent;
    connection->out.used = 0;
    if (!reserve(&connection->out, answer->bytes - begun)) {
        end(front, answer->slot);
        return;
    }
    append(&connection->out, bytes + begun, answer->bytes - begun);
    connection->sent = 0;
    connection->since_ms = front->now_ms;
}

static void send_answers(struct front *front) {
    pthread_mutex_lock(&front->lock);
    front->is_woken = false;
    if (front->outbox.used == 0) {
        pthread_mutex_unlock(&front->lock);
        return;
    }
    struct buffer full = front->outbox;
    front->outbox = front->sending;
    front->outbox.used = 0;
    pthread_mutex_unlock(&front->lock);
    for (size_t at = 0; at < full.used;) {
        struct answer answer;
        memcpy(&answer, full.bytes + at, sizeof answer);
        send_answer(front, &answer, full.bytes + at + sizeof answer);
        at += sizeof answer + answer.bytes;
    }
    front->sending = full;
    shrink(&front->sending);
}

/* --- the thread */

/* Whether a connection leaves the store the file descriptors that it opens its files with. */
static bool has_room(int listener) {
    int lowest = fcntl(listener, F_DUPFD_CLOEXEC, 0);
    if (lowest < 0) return false;
    close(lowest);
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) < 0 || (rlim_t)lowest + DESCRIPTORS_LEFT < limit.rlim_cur;
}

/* Try again at the next sweep, rather than at once and for ever. */
static void pause_listening(struct front *front) {
    epoll_ctl(front->poll, EPOLL_CTL_DEL, front->listener, NULL);
    front->listens = false;
}

static void accept_some(struct front *front) {
    for (int count = 0; count < ACCEPTED_A_ROUND; count++) {
        if (!has_room(front->listener)) {
            pause_listening(front);
            return;
        }
        int socket = accept4(front->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (socket < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) pause_listening(front);
            return;
        }
        int on = 1;
        setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        uint32_t slot;
        struct connection *connection = open_slot(front, &slot);
        if (connection == NULL) {
            close(socket);
            return;
        }
        connection->socket = socket;
        connection->readable = connection->is_ending = connection->closes = false;
        begin_reading(front, connection);
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
        event.data.u64 = (uint64_t)connection->generation << 32 | (slot + FIRST_SLOT);
        if (epoll_ctl(front->poll, EPOLL_CTL_ADD, socket, &event) < 0) end(front, slot);
    }
}

static void listen_on(struct front *front) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = LISTENER};
    front->listens = epoll_ctl(front->poll, EPOLL_CTL_ADD, front->listener, &event) == 0;
}

/* End the connections whose time is up; hand over those that send slowly, to be told so. */
static void sweep(struct front *front) {
    for (uint32_t slot = 0; slot < front->slots; slot++) {
        struct connection *connection = front->connections[slot];
        int64_t waited_ms = front->now_ms - connection->since_ms;
        if (connection->state == READING && connection->in.used == 0) {
            if (front->is_stopping || waited_ms > front->idle_ms_max) end(front, slot);
        } else if (connection->state == READING) {
            if (front->is_stopping) end(front, slot);
            else if (waited_ms > front->partial_ms_max) hand_over(front, slot);
        } else if (connection->state == SENDING && waited_ms > front->sending_ms_max) {
            end(front, slot);
        }
    }
    if (front->is_stopping && front->listener >= 0) {
        if (front->listens) epoll_ctl(front->poll, EPOLL_CTL_DEL, front->listener, NULL);
        close(front->listener);
        front->listener = -1;
    } else if (!front->listens && front->listener >= 0) {
        listen_on(front);
    }
}

static void handle(struct front *front, const struct epoll_event *event) {
    uint32_t slot = (uint32_t)event->data.u64 - FIRST_SLOT;
    struct connection *connection = front->connections[slot];
    if (connection->generation != (uint32_t)(event->data.u64 >> 32)) return;
    if (event->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) connection->is_ending = true;
    if (connection->state == READING) {
        if (event->events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) read_from(front, slot);
    } else if (connection->state == SENDING) {
        if (event->events & (EPOLLIN | EPOLLRDHUP)) connection->readable = true;
        if (event->events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) send_rest(front, slot);
    } else if (event->events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        pthread_mutex_lock(&front->lock);
        connection->readable = true;
        if (event->events & (EPOLLHUP | EPOLLERR)) end(front, slot); /* nobody is there to take its answer */
        pthread_mutex_unlock(&front->lock);
    }
}

static void *run(void *argument) {
    struct front *front = argument;
    struct epoll_event events[EVENTS_MAX];
    int64_t swept_ms = 0;
    while (true) {
        pthread_mutex_lock(&front->lock);
        bool ended = front->ended, stopping = front->stopping;
        pthread_mutex_unlock(&front->lock);
        if (ended) break;
        front->now_ms = clock_ms();
        if (front->now_ms - swept_ms >= front->sweep_ms || stopping != front->is_stopping) {
            swept_ms = front->now_ms;
            front->is_stopping = stopping;
            sweep(front);
        }
        int count = epoll_wait(front->poll, events, EVENTS_MAX, front->sweep_ms);
        front->now_ms = clock_ms();
        bool accepts = false;
        for (int number = 0; number < count; number++) {
            if (events[number].data.u64 == LISTENER) accepts = true;
            else if (events[number].data.u64 == WAKE) {
                uint64_t times;
                while (read(front->wake, &times, sizeof times) < 0 && errno == EINTR) {
                }
            } else handle(front, &events[number]);
        }
        /* Last: of an answer that was given after an event of its connection had come and before that was handled, this
         * thread hears nothing more; nor of one given before `wake` was read. */
        send_answers(front);
        if (accepts) accept_some(front);
    }
    for (uint32_t slot = 0; slot < front->slots; slot++) {
        if (front->connections[slot]->state != FREE) end(front, slot);
    }
    return NULL;
}

/* --- what Python calls */

/* Free what front_open made; the thread has ended, or never began. */
static void destroy(struct front *front) {
    if (front->listener >= 0) close(front->listener);
    if (front->poll >= 0) close(front->poll);
    if (front->wake >= 0) close(front->wake);
    for (uint32_t slot = 0; slot < front->slots; slot++) {
        free(front->connections[slot]->in.bytes);
        free(front->connections[slot]->out.bytes);
        free(front->connections[slot]);
    }
    free(front->connections);
    free(front->free_slots);
    free(front->inbox.bytes);
    free(front->taken.bytes);
    free(front->outbox.bytes);
    free(front->sending.bytes);
    pthread_mutex_destroy(&front->lock);
    free(front);
}

/* Serve the connections of `listener`, which is the front's from now on; NULL where the system refuses. */
struct front *front_open(int listener, int ready, size_t head_bytes_max, size_t body_bytes_max, int64_t idle_ms_max,
                         int64_t sending_ms_max, int64_t partial_ms_max, int sweep_ms) {
    struct front *front = calloc(1, sizeof *front);
    if (front == NULL) return NULL;
    pthread_mutex_init(&front->lock, NULL);
    front->listener = listener;
    front->ready = ready;
    front->head_bytes_max = head_bytes_max;
    front->body_bytes_max = body_bytes_max;
    front->idle_ms_max = idle_ms_max;
    front->sending_ms_max = sending_ms_max;
    front->partial_ms_max = partial_ms_max;
    front->sweep_ms = sweep_ms;
    front->now_ms = clock_ms();
    front->poll = epoll_create1(EPOLL_CLOEXEC);
    front->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = WAKE};
    if (front->poll < 0 || front->wake < 0 || epoll_ctl(front->poll, EPOLL_CTL_ADD, front->wake, &event) < 0) {
        destroy(front);
        return NULL;
    }
    fcntl(listener, F_SETFL, fcntl(listener, F_GETFL) | O_NONBLOCK);
    listen_on(front);
    if (pthread_create(&front->thread, NULL, run, front) != 0) {
        destroy(front);
        return NULL;
    }
    pthread_setname_np(front->thread, "front");
    return front;
}

/* The bytes of the first `count` requests in the inbox, or of all where there are fewer. */
static size_t bytes_of_first(const struct buffer *inbox, uint32_t count) {
    size_t at = 0;
    for (; count > 0 && at < inbox->used; count--) {
        struct request request;
        memcpy(&request, inbox->bytes + at, sizeof request);
        at += whole_bytes(&request);
    }
    return at;
}

/* The first requests, at most `count`, of those that have come and were not taken, one `struct request` after the
 * other, each with its bytes, padded to 8. They stay until the next call. */
const char *front_take(struct front *front, uint32_t count, size_t *bytes) {
    pthread_mutex_lock(&front->lock);
    *bytes = bytes_of_first(&front->inbox, count);
    size_t left = front->inbox.used - *bytes;
    shrink(&front->taken);
    if (left > 0 && !reserve(&front->taken, left)) { /* no memory for what is left, so nothing is */
        *bytes = front->inbox.used;
        left = 0;
    }
    if (left > 0) append(&front->taken, front->inbox.bytes + *bytes, left);
    struct buffer full = front->inbox;
    front->inbox = front->taken;
    front->taken = full;
    pthread_mutex_unlock(&front->lock);
    if (left > 0) signal_fd(front->ready);
    return full.bytes;
}

/* How many requests have come that were not answered. */
uint32_t front_asked_count(struct front *front) { return front->asked; }

/* Send of an answer what goes at once; how many bytes that were. The connection is with Python, or has ended. */
static size_t send_at_once(struct front *front, const struct answer *answer, const char *bytes) {
    ssize_t sent = -1;
    pthread_mutex_lock(&front->lock);
    struct connection *connection = front->connections[answer->slot];
    if (connection->generation == answer->generation) sent = send(connection->socket, bytes, answer->bytes, MSG_NOSIGNAL);
    pthread_mutex_unlock(&front->lock);
    return sent < 0 ? 0 : (size_t)sent;
}

/* Send answers, one `struct answer` after the other, each with its bytes; false where there is no memory for them.
 * A single one is sent at once, which saves waking the front's thread. */
bool front_answer(struct front *front, const char *packed, size_t bytes) {
    struct answer first;
    memcpy(&first, packed, sizeof first);
    packed += sizeof first;
    bytes -= sizeof first;
    if (bytes == first.bytes && !first.closes) {
        size_t sent = send_at_once(front, &first, packed);
        first.is_sent = sent == bytes;
        first.bytes -= (uint32_t)sent;
        packed += sent;
        bytes -= sent;
    }
    pthread_mutex_lock(&front->lock);
    bool has_room = reserve(&front->outbox, sizeof first + bytes);
    if (has_room) {
        append(&front->outbox, &first, sizeof first);
        append(&front->outbox, packed, bytes);
    }
    /* Of what was sent the thread hears with the connection's next event, unless that came already. */
    bool wakes = !first.is_sent || front->connections[first.slot]->readable || front->stopping;
    if (front->is_woken) wakes = false;
    else front->is_woken = wakes;
    pthread_mutex_unlock(&front->lock);
    if (wakes) signal_fd(front->wake);
    return has_room;
}

/* Take no more connections; end those that wait for nothing, the others with their answers. */
void front_stop(struct front *front) {
    pthread_mutex_lock(&front->lock);
    front->stopping = true;
    pthread_mutex_unlock(&front->lock);
    signal_fd(front->wake);
}

/* How many connections are open. */
uint32_t front_open_count(struct front *front) { return front->open; }

/* End everything, answered or not. */
void front_close(struct front *front) {
    pthread_mutex_lock(&front->lock);
    front->ended = true;
    pthread_mutex_unlock(&front->lock);
    signal_fd(front->wake);
    pthread_join(front->thread, NULL);
    destroy(front);
}
