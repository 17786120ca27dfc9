/* JSON with the members of objects in the order of their names. */
#include "sorted_json.h"

#include <stdlib.h>

#define MEMBERS_MAX 64
#define LEVELS_MAX 40

struct found {
    struct span name;
    const uint8_t *value;
};

static int by_name(const void *one, const void *other) {
    const struct span *mine = &((const struct found *)one)->name, *its = &((const struct found *)other)->name;
    int order = memcmp(mine->at, its->at, mine->bytes < its->bytes ? mine->bytes : its->bytes);
    return order != 0 ? order : (mine->bytes > its->bytes) - (mine->bytes < its->bytes);
}

/* Pass a text; false where it has escapes, or no end. */
static bool pass_text(struct scan *scan, struct span *text, bool *has_escapes) {
    if (!pass(scan, '"')) return false;
    text->at = scan->at;
    *has_escapes = false;
    while (scan->at < scan->end && *scan->at != '"') {
        if (*scan->at == '\\') {
            *has_escapes = true;
            scan->at++;
        }
        scan->at++;
    }
    text->bytes = (size_t)(scan->at - text->at);
    return pass(scan, '"');
}

/* Pass a value, whatever it is. */
static bool pass_value(struct scan *scan) {
    struct span text;
    bool has_escapes;
    int open = 0;
    do {
        skip_space(scan);
        if (scan->at == scan->end) return false;
        if (*scan->at == '"') {
            if (!pass_text(scan, &text, &has_escapes)) return false;
        } else {
            open += *scan->at == '{' || *scan->at == '[';
            open -= *scan->at == '}' || *scan->at == ']';
            if (*scan->at++ >= 'a' && open == 0 && scan->at[-1] <= 'z') { /* a word */
                while (scan->at < scan->end && *scan->at >= 'a' && *scan->at <= 'z') scan->at++;
            }
        }
    } while (open > 0);
    return true;
}

static bool sorted_value(struct scan *scan, int level);

static bool sorted_members(struct scan *scan, int level) {
    struct found found[MEMBERS_MAX];
    size_t count = 0;
    bool has_escapes;
    if (!pass(scan, '{') || !emit(scan, "{", 1)) return false;
    if (next_is(scan, '}')) return pass(scan, '}') && emit(scan, "}", 1);
    do {
        if (count == MEMBERS_MAX || !pass_text(scan, &found[count].name, &has_escapes) || has_escapes) return false;
        if (!pass(scan, ':')) return false;
        found[count++].value = scan->at;
        if (!pass_value(scan)) return false;
    } while (next_is(scan, ',') && pass(scan, ','));
    if (!pass(scan, '}')) return false;
    const uint8_t *end = scan->at;
    qsort(found, count, sizeof *found, by_name);
    for (size_t number = 0; number < count; number++) {
        const struct span *name = &found[number].name;
        if (number > 0 && !emit(scan, ",", 1)) return false;
        if (!emit_name(scan, name)) return false;
        scan->at = found[number].value;
        if (!sorted_value(scan, level + 1)) return false;
    }
    scan->at = end;
    return emit(scan, "}", 1);
}

static bool sorted_list(struct scan *scan, int level) {
    bool is_first = true;
    if (!pass(scan, '[') || !emit(scan, "[", 1)) return false;
    if (next_is(scan, ']')) return pass(scan, ']') && emit(scan, "]", 1);
    do {
        if (!is_first && !emit(scan, ",", 1)) return false;
        is_first = false;
        if (!sorted_value(scan, level + 1)) return false;
    } while (next_is(scan, ',') && pass(scan, ','));
    return pass(scan, ']') && emit(scan, "]", 1);
}

static bool sorted_value(struct scan *scan, int level) {
    struct text text;
    skip_space(scan);
    if (level > LEVELS_MAX || scan->at == scan->end) return false;
    switch (*scan->at) {
    case '{':
        return sorted_members(scan, level);
    case '[':
        return sorted_list(scan, level);
    case '"':
        return read_text(scan, &text);
    default:
        return read_word(scan, "true", 4) || read_word(scan, "false", 5);
    }
}

bool sort_json(struct scan *scan) {
    return sorted_value(scan, 0);
}
