#ifndef PLAIN_BATCH_H
#define PLAIN_BATCH_H

#include <stddef.h>
#include <stdint.h>

/* Puts are `struct plain_put`s of plain_put.h, one after the other, each with its bytes. */

/* Where the changes of a table go; tables stand in the order in which puts number them. */
struct batch_table {
    uint32_t stream;      /* its number in the store */
    uint32_t has_stream;
    uint32_t shows_new, shows_old; /* whether its records have the images */
};

/* The two databases that a batch writes into: where their checksums start, and their numbers in the journal. */
struct batch_databases {
    uint32_t items_seed, changes_seed;
    uint32_t items_number, changes_number;
};

/* What does not depend on the batch: `struct batch_table`s, the `struct plain_table`s beside them, `struct form`s. */
struct batch_given {
    const struct batch_table *tables;
    const uint8_t *names, *forms;
    uint32_t table_count;
    struct batch_databases databases;
};

/* What is known when a batch is written: its time, and the position of its first change. */
struct batch_commit {
    uint64_t now_us, first_position;
};

/* An entry of a database, as offsets into the journal's bytes: its key ends where what is stored at it begins. */
struct batch_entry {
    uint32_t key_at, stored_at, end;
};

/* What a batch adds to the counts of a table. */
struct batch_count {
    uint32_t table, changes;
    int64_t items, bytes;
};

/* An item that expires at another second than it did; 0 is never. */
struct batch_move {
    uint64_t was, becomes;
    uint64_t put;
};

/* A put of which it has to be said whether its item is the old one, as JSON: both texts, as offsets into the bytes, the
 * old one first. */
struct batch_question {
    uint32_t put, old_at, new_at, end;
};

/* What is said of a put beforehand; one that is NOT_HERE leaves its request to Python. */
enum batch_verdict { UNKNOWN, SAME, DIFFERENT, NOT_HERE };

/* What was written, before its parts: how many of each there are, and where they begin, counted from here. Entries are
 * those of the items, then those of the changes, in the order of their keys; `left` are the numbers of the requests that
 * were left to Python. */
struct batch_written {
    uint32_t items, changes, counts, moves, questions, left;
    uint32_t entries_at, counts_at, moves_at, questions_at, left_at, bytes_at, bytes;
};

/* A put's table, and its place in the store, as offsets into the puts; behind the last one `at` is where the puts end. */
struct batch_place {
    uint32_t table, at, end;
};

#endif
