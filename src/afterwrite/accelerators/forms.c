/* What conditions and updates make of items, where that is certain. */
#include "forms.h"

#include <inttypes.h>
#include <stdio.h>

#define INTEGER_DIGITS_MAX 17
#define INTEGER_BYTES 24
#define COMPUTED_MAX (2 * ACTIONS_MAX)

/* A form's code while it runs. `is_unsure` says that Python has to. */
struct run {
    const struct given *given;
    const uint8_t *at;
    bool is_unsure;
    size_t computed_count;
    struct member computed[COMPUTED_MAX]; /* values that are neither the item's nor given */
    char texts[COMPUTED_MAX][INTEGER_BYTES + 8];
};

static uint16_t load_short(const uint8_t **at) {
    uint16_t number;
    memcpy(&number, *at, sizeof number);
    *at += sizeof number;
    return number;
}

struct span next_name(struct span *names) {
    const uint8_t *at = names->at;
    size_t bytes = load_short(&at);
    names->bytes -= (size_t)(at - names->at) + bytes;
    names->at = at + bytes;
    return (struct span){at, bytes};
}

static struct span take(const uint8_t **at, size_t bytes) {
    struct span taken = {*at, bytes};
    *at += bytes;
    return taken;
}

/* Names that stand after their lengths. */
static struct span take_names(const uint8_t **at, size_t count) {
    struct span names = {*at, 0};
    while (count-- > 0) {
        size_t bytes = load_short(at);
        *at += bytes;
    }
    names.bytes = (size_t)(*at - names.at);
    return names;
}

void form_at(const uint8_t *at, struct parts *parts) {
    memcpy(&parts->head, at, sizeof parts->head);
    at += sizeof parts->head;
    parts->update = take(&at, parts->head.update_bytes);
    parts->condition = take(&at, parts->head.condition_bytes);
    parts->names = take(&at, parts->head.names_bytes);
    parts->values = take_names(&at, parts->head.values);
    parts->written = take_names(&at, parts->head.written);
    parts->condition_code = take(&at, parts->head.condition_code_bytes);
    parts->update_code = take(&at, parts->head.update_code_bytes);
}

/* An attribute's name in the code. */
static struct text name_in(struct run *run) {
    struct text name;
    name.json.bytes = load_short(&run->at);
    name.size = load_short(&run->at);
    name.json.at = run->at;
    run->at += name.json.bytes;
    return name;
}

static const struct member *unsure(struct run *run) {
    run->is_unsure = true;
    return NULL;
}

/* A whole number that is not too long to be counted with. */
static bool integer_of(const struct member *member, int64_t *number) {
    const uint8_t *at = member->value.json.at, *end = at + member->value.json.bytes;
    bool negative = at < end && *at == '-';
    if (negative) at++;
    if (end - at > INTEGER_DIGITS_MAX) return false;
    for (*number = 0; at < end; at++) {
        if (*at < '0' || *at > '9') return false;
        *number = *number * 10 + (*at - '0');
    }
    if (negative) *number = -*number;
    return true;
}

static const struct member *sum(struct run *run, const struct member *one, const struct member *other, int sign) {
    int64_t left, right;
    if (one == NULL || other == NULL || one->type != NUMBER || other->type != NUMBER) return unsure(run);
    if (!integer_of(one, &left) || !integer_of(other, &right)) return unsure(run);
    if (run->computed_count == COMPUTED_MAX) return unsure(run);
    char *text = run->texts[run->computed_count];
    struct member *member = &run->computed[run->computed_count++];
    int bytes = snprintf(text, sizeof run->texts[0], "{\"N\":\"%" PRId64 "\"}", left + sign * right);
    member->whole = (struct span){(const uint8_t *)text, (size_t)bytes};
    member->value.json = (struct span){member->whole.at + 6, member->whole.bytes - 8};
    member->value.size = member->value.json.bytes;
    member->size = number_size(&member->value.json);
    member->type = NUMBER;
    return member;
}

/* What an operand stands for, NULL where it does not exist. */
static const struct member *operand(struct run *run) {
    const struct member *one, *other;
    struct text name;
    switch (*run->at++) {
    case 'a':
        name = name_in(run);
        return named(run->given->members, run->given->count, &name.json);
    case 'v':
        return &run->given->arguments[*run->at++];
    case '+':
        one = operand(run);
        other = operand(run);
        return sum(run, one, other, 1);
    case '-':
        one = operand(run);
        other = operand(run);
        return sum(run, one, other, -1);
    case '?':
        one = operand(run);
        other = operand(run);
        return one != NULL ? one : other;
    default:
        return unsure(run);
    }
}

static bool is_argument(const struct run *run, const struct member *member) {
    return member >= run->given->arguments && member < run->given->arguments + ARGUMENTS_MAX;
}

static enum outcome equals(const struct member *one, const struct member *other) {
    if (one == NULL || other == NULL || one->type != other->type) return NO;
    if (is_same(&one->whole, &other->whole)) return YES;
    return one->type == MAP || one->type == LIST ? UNSURE : NO; /* members may stand in another order */
}

static bool has_escapes(const struct member *member) {
    return memchr(member->value.json.at, '\\', member->value.json.bytes) != NULL;
}

static int order_of_bytes(const struct span *one, const struct span *other) {
    int found = memcmp(one->at, other->at, one->bytes < other->bytes ? one->bytes : other->bytes);
    return found != 0 ? found : (one->bytes > other->bytes) - (one->bytes < other->bytes);
}

/* A number without its sign, as the store writes it: the digits before the point, none of a zero, and those after. */
static struct span whole_part(const struct span *number) {
    const uint8_t *point = memchr(number->at, '.', number->bytes);
    struct span whole = {number->at, point == NULL ? number->bytes : (size_t)(point - number->at)};
    if (whole.bytes == 1 && *whole.at == '0') whole.bytes = 0;
    return whole;
}

static struct span fraction(const struct span *number) {
    const uint8_t *point = memchr(number->at, '.', number->bytes), *end = number->at + number->bytes;
    return point == NULL ? (struct span){end, 0} : (struct span){point + 1, (size_t)(end - point - 1)};
}

static int order_of_numbers(const struct span *one, const struct span *other) {
    bool is_negative = *one->at == '-', other_is = *other->at == '-';
    if (is_negative != other_is) return is_negative ? -1 : 1;
    struct span mine = {one->at + is_negative, one->bytes - is_negative};
    struct span its = {other->at + is_negative, other->bytes - is_negative};
    struct span left = whole_part(&mine), right = whole_part(&its);
    int found = (left.bytes > right.bytes) - (left.bytes < right.bytes);
    if (found == 0) found = order_of_bytes(&left, &right);
    if (found == 0) {
        left = fraction(&mine);
        right = fraction(&its);
        found = order_of_bytes(&left, &right);
    }
    return is_negative ? -found : found;
}

/* Whether two values of a type are ordered here, and how: less than 0, 0, or more. */
static bool order(const struct member *one, const struct member *other, int *found) {
    const struct span *mine = &one->value.json, *its = &other->value.json;
    bool is_text = one->type == STRING && !has_escapes(one) && !has_escapes(other);
    if (is_text) *found = order_of_bytes(mine, its);
    if (one->type == NUMBER) *found = order_of_numbers(mine, its);
    return is_text || one->type == NUMBER;
}

/* Values that are compared by their order must be of types that have one. */
static void require_ordered(struct run *run, const struct member *member) {
    if (member != NULL && is_argument(run, member) && member->type != STRING && member->type != NUMBER)
        run->is_unsure = true;
}

static enum outcome stands(struct run *run, char way, const struct member *one, const struct member *other) {
    int found;
    require_ordered(run, one);
    require_ordered(run, other);
    if (one == NULL || other == NULL || one->type != other->type) return NO;
    if (!order(one, other, &found)) return UNSURE;
    return way == '<' ? found < 0 : way == 'l' ? found <= 0 : way == '>' ? found > 0 : found >= 0;
}

static enum outcome is_between(struct run *run) {
    const struct member *value = operand(run), *low = operand(run), *high = operand(run);
    if (low != NULL && high != NULL && is_argument(run, low) && is_argument(run, high) &&
        stands(run, 'l', low, high) != YES)
        run->is_unsure = true; /* such bounds are refused */
    enum outcome above = stands(run, 'g', value, low), below = stands(run, 'l', value, high);
    if (above == NO || below == NO) return NO;
    return above == YES && below == YES ? YES : UNSURE;
}

static enum outcome begins(struct run *run) {
    const struct member *one = operand(run), *prefix = operand(run);
    if (prefix != NULL && is_argument(run, prefix) && prefix->type != STRING) run->is_unsure = true;
    if (one != NULL && is_argument(run, one) && one->type != STRING) run->is_unsure = true;
    if (one == NULL || prefix == NULL || one->type != prefix->type) return NO;
    if (one->type != STRING || has_escapes(one) || has_escapes(prefix)) return UNSURE;
    const struct span *whole = &one->value.json, *part = &prefix->value.json;
    return whole->bytes >= part->bytes && memcmp(whole->at, part->at, part->bytes) == 0;
}

static enum outcome is_one_of(struct run *run) {
    uint8_t count = *run->at++;
    enum outcome found = NO;
    const struct member *value = operand(run);
    while (count-- > 0) {
        enum outcome same = equals(value, operand(run));
        if (found == NO) found = same;
    }
    return found;
}

static enum outcome negated(enum outcome outcome) {
    return outcome == UNSURE ? UNSURE : outcome == YES ? NO : YES;
}

/* All of the code is gone through, as what is wrong with a value is wrong wherever it stands. */
static enum outcome test(struct run *run) {
    char tag = (char)*run->at++;
    const struct member *one, *other;
    enum outcome found, each;
    uint8_t count;
    switch (tag) {
    case 'A':
    case 'O':
        found = tag == 'A' ? YES : NO;
        for (count = *run->at++; count > 0; count--) {
            each = test(run);
            if (found == (tag == 'A' ? YES : NO)) found = each;
        }
        return found;
    case '!':
        return negated(test(run));
    case 'E':
        return operand(run) != NULL;
    case 'e':
        return operand(run) == NULL;
    case 'i':
        return is_one_of(run);
    case 'b':
        return is_between(run);
    case 'p':
        return begins(run);
    default:
        one = operand(run);
        other = operand(run);
        if (tag == '=') return equals(one, other);
        if (tag == '#') return negated(equals(one, other));
        return stands(run, tag, one, other);
    }
}

static void begin(struct run *run, const struct given *given, const struct span *code) {
    run->given = given;
    run->at = code->at;
    run->is_unsure = false;
    run->computed_count = 0;
}

enum outcome meets(const struct parts *form, const struct given *given) {
    struct run run;
    if (form->head.condition_bytes == 0) return YES;
    begin(&run, given, &form->condition_code);
    enum outcome found = test(&run);
    return run.is_unsure ? UNSURE : found;
}

/* An attribute that is written: its value after it, NULL where it is removed. */
struct change {
    struct text name;
    const struct member *value;
};

/* What the actions of an update write; false where Python has to say. */
static bool read_actions(struct run *run, struct change *changes, size_t *count) {
    *count = *run->at++;
    if (*count > ACTIONS_MAX) return false;
    for (size_t number = 0; number < *count; number++) {
        char tag = (char)*run->at++;
        struct change *change = &changes[number];
        change->name = name_in(run);
        change->value = NULL;
        if (tag == 'r') continue;
        if (tag == 's') {
            change->value = operand(run);
        } else {
            const struct member *added = &run->given->arguments[*run->at++];
            const struct member *existing = named(run->given->members, run->given->count, &change->name.json);
            if (added->type != NUMBER) return false;
            change->value = existing == NULL ? added : sum(run, existing, added, 1);
        }
        if (change->value == NULL) return false;
    }
    return !run->is_unsure;
}

static bool emit_member(struct scan *scan, const struct text *name, const struct member *value, struct member *members,
                        size_t *count) {
    if (*count == ATTRIBUTES_MAX || (*count > 0 && !emit(scan, ",", 1))) return false;
    struct member *member = &members[(*count)++];
    *member = *value;
    member->name = *name;
    if (!emit_name(scan, &name->json)) return false;
    member->whole.at = scan->out;
    member->value.json.at = scan->out + (value->value.json.at - value->whole.at); /* of a type that is a text */
    return emit_span(scan, &value->whole);
}

bool update(const struct parts *form, const struct given *given, bool is_new, size_t old_size, struct scan *scan,
            struct member *changed, size_t *changed_count) {
    struct change changes[ACTIONS_MAX];
    struct run run;
    size_t count;
    bool is_placed[ACTIONS_MAX] = {false};
    begin(&run, given, &form->update_code);
    if (!read_actions(&run, changes, &count)) return false;
    size_t size = old_size, smaller = 0;
    *changed_count = 0;
    if (!emit(scan, "{", 1)) return false;
    for (size_t number = 0; number < given->count; number++) {
        const struct member *member = &given->members[number];
        size_t change = 0;
        while (change < count && !is_same(&changes[change].name.json, &member->name.json)) change++;
        if (is_new) size += member->name.size + member->size;
        if (change == count) {
            if (!emit_member(scan, &member->name, member, changed, changed_count)) return false;
            continue;
        }
        is_placed[change] = true;
        smaller += member->size;
        if (changes[change].value == NULL) {
            smaller += member->name.size;
            continue;
        }
        size += changes[change].value->size;
        if (!emit_member(scan, &member->name, changes[change].value, changed, changed_count)) return false;
    }
    for (size_t change = 0; change < count; change++) {
        if (is_placed[change] || changes[change].value == NULL) continue;
        size += changes[change].name.size + changes[change].value->size;
        if (!emit_member(scan, &changes[change].name, changes[change].value, changed, changed_count)) return false;
    }
    if (size <= smaller || size - smaller > ITEM_BYTES_MAX) return false;
    scan->size = size - smaller;
    return emit(scan, "}", 1);
}
