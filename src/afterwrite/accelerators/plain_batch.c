/* Many plain writes written as one: their items, their change records, and the journal's entries of both.
 *
 * What comes out is byte for byte what store/items.py and store/transactions.py make of the same puts one after the
 * other. Of two things the decision is left to Python: whether two texts that may be the same JSON in another order
 * are, and everything about an item in the store that is damaged.
 */
#include "plain_batch.h"

#include "arena.h"
#include "big_endian.h"
#include "crc32.h"
#include "plain_item.h"
#include "written_item.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define CHECKSUM_BYTES 4
#define ENTRY_HEAD_BYTES 7 /* of the journal's entries: database, length of the key, length of what is stored */
#define CHANGE_HEAD_BYTES 26
#define CHANGE_KEY_BYTES 14
#define TABLE_NUMBER_BYTES 4 /* of a place; the partition key's digest follows */
#define HASH_KEY_BYTES 2
#define NONE UINT32_MAX
#define VALUES_BYTES_MAX ((size_t)1 << 27) /* of all items before and after their writes; offsets have 32 bits */

enum event { INSERT, MODIFY };

/* A put, and what becomes of it; `value` is what it makes of its item. */
struct put {
    struct plain_put head;
    struct span value, key, place, arguments;
    struct span old; /* the value before it, none where it is new */
    uint32_t checksum; /* of the database and the place */
    uint32_t following; /* a place's next one in the table of places */
    struct put *first;  /* of its place */
    uint32_t last;      /* of a place's first put: the last one that changed something */
    bool changes, is_asked; /* whether it is known what it changes */
    uint64_t position;
    uint32_t stream;
};

struct batch {
    struct put *puts;
    uint32_t count;
    uint32_t *heads; /* of the table of places: by checksum */
    uint32_t heads_mask;
    const struct batch_given *given;
    struct batch_count *counts;
    uint32_t *left; /* the requests that were left to Python */
    uint32_t left_count;
    struct arena arena;
};

/* Where what is written goes. */
struct out {
    uint8_t *start, *at;
    struct batch_entry *entries;
};

static void emit_number(struct out *out, uint64_t number, size_t bytes) {
    store_big_endian(out->at, number, bytes);
    out->at += bytes;
}

static void emit_bytes(struct out *out, const uint8_t *bytes, size_t count) {
    if (count > 0) memcpy(out->at, bytes, count);
    out->at += count;
}

static void read_puts(struct batch *batch, const uint8_t *at) {
    for (uint32_t number = 0; number < batch->count; number++) {
        struct put *put = &batch->puts[number];
        const uint8_t *bytes = at + sizeof put->head;
        at = after_write(at, &put->head);
        put->value = (struct span){bytes, put->head.value_bytes};
        put->key = (struct span){bytes += put->value.bytes, put->head.key_bytes};
        put->place = (struct span){bytes += put->key.bytes, put->head.place_bytes};
        put->arguments = (struct span){bytes + put->place.bytes, put->head.arguments_bytes};
    }
}

/* The first put of the same place; itself where it is that. */
static struct put *first_of(struct batch *batch, struct put *put) {
    uint32_t *head = &batch->heads[put->checksum & batch->heads_mask];
    for (uint32_t other = *head; other != NONE; other = batch->puts[other].following)
        if (is_same(&batch->puts[other].place, &put->place)) return &batch->puts[other];
    put->following = *head;
    *head = (uint32_t)(put - batch->puts);
    return put;
}

/* The value in what is stored; false where it is damaged. */
static bool unseal(uint32_t checksum, const uint8_t *stored, size_t count, struct span *value) {
    if (count < VALUE_HEAD_BYTES + CHECKSUM_BYTES) return false;
    *value = (struct span){stored, count - CHECKSUM_BYTES};
    return crc32_of(checksum, stored, value->bytes) == load_big_endian(stored + value->bytes, CHECKSUM_BYTES);
}

static struct span text_of(const struct span *value) {
    return (struct span){value->at + VALUE_HEAD_BYTES, value->bytes - VALUE_HEAD_BYTES};
}

/* Whether two canonical texts can be the same JSON with its members in another order: then they have the same bytes
 * in another order. */
static bool may_be_same(const struct span *one, const struct span *other) {
    if (one->bytes != other->bytes) return false;
    uint64_t difference = 0, of_cubes = 0;
    for (size_t index = 0; index < one->bytes; index++) {
        uint64_t mine = one->at[index], its = other->at[index];
        difference += mine - its;
        of_cubes += mine * mine * mine - its * its * its;
    }
    return difference == 0 && of_cubes == 0;
}

/* Whether a put changes the item. Where that is not known, it is asked, and taken as if it did. */
static bool changes_item(struct put *put, uint8_t verdict) {
    if (put->old.at == NULL) return true;
    if (put->head.form == NO_FORM && load_big_endian(put->old.at, 4) != put->head.item_size) return true;
    struct span old = text_of(&put->old), new = text_of(&put->value);
    if (is_same(&old, &new)) return false;
    if (!may_be_same(&old, &new)) return true;
    put->is_asked = verdict == UNKNOWN;
    return verdict != SAME;
}

/* Find what a put makes of its item as it is before the put's request; false where Python has to. */
static bool decide_put(struct batch *batch, struct put *put, uint8_t verdict) {
    const struct put *first = put->first = first_of(batch, put);
    if (first != put) put->old = first->last == NONE ? first->old : batch->puts[first->last].value;
    if (verdict == NOT_HERE) return false;
    if (put->head.form != NO_FORM) {
        const struct batch_given *given = batch->given;
        struct asked_write write = {put->head.kind, given->forms + put->head.form, put->value, put->arguments,
                                    expiry_in(given->names, put->head.table)};
        switch (become(&write, &put->old, &batch->arena, &put->value)) {
        case LEFT:
            return false;
        case AS_IT_WAS:
            return true;
        case NEW_VALUE:
            put->head.item_size = (uint32_t)load_big_endian(put->value.at, 4);
        }
    }
    put->changes = changes_item(put, verdict);
    return true;
}

/* Take in that a put has changed its item. */
static void take_in(struct batch *batch, struct put *put, uint64_t *position) {
    const struct batch_table *table = &batch->given->tables[put->head.table];
    struct batch_count *count = &batch->counts[put->head.table];
    put->first->last = (uint32_t)(put - batch->puts);
    count->items += put->old.at == NULL;
    count->bytes += (int64_t)put->head.item_size;
    if (put->old.at != NULL) count->bytes -= (int64_t)load_big_endian(put->old.at, 4);
    count->changes++;
    put->stream = table->stream;
    put->position = table->has_stream ? (*position)++ : 0;
}

/* Find what each put changes, in the order of the requests, whose puts happen together or not at all; false where an
 * item in the store is damaged, or all of them are too many bytes. */
static bool decide(struct batch *batch, const uint8_t *olds, const uint32_t *old_bytes, const uint8_t *verdicts,
                   const struct batch_databases *databases, uint64_t position) {
    uint32_t begins = 0, request = 0;
    size_t bytes = 0;
    bool is_done = true;
    for (uint32_t number = 0; number < batch->count; number++) {
        struct put *put = &batch->puts[number];
        put->last = NONE;
        put->checksum = crc32_of(databases->items_seed, put->place.at, put->place.bytes);
        if (old_bytes[number] > 0 && !unseal(put->checksum, olds, old_bytes[number], &put->old)) return false;
        olds += old_bytes[number];
        is_done = decide_put(batch, put, verdicts[number]) && is_done;
        bytes += put->old.bytes + put->value.bytes;
        if (bytes > VALUES_BYTES_MAX) return false;
        if (!put->head.is_last) continue;
        if (!is_done) batch->left[batch->left_count++] = request;
        for (; begins <= number; begins++) {
            put = &batch->puts[begins];
            put->changes = put->changes && is_done;
            put->is_asked = put->is_asked && is_done;
            if (put->changes) take_in(batch, put, &position);
        }
        is_done = true;
        request++;
    }
    return true;
}

static uint32_t keep_questions(const struct batch *batch, struct out *out, struct batch_question *questions) {
    uint32_t count = 0;
    for (uint32_t number = 0; number < batch->count; number++) {
        if (!batch->puts[number].is_asked) continue;
        struct span old = text_of(&batch->puts[number].old), new = text_of(&batch->puts[number].value);
        struct batch_question *question = &questions[count++];
        question->put = number;
        question->old_at = (uint32_t)(out->at - out->start);
        emit_bytes(out, old.at, old.bytes);
        question->new_at = (uint32_t)(out->at - out->start);
        emit_bytes(out, new.at, new.bytes);
        question->end = (uint32_t)(out->at - out->start);
    }
    return count;
}

static uint32_t keep_moves(const struct batch *batch, struct batch_move *moves) {
    uint32_t count = 0;
    for (uint32_t number = 0; number < batch->count; number++) {
        const struct put *put = &batch->puts[number];
        if (!put->changes) continue;
        uint64_t was = put->old.at == NULL ? 0 : load_big_endian(put->old.at + 4, 8);
        uint64_t becomes = load_big_endian(put->value.at + 4, 8);
        if (was != becomes) moves[count++] = (struct batch_move){was, becomes, number};
    }
    return count;
}

static int by_place(const void *one, const void *other) {
    const struct span *mine = &(*(const struct put *const *)one)->place;
    const struct span *its = &(*(const struct put *const *)other)->place;
    size_t both = mine->bytes < its->bytes ? mine->bytes : its->bytes;
    int order = memcmp(mine->at, its->at, both);
    return order != 0 ? order : (mine->bytes > its->bytes) - (mine->bytes < its->bytes);
}

static int by_stream(const void *one, const void *other) {
    const struct put *mine = *(const struct put *const *)one, *its = *(const struct put *const *)other;
    if (mine->stream != its->stream) return mine->stream < its->stream ? -1 : 1;
    return (mine->position > its->position) - (mine->position < its->position);
}

/* Begin an entry of the journal, whose key and value follow. */
static void begin_entry(struct out *out, uint32_t database, size_t key_bytes, size_t value_bytes) {
    emit_number(out, database, 1);
    emit_number(out, key_bytes, 2);
    emit_number(out, value_bytes + CHECKSUM_BYTES, 4);
    out->entries->key_at = (uint32_t)(out->at - out->start);
    out->entries->stored_at = out->entries->key_at + (uint32_t)key_bytes;
}

/* End it with the checksum of the value, after that of what is before. */
static void end_entry(struct out *out, uint32_t checksum) {
    const uint8_t *value = out->start + out->entries->stored_at;
    emit_number(out, crc32_of(checksum, value, (size_t)(out->at - value)), CHECKSUM_BYTES);
    out->entries->end = (uint32_t)(out->at - out->start);
    out->entries++;
}

/* Write the items as the last put of each place leaves them. */
static uint32_t write_items(struct batch *batch, const struct batch_databases *databases, struct put **sorted,
                            struct out *out) {
    uint32_t count = 0;
    for (uint32_t number = 0; number < batch->count; number++) {
        struct put *put = &batch->puts[number];
        if (put->changes && put->first->last == number) sorted[count++] = put;
    }
    qsort(sorted, count, sizeof *sorted, by_place);
    for (uint32_t number = 0; number < count; number++) {
        const struct put *put = sorted[number];
        begin_entry(out, databases->items_number, put->place.bytes, put->value.bytes);
        emit_bytes(out, put->place.at, put->place.bytes);
        emit_bytes(out, put->value.at, put->value.bytes);
        end_entry(out, put->checksum);
    }
    return count;
}

static void write_change(const struct put *put, const struct batch_table *table, uint64_t now_us,
                         const struct batch_databases *databases, struct out *out) {
    struct span new = text_of(&put->value), old = {NULL, 0};
    uint64_t size = put->head.key_size;
    enum event event = put->old.at == NULL ? INSERT : MODIFY;
    if (table->shows_new) size += put->head.item_size;
    else new.bytes = 0;
    if (table->shows_old && event == MODIFY) {
        old = text_of(&put->old);
        size += load_big_endian(put->old.at, 4);
    }
    begin_entry(out, databases->changes_number, CHANGE_KEY_BYTES,
                CHANGE_HEAD_BYTES + put->key.bytes + new.bytes + old.bytes);
    emit_number(out, table->stream, 4);
    emit_number(out, put->position, 8);
    emit_bytes(out, put->place.at + TABLE_NUMBER_BYTES, HASH_KEY_BYTES);
    uint32_t checksum = crc32_of(databases->changes_seed, out->at - CHANGE_KEY_BYTES, CHANGE_KEY_BYTES);
    emit_number(out, now_us, 8);
    emit_number(out, size, 4);
    emit_number(out, event, 1);
    emit_number(out, 0, 1); /* not by time to live */
    emit_number(out, put->key.bytes, 4);
    emit_number(out, new.bytes, 4);
    emit_number(out, old.bytes, 4);
    emit_bytes(out, put->key.at, put->key.bytes);
    emit_bytes(out, new.at, new.bytes);
    emit_bytes(out, old.at, old.bytes);
    end_entry(out, checksum);
}

static uint32_t write_changes(struct batch *batch, const struct batch_databases *databases, uint64_t now_us,
                              struct put **sorted, struct out *out) {
    uint32_t count = 0;
    for (uint32_t number = 0; number < batch->count; number++) {
        struct put *put = &batch->puts[number];
        if (put->changes && batch->given->tables[put->head.table].has_stream) sorted[count++] = put;
    }
    qsort(sorted, count, sizeof *sorted, by_stream);
    for (uint32_t number = 0; number < count; number++)
        write_change(sorted[number], &batch->given->tables[sorted[number]->head.table], now_us, databases, out);
    return count;
}

static uint32_t keep_counts(struct batch_count *counts, uint32_t tables) {
    uint32_t kept = 0;
    for (uint32_t table = 0; table < tables; table++) {
        counts[table].table = table;
        if (counts[table].changes > 0) counts[kept++] = counts[table];
    }
    return kept;
}

/* How many bytes what is written, or asked, has at most. */
static size_t bytes_max(const struct batch *batch) {
    size_t bytes = 0;
    for (uint32_t number = 0; number < batch->count; number++) {
        const struct put *put = &batch->puts[number];
        bytes += put->place.bytes + 2 * put->value.bytes + put->key.bytes + put->old.bytes + CHANGE_KEY_BYTES +
                 CHANGE_HEAD_BYTES + 2 * (ENTRY_HEAD_BYTES + CHECKSUM_BYTES);
    }
    return bytes;
}

/* Where the parts of what is written begin; how many bytes they are before the last one, which has any size. */
static size_t place_parts(struct batch_written *written, uint32_t count, uint32_t tables) {
    size_t at = (sizeof *written + 7) / 8 * 8;
    memset(written, 0, sizeof *written);
    written->counts_at = (uint32_t)at;
    at += tables * sizeof(struct batch_count);
    written->moves_at = (uint32_t)at;
    at += count * sizeof(struct batch_move);
    written->questions_at = (uint32_t)at;
    at += count * sizeof(struct batch_question);
    written->left_at = (uint32_t)at;
    at += count * sizeof(uint32_t);
    written->entries_at = (uint32_t)at;
    at += 2 * count * sizeof(struct batch_entry);
    written->bytes_at = (uint32_t)at;
    return at;
}

static void write_parts(struct batch *batch, const struct batch_commit *commit, struct put **sorted, uint8_t *room,
                        struct batch_written *written) {
    const struct batch_databases *databases = &batch->given->databases;
    uint8_t *bytes = room + written->bytes_at;
    struct out out = {bytes, bytes, (struct batch_entry *)(room + written->entries_at)};
    written->questions = keep_questions(batch, &out, (struct batch_question *)(room + written->questions_at));
    if (written->questions == 0) {
        written->moves = keep_moves(batch, (struct batch_move *)(room + written->moves_at));
        written->items = write_items(batch, databases, sorted, &out);
        written->changes = write_changes(batch, databases, commit->now_us, sorted, &out);
        written->counts = keep_counts(batch->counts, batch->given->table_count);
    }
    written->left = batch->left_count;
    written->bytes = (uint32_t)(out.at - out.start);
}

/* Write `count` puts. `olds` is what is stored at their places, without anything between, `old_bytes` how many bytes
 * of it are for each, 0 where nothing is; and `verdicts` of each put whether its item is the old one. `room` begins at
 * a multiple of 8 bytes, and gets a `struct batch_written` with its parts.
 *
 * How many bytes of room it takes: where that is more than there is, nothing was written. 0 where Python has to do it: an
 * item in the store is damaged, or there is not the memory for all of them. Where there are questions nothing else is of
 * use: with their answers it is called again. */
size_t plain_batch_write(const uint8_t *puts, uint32_t count, const uint8_t *olds, const uint32_t *old_bytes,
                         const uint8_t *verdicts, const struct batch_given *given, const struct batch_commit *commit,
                         uint8_t *room, size_t room_bytes) {
    struct batch_written written;
    size_t bytes = place_parts(&written, count, given->table_count);
    if (bytes > room_bytes) return bytes;
    uint32_t heads = 16;
    while (heads < 2 * count) heads *= 2;
    struct batch batch = {.count = count, .heads_mask = heads - 1, .given = given};
    batch.counts = (struct batch_count *)(room + written.counts_at);
    memset(batch.counts, 0, given->table_count * sizeof *batch.counts);
    batch.left = (uint32_t *)(room + written.left_at);
    batch.puts = calloc(count, sizeof *batch.puts);
    batch.heads = malloc(heads * sizeof *batch.heads);
    struct put **sorted = calloc(count, sizeof(struct put *));
    bool is_done = batch.puts != NULL && batch.heads != NULL && sorted != NULL;
    if (is_done) {
        memset(batch.heads, 0xff, heads * sizeof *batch.heads);
        read_puts(&batch, puts);
        is_done = decide(&batch, olds, old_bytes, verdicts, &given->databases, commit->first_position);
    }
    if (is_done && (bytes += bytes_max(&batch)) <= room_bytes) {
        write_parts(&batch, commit, sorted, room, &written);
        memcpy(room, &written, sizeof written);
    }
    arena_free(&batch.arena);
    free(batch.puts);
    free(batch.heads);
    free(sorted);
    return is_done ? bytes : 0;
}

/* Where the places of `count` puts are. */
void plain_batch_places(const uint8_t *puts, uint32_t count, struct batch_place *places) {
    const uint8_t *at = puts;
    for (; count > 0; count--, places++) {
        struct plain_put head;
        const uint8_t *next = after_write(at, &head);
        places->table = head.table;
        places->at = (uint32_t)(at - puts + sizeof head + head.value_bytes + head.key_bytes);
        places->end = places->at + head.place_bytes;
        at = next;
    }
    places->at = (uint32_t)(at - puts);
}
