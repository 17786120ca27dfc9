#ifndef FORMS_H
#define FORMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "attribute_values.h"

/* Expressions that Python has compiled: a form is an update and a condition, either of which may be missing, with the
 * names and the values that they have.
 *
 * A form is this head, then as JSON writes them: the update's text, the condition's, the object of names; then the
 * names of the values and those of the attributes that are written, each after its length (2 bytes); then the code of
 * the condition, where there is one, and that of the update. Forms stand one after the other; none of a text has no
 * bytes, and is no text.
 *
 * The code of a condition is one of
 *     A n c...  all of n conditions       O n c...  any of them       ! c  not
 *     E o       it exists                 e o       it does not       p o o  the first begins with the second
 *     = o o     # o o  (unequal)          < o o     l o o  (at most)  > o o  g o o  (at least)
 *     i n o o...  the first is one of n others                        b o o o  the first is between the others
 * and of an operand
 *     a name    an attribute              v n       the value number n
 *     + o o     - o o                     ? o o     the first, the second where that does not exist
 * The code of an update is the number of its actions, and for each
 *     s name o  set                       + name n  add the value number n    r name  remove
 * where sets come before additions. Numbers are bytes; a name is its length as JSON writes it, its size in UTF-8
 * (2 bytes each), and its bytes. */
struct form {
    uint32_t bytes; /* with this head */
    uint16_t update_bytes, condition_bytes, names_bytes, values, written, creates; /* `creates`: where there is no item */
    uint16_t condition_code_bytes, update_code_bytes;
};

#define ARGUMENTS_MAX 32
#define ACTIONS_MAX 24

enum outcome { NO, YES, UNSURE };

/* A form's parts. */
struct parts {
    struct form head;
    struct span update, condition, names, values, written, condition_code, update_code;
};

/* The form that begins at `at`. */
void form_at(const uint8_t *at, struct parts *parts);
/* The next one of names that stand after their lengths. */
struct span next_name(struct span *names);

/* An item, and the values of a form's expressions. */
struct given {
    const struct member *members;
    size_t count;
    const struct member *arguments; /* ARGUMENTS_MAX at most */
};

/* Whether the item meets the form's condition. UNSURE where that, or whether the values may be used so, is for Python
 * to say. */
enum outcome meets(const struct parts *form, const struct given *given);

/* Write the item that the form's update makes of an item (`members`) of `old_size` bytes, or of a key where there is
 * none (`is_new`): its JSON text goes to `scan`, whose size becomes the item's, and its attributes to `changed`. False
 * where it is for Python to say. */
bool update(const struct parts *form, const struct given *given, bool is_new, size_t old_size, struct scan *scan,
            struct member *changed, size_t *changed_count);

#endif
